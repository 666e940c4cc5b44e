/* Rules: which calls fail, and how.
 *
 * A rule is OPERATION,PATTERN,FIRST,TIMES,ACTION; rules are separated by
 * semicolons, and the first that acts decides. OPERATION is one word of
 * OPERATIONS below, PATTERN a glob over the name relative to the root. The
 * FIRST-th call that fits (from 1) is the first that the rule acts on, TIMES
 * how many it acts on (0: all that follow). ACTION is the number of an errno,
 * or "lie", "short", "kill", "count" (nothing happens), "wait:MILLISECONDS".
 *
 * With FAULT_WHILE in the environment rules hold only while that file exists.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_RULES 16

struct rule {
    unsigned fits; /* bit per operation */
    char pattern[128];
    long first, times, seen;
    char action[32];
};

static const struct {
    const char *word;
    unsigned fits;
} OPERATIONS[] = {
    {"open", 1u << OPEN},
    {"create", 1u << CREATE},
    {"mkdir", 1u << MKDIR},
    {"read", 1u << READ},
    {"write", 1u << WRITE},
    {"truncate", 1u << TRUNCATE},
    {"allocate", 1u << ALLOCATE},
    {"sync", 1u << SYNC | 1u << SYNC_DIRECTORY},
    {"rename", 1u << RENAME},
    {"unlink", 1u << UNLINK | 1u << RMDIR},
    {"link", 1u << LINK},
    /* what may need room */
    {"grow", 1u << CREATE | 1u << MKDIR | 1u << WRITE | 1u << TRUNCATE | 1u << ALLOCATE | 1u << RENAME | 1u << LINK},
    /* what needs an inode */
    {"inode", 1u << CREATE | 1u << MKDIR},
    /* what a volume that was turned read-only refuses */
    {"change", 1u << CREATE | 1u << MKDIR | 1u << WRITE | 1u << TRUNCATE | 1u << ALLOCATE | 1u << RENAME |
                   1u << LINK | 1u << UNLINK | 1u << RMDIR},
    /* every call that a crash can come before */
    {"any", ~(1u << READ | 1u << OPEN)},
};

static struct rule rules[MOST_RULES];
static int count;
static const char *while_path;

static void parse(const char *text) {
    char copy[4096], *outer, *inner;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *one = strtok_r(copy, ";", &outer); one; one = strtok_r(NULL, ";", &outer)) {
        struct rule rule = {0};
        char *word = strtok_r(one, ",", &inner), *pattern = strtok_r(NULL, ",", &inner);
        char *first = strtok_r(NULL, ",", &inner), *times = strtok_r(NULL, ",", &inner);
        char *action = strtok_r(NULL, ",", &inner);
        for (size_t n = 0; action && n < sizeof OPERATIONS / sizeof *OPERATIONS; n++)
            if (strcmp(word, OPERATIONS[n].word) == 0)
                rule.fits = OPERATIONS[n].fits;
        if (!rule.fits || count == MOST_RULES) {
            fprintf(stderr, "fault shim: not a rule: %s\n", text);
            abort();
        }
        snprintf(rule.pattern, sizeof rule.pattern, "%s", pattern);
        snprintf(rule.action, sizeof rule.action, "%s", action);
        rule.first = atol(first);
        rule.times = atol(times);
        rules[count++] = rule;
    }
}

void use_rules(const char *text) {
    count = 0;
    while_path = getenv("FAULT_WHILE");
    if (text != NULL && *text)
        parse(text);
}

static bool act(const char *action, struct verdict *verdict) {
    if (strcmp(action, "count") == 0)
        return false;
    if (strcmp(action, "lie") == 0)
        verdict->lie = true;
    else if (strcmp(action, "short") == 0)
        verdict->shorten = true;
    else if (strcmp(action, "kill") == 0)
        kill(getpid(), SIGKILL);
    else if (strncmp(action, "wait:", 5) == 0) {
        long milliseconds = atol(action + 5);
        struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
        pthread_mutex_unlock(&shim_lock); /* a slow disk is slow for each by itself */
        nanosleep(&time, NULL);
        pthread_mutex_lock(&shim_lock);
    } else
        verdict->error = atoi(action);
    return true;
}

struct verdict judge(enum operation what, const char *name) {
    struct verdict verdict = {0};
    if (!count || (while_path && access(while_path, F_OK) != 0))
        return verdict;
    for (int n = 0; n < count; n++) {
        struct rule *rule = &rules[n];
        if (!(rule->fits & 1u << what) || fnmatch(rule->pattern, name, 0) != 0)
            continue;
        rule->seen++;
        if (rule->seen < rule->first || (rule->times && rule->seen >= rule->first + rule->times))
            continue;
        if (act(rule->action, &verdict))
            break;
    }
    return verdict;
}

/* For a process that sets itself up. */

void fault_rules(const char *text) {
    pthread_mutex_lock(&shim_lock);
    use_rules(text);
    pthread_mutex_unlock(&shim_lock);
}

long fault_seen(int number) {
    return number < count ? rules[number].seen : -1;
}
