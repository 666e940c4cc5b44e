/* The journal: one record a change, written with one call, so that a kill leaves none half written.
 *
 * Record, little endian: length of all that follows (4), operation (4), inode
 * (8), two numbers (8, 8), lengths of two names (4, 4), the names, data.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct head {
    uint32_t length, operation;
    uint64_t inode, first, second;
    uint32_t name, other;
} __attribute__((packed));

struct file files[MOST_FILES];
pthread_mutex_t shim_lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static int journal = -1;

bool watching(void) {
    return root_length > 0;
}

void use_journal(const char *folder, const char *path) {
    /* System calls of our own: the C library's are interposed, by us. */
    if (journal >= 0)
        syscall(SYS_close, journal);
    journal = -1;
    root_length = 0;
    for (int n = 0; n < MOST_FILES; n++)
        files[n].known = false;
    if (folder == NULL || !*folder)
        return;
    if (realpath(folder, root) == NULL) { /* it is made later: its name is taken as it is */
        strncpy(root, folder, sizeof root - 1);
    }
    root_length = strlen(root);
    if (path != NULL && *path) {
        journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (journal < 0) {
            perror("fault shim: journal");
            abort();
        }
    }
}

bool below_root(int folder, const char *path, char name[PATH_MAX]) {
    char whole[PATH_MAX];
    if (!watching() || path == NULL)
        return false;
    if (path[0] == '/') {
        if (snprintf(whole, sizeof whole, "%s", path) >= (int)sizeof whole)
            return false;
    } else {
        char start[PATH_MAX] = "", link[64];
        if (folder == AT_FDCWD) {
            if (getcwd(start, sizeof start) == NULL)
                return false;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t length = readlink(link, start, sizeof start - 1);
            if (length < 0)
                return false;
            start[length] = 0;
        }
        if (snprintf(whole, sizeof whole, "%s/%s", start, path) >= (int)sizeof whole)
            return false;
    }
    if (strncmp(whole, root, root_length) != 0)
        return false;
    if (whole[root_length] != '/' && whole[root_length] != 0)
        return false;
    const char *rest = whole + root_length;
    while (*rest == '/')
        rest++;
    strcpy(name, rest);
    size_t length = strlen(name);
    while (length && name[length - 1] == '/')
        name[--length] = 0;
    /* SQLite's shared memory is rebuilt after a crash, whatever is in it; nobody counts on it. */
    return length < 4 || strcmp(name + length - 4, "-shm") != 0;
}

void record(enum operation what, ino_t inode, uint64_t first, uint64_t second, const char *name,
            const char *other, const void *data, size_t size) {
    if (journal < 0)
        return;
    size_t names = strlen(name), others = strlen(other);
    struct head head = {sizeof head - 4 + names + others + size, what, inode, first, second, names, others};
    char *all = malloc(sizeof head + names + others + size);
    if (all == NULL)
        abort();
    memcpy(all, &head, sizeof head);
    memcpy(all + sizeof head, name, names);
    memcpy(all + sizeof head + names, other, others);
    if (size)
        memcpy(all + sizeof head + names + others, data, size);
    if (real_write_all(journal, all, sizeof head + names + others + size) < 0) {
        perror("fault shim: journal");
        abort();
    }
    free(all);
}

/* For a process that sets itself up. */

void fault_start(const char *folder, const char *path) {
    pthread_mutex_lock(&shim_lock);
    use_journal(folder, path);
    pthread_mutex_unlock(&shim_lock);
}

void fault_note(const char *text) {
    pthread_mutex_lock(&shim_lock);
    record(NOTE, 0, 0, 0, "", "", text, strlen(text));
    pthread_mutex_unlock(&shim_lock);
}

__attribute__((constructor)) static void set_up(void) {
    use_journal(getenv("FAULT_ROOT"), getenv("FAULT_JOURNAL"));
    use_rules(getenv("FAULT_RULES"));
}
