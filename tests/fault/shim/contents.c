/* Calls on open files: write, truncate, allocate, sync, read; done as in names.c. */
#define _GNU_SOURCE
#include "shim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t real_write_all(int fd, const void *data, size_t size) {
    const char *at = data;
    for (size_t left = size; left;) {
        ssize_t done = REAL(write)(fd, at, left);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        at += done;
        left -= done;
    }
    return size;
}


static ssize_t written(int fd, const struct iovec *parts, int count, off_t offset, bool here) {
    struct file *file = file_of(fd);
    size_t size = 0;
    for (int n = 0; n < count; n++)
        size += parts[n].iov_len;
    char *data = malloc(size ? size : 1), *at = data;
    if (data == NULL)
        abort();
    for (int n = 0; n < count; n++)
        at = mempcpy(at, parts[n].iov_base, parts[n].iov_len);
    lock();
    struct verdict verdict = judge(WRITE, file->name);
    ssize_t done = -1;
    if (verdict.error)
        errno = verdict.error;
    else if (verdict.lie)
        done = size;
    else {
        if (verdict.shorten && size > 1)
            size /= 2;
        done = here ? REAL(write)(fd, data, size) : REAL(pwrite)(fd, data, size, offset);
        if (done > 0) {
            uint64_t start = here ? (uint64_t)lseek(fd, 0, SEEK_CUR) - done : (uint64_t)offset;
            record(WRITE, file->inode, start, done, file->name, "", data, done);
        }
    }
    unlock();
    free(data);
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    struct iovec part = {(void *)data, size};
    return file_of(fd) ? written(fd, &part, 1, 0, true) : REAL(write)(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return file_of(fd) ? written(fd, parts, count, 0, true) : REAL(writev)(fd, parts, count);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    struct iovec part = {(void *)data, size};
    return file_of(fd) ? written(fd, &part, 1, offset, false) : REAL(pwrite)(fd, data, size, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return file_of(fd) ? written(fd, parts, count, offset, false) : REAL(pwritev)(fd, parts, count, offset);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    return file_of(fd) ? written(fd, parts, count, offset, offset == -1)
                       : REAL(pwritev2)(fd, parts, count, offset, flags);
}

ALSO(pwrite64, pwrite);
ALSO(pwritev64, pwritev);
ALSO(pwritev64v2, pwritev2);

int ftruncate(int fd, off_t size) {
    struct file *file = file_of(fd);
    if (!file)
        return REAL(ftruncate)(fd, size);
    lock();
    struct verdict verdict = judge(TRUNCATE, file->name);
    if (verdict.error)
        return refused(verdict.error);
    int done = REAL(ftruncate)(fd, size);
    if (done == 0)
        record(TRUNCATE, file->inode, size, 0, file->name, "", NULL, 0);
    unlock();
    return done;
}

ALSO(ftruncate64, ftruncate);

/* An error number, as posix_fallocate returns it. */
static int allocated(int fd, off_t offset, off_t size) {
    struct file *file = file_of(fd);
    lock();
    struct verdict verdict = judge(ALLOCATE, file->name);
    int error = verdict.error ? verdict.error : REAL(posix_fallocate)(fd, offset, size);
    if (!error)
        record(ALLOCATE, file->inode, offset, size, file->name, "", NULL, 0);
    unlock();
    return error;
}

int posix_fallocate(int fd, off_t offset, off_t size) {
    return file_of(fd) ? allocated(fd, offset, size) : REAL(posix_fallocate)(fd, offset, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
    if (!file_of(fd) || mode)
        return REAL(fallocate)(fd, mode, offset, size);
    errno = allocated(fd, offset, size);
    return errno ? -1 : 0;
}

ALSO(posix_fallocate64, posix_fallocate);
ALSO(fallocate64, fallocate);

static int synced(int fd, int (*sync)(int)) {
    struct file *file = file_of(fd);
    if (!file)
        return sync(fd);
    lock();
    enum operation what = file->is_directory ? SYNC_DIRECTORY : SYNC;
    struct verdict verdict = judge(what, file->name);
    if (verdict.error) {
        if (verdict.error != EINTR) /* Linux marks the pages clean all the same: a later sync knows nothing of them */
            record(SYNC_FAILED, file->inode, 0, 0, file->name, "", NULL, 0);
        return refused(verdict.error);
    }
    int done = verdict.lie ? 0 : sync(fd);
    if (done == 0 && !verdict.lie)
        record(what, file->inode, 0, 0, file->name, "", NULL, 0);
    unlock();
    return done;
}

int fsync(int fd) {
    return synced(fd, REAL(fsync));
}

int fdatasync(int fd) {
    return synced(fd, REAL(fdatasync));
}

/* Reading: only the rules care. */


static struct verdict read_verdict(int fd) {
    lock();
    struct verdict verdict = judge(READ, files[fd].name);
    unlock();
    return verdict;
}

#define READS(call)                                                                                          \
    if (file_of(fd)) {                                                                                       \
        struct verdict verdict = read_verdict(fd);                                                           \
        if (verdict.error) {                                                                                 \
            errno = verdict.error;                                                                           \
            return -1;                                                                                       \
        }                                                                                                    \
        if (verdict.shorten && size > 1)                                                                     \
            size /= 2;                                                                                       \
    }                                                                                                        \
    return call

ssize_t read(int fd, void *data, size_t size) {
    READS(REAL(read)(fd, data, size));
}

ssize_t __read_chk(int fd, void *data, size_t size, size_t room) {
    READS(REAL(read)(fd, data, size));
    (void)room;
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    READS(REAL(pread)(fd, data, size, offset));
}

ssize_t __pread_chk(int fd, void *data, size_t size, off_t offset, size_t room) {
    READS(REAL(pread)(fd, data, size, offset));
    (void)room;
}

ALSO(pread64, pread);
ALSO(__pread64_chk, __pread_chk);
