/* Calls on names: open, close, rename, unlink, mkdir, link. Each asks the rules, does the real thing, and
 * writes down what changed, all under one lock. */
#define _GNU_SOURCE
#include "shim.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int opened(int folder, const char *path, int flags, mode_t mode) {
    char name[PATH_MAX];
    if (!below_root(folder, path, name))
        return REAL(openat)(folder, path, flags, mode);
    lock();
    struct stat found;
    bool existed = fstatat(folder, path, &found, 0) == 0;
    struct verdict verdict = judge(OPEN, name);
    if (!verdict.error && !existed && flags & O_CREAT)
        verdict = judge(CREATE, name);
    if (verdict.error)
        return refused(verdict.error);
    int fd = REAL(openat)(folder, path, flags, mode);
    if (fd >= MOST_FILES || strlen(name) >= sizeof files->name)
        abort();
    if (fd >= 0 && fstat(fd, &found) == 0) {
        struct file *file = &files[fd];
        file->known = true;
        file->is_directory = S_ISDIR(found.st_mode);
        file->inode = found.st_ino;
        memcpy(file->name, name, strlen(name) + 1);
        if (!existed && flags & O_CREAT)
            record(CREATE, found.st_ino, 0, 0, name, "", NULL, 0);
        else if (flags & O_TRUNC && !file->is_directory)
            record(TRUNCATE, found.st_ino, 0, 0, name, "", NULL, 0);
    }
    unlock();
    return fd;
}

static mode_t mode_in(int flags, va_list more) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_in(flags, more);
    va_end(more);
    return opened(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_in(flags, more);
    va_end(more);
    return opened(folder, path, flags, mode);
}

int creat(const char *path, mode_t mode) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int __open_2(const char *path, int flags) {
    return opened(AT_FDCWD, path, flags, 0);
}

int __openat_2(int folder, const char *path, int flags) {
    return opened(folder, path, flags, 0);
}

ALSO(open64, open);
ALSO(openat64, openat);
ALSO(creat64, creat);
ALSO(__open64_2, __open_2);
ALSO(__openat64_2, __openat_2);

int close(int fd) {
    if (file_of(fd)) {
        lock();
        files[fd].known = false;
        unlock();
    }
    return REAL(close)(fd);
}

/* Moving and removing */


static int moved(int from, const char *old, int to, const char *new, unsigned flags) {
    char name[PATH_MAX], other[PATH_MAX];
    bool one = below_root(from, old, name), two = below_root(to, new, other);
    if (!one && !two)
        return REAL(renameat2)(from, old, to, new, flags);
    if (one != two || flags) {
        fprintf(stderr, "fault shim: cannot follow this rename: %s, %s\n", old, new);
        abort();
    }
    lock();
    struct verdict verdict = judge(RENAME, other);
    if (verdict.error)
        return refused(verdict.error);
    int done = REAL(renameat2)(from, old, to, new, flags);
    if (done == 0)
        record(RENAME, 0, 0, 0, name, other, NULL, 0);
    unlock();
    return done;
}

int rename(const char *old, const char *new) {
    return moved(AT_FDCWD, old, AT_FDCWD, new, 0);
}

int renameat(int from, const char *old, int to, const char *new) {
    return moved(from, old, to, new, 0);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    return moved(from, old, to, new, flags);
}

int unlinkat(int folder, const char *path, int flags) {
    char name[PATH_MAX];
    struct stat found;
    if (!below_root(folder, path, name) || fstatat(folder, path, &found, AT_SYMLINK_NOFOLLOW) != 0)
        return REAL(unlinkat)(folder, path, flags);
    lock();
    enum operation what = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    struct verdict verdict = judge(what, name);
    if (verdict.error)
        return refused(verdict.error);
    int done = REAL(unlinkat)(folder, path, flags);
    if (done == 0)
        record(what, 0, 0, 0, name, "", NULL, 0);
    unlock();
    return done;
}

int unlink(const char *path) {
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path) {
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int folder, const char *path, mode_t mode) {
    char name[PATH_MAX];
    if (!below_root(folder, path, name))
        return REAL(mkdirat)(folder, path, mode);
    lock();
    struct verdict verdict = judge(MKDIR, name);
    if (verdict.error)
        return refused(verdict.error);
    int done = REAL(mkdirat)(folder, path, mode);
    struct stat found;
    if (done == 0 && fstatat(folder, path, &found, 0) == 0)
        record(MKDIR, found.st_ino, 0, 0, name, "", NULL, 0);
    unlock();
    return done;
}

int mkdir(const char *path, mode_t mode) {
    return mkdirat(AT_FDCWD, path, mode);
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    char name[PATH_MAX], other[PATH_MAX];
    if (!below_root(to, new, other) || !below_root(from, old, name))
        return REAL(linkat)(from, old, to, new, flags);
    lock();
    struct verdict verdict = judge(LINK, other);
    if (verdict.error)
        return refused(verdict.error);
    int done = REAL(linkat)(from, old, to, new, flags);
    if (done == 0)
        record(LINK, 0, 0, 0, name, other, NULL, 0);
    unlock();
    return done;
}

int link(const char *old, const char *new) {
    return linkat(AT_FDCWD, old, AT_FDCWD, new, 0);
}
