/* A disk that writes down what is asked of it, and that fails when told to.
 *
 * A library for LD_PRELOAD. It looks at the C library's calls that touch files
 * below one directory, the root. Each change there is appended to a journal
 * (journal.c), in the order in which the changes happened: a lock is held over
 * the call and its record. Rules (rules.c) make calls fail, lie, wait or kill
 * the process. names.c and contents.c have the calls.
 *
 * Set up by the environment (FAULT_ROOT, FAULT_JOURNAL, FAULT_RULES,
 * FAULT_WHILE), or from within the process by fault_start and fault_rules.
 *
 * Not seen: memory mappings (SQLite maps only the -shm file, which means
 * nothing after a crash), io_uring, calls made without the C library.
 * tests/fault/test_shim.py compares the journal with the real folder.
 */
#ifndef SHIM_H
#define SHIM_H

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum operation { /* the numbers are those of tests/fault/journal.py */
    CREATE = 1,
    MKDIR = 2,
    WRITE = 3,
    TRUNCATE = 4,
    SYNC = 5,
    SYNC_DIRECTORY = 6,
    RENAME = 7,
    UNLINK = 8,
    RMDIR = 9,
    LINK = 10,
    NOTE = 11,
    ALLOCATE = 12,
    SYNC_FAILED = 13,
    /* in rules only */
    OPEN = 20,
    READ = 21,
};

#define MOST_FILES 65536

struct file { /* an open file below the root */
    bool known;
    bool is_directory;
    ino_t inode;
    char name[192]; /* relative to the root */
};

struct verdict { /* what a rule makes of a call */
    int error;   /* errno, 0: none */
    bool lie;    /* say it is done, and do nothing */
    bool shorten; /* do half of it */
};

extern struct file files[MOST_FILES];
extern pthread_mutex_t shim_lock;

/* journal.c */
bool watching(void);
bool below_root(int folder, const char *path, char name[PATH_MAX]);
void record(enum operation what, ino_t inode, uint64_t first, uint64_t second, const char *name,
            const char *other, const void *data, size_t size);
void use_journal(const char *root, const char *path);

/* rules.c; judge is called with the lock held, gives it up while a rule waits */
struct verdict judge(enum operation what, const char *name);
void use_rules(const char *text);

/* contents.c */
ssize_t real_write_all(int fd, const void *data, size_t size);

#define REAL(name)                                                                                           \
    ({                                                                                                       \
        static __typeof__(&name) found;                                                                      \
        if (found == NULL)                                                                                   \
            found = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                              \
        found;                                                                                               \
    })
/* On 64-bit machines off_t has 64 bits in both sets of names. */
#define ALSO(name, of) __typeof__(of) name __attribute__((alias(#of)))

static inline void lock(void) {
    pthread_mutex_lock(&shim_lock);
}

/* Unlocks, and leaves errno as it was. */
static inline void unlock(void) {
    int error = errno;
    pthread_mutex_unlock(&shim_lock);
    errno = error;
}

static inline int refused(int error) {
    unlock();
    errno = error;
    return -1;
}

static inline struct file *file_of(int fd) {
    return fd >= 0 && fd < MOST_FILES && files[fd].known ? &files[fd] : NULL;
}

#endif
