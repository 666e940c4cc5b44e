/* Takes mail as smtp-sink does, and what smtp-sink cannot: STARTTLS, and the time each mail came.
 *
 *   sink -p PORT [-c CERTIFICATE -k KEY] [-w FILE]
 *
 * Counts go to standard output, one line after each change: "mesg=12 tls=12
 * last=123456789", where last is the time of the last mail in nanoseconds.
 * SIGUSR1: writes "number nanoseconds" for each X-Bench field seen since the
 * last time into FILE, which appears whole. SIGTERM ends it.
 */
#include "smtp.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LARGEST_NUMBER 2000000
#define LOOK_US 2000

static SSL_CTX *context;
static atomic_long mails, mails_tls;
static _Atomic int64_t last_ns;
static int64_t *times;

/* Reads to the lone dot. The number in X-Bench, which a relay leaves below its own fields; -1 without. */
static long read_content(struct smtp *s) {
    char line[4096];
    long number = -1;
    int is_header = 1;
    for (;;) {
        int length = read_line(s, line, sizeof line);
        if (length < 0)
            return -2;
        if (length == 1 && line[0] == '.')
            return number;
        if (is_header && !strncasecmp(line, "X-Bench: ", 9))
            number = atol(line + 9);
        is_header = is_header && length > 0;
    }
}

static void greet(struct smtp *s) {
    say(s, "250-sink.test");
    say(s, "250-PIPELINING");
    say(s, "250-SIZE");
    if (context && !s->tls)
        say(s, "250-STARTTLS");
    say(s, "250 8BITMIME");
}

static int take(struct smtp *s) {
    say(s, "354 go ahead");
    long number = read_content(s);
    if (number < -1)
        return -1;
    int64_t now = now_ns();
    if (times && number >= 0 && number < LARGEST_NUMBER)
        times[number] = now;
    last_ns = now;
    if (s->tls)
        atomic_fetch_add(&mails_tls, 1);
    atomic_fetch_add(&mails, 1);
    return say(s, "250 taken");
}

static void *session(void *passed) {
    struct smtp *s = passed;
    char line[2048];
    say(s, "220 sink.test ESMTP");
    while (read_line(s, line, sizeof line) >= 0) {
        if (!strncasecmp(line, "EHLO", 4))
            greet(s);
        else if (!strncasecmp(line, "DATA", 4)) {
            if (take(s) < 0)
                break;
        } else if (!strncasecmp(line, "STARTTLS", 8) && context && !s->tls) {
            say(s, "220 begin");
            if (start_tls(s, context, 1) < 0)
                break;
        } else if (!strncasecmp(line, "QUIT", 4)) {
            say(s, "221 bye");
            flush(s);
            break;
        } else
            say(s, "250 ok");
    }
    close_smtp(s);
    free(s);
    return NULL;
}

static void *accept_all(void *passed) {
    int listening = *(int *)passed;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int fd = accept(listening, NULL, NULL);
        struct smtp *s = fd < 0 ? NULL : malloc(sizeof *s);
        pthread_t thread;
        if (!s)
            continue;
        open_smtp(s, fd);
        if (pthread_create(&thread, &detached, session, s)) {
            close_smtp(s);
            free(s);
        }
    }
    return NULL;
}

static void *count(void *unused) {
    long told = 0;
    for (;; usleep(LOOK_US)) {
        long seen = mails;
        if (seen == told)
            continue;
        told = seen;
        printf("mesg=%ld tls=%ld last=%lld\n", seen, (long)mails_tls, (long long)last_ns);
        fflush(stdout);
    }
    return unused;
}

static int listen_on(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 1024) < 0) {
        perror("sink");
        exit(1);
    }
    return fd;
}

int main(int count_arguments, char **arguments) {
    int option, port = 0, ended;
    const char *certificate = NULL, *key = NULL, *times_path = NULL;
    while ((option = getopt(count_arguments, arguments, "p:c:k:w:")) != -1)
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'c': certificate = optarg; break;
        case 'k': key = optarg; break;
        case 'w': times_path = optarg; break;
        default: return 2;
        }
    if (!port)
        return 2;
    if (certificate) {
        context = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
            SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
            fprintf(stderr, "sink: %s, %s: not a certificate and its key\n", certificate, key);
            return 1;
        }
    }
    if (times_path && !(times = calloc(LARGEST_NUMBER, sizeof *times)))
        return 1;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* ends with the benchmark, however that ends */
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    int listening = listen_on(port);
    pthread_t accepting, counting;
    if (pthread_create(&accepting, NULL, accept_all, &listening) || pthread_create(&counting, NULL, count, NULL))
        return 1;
    while (!sigwait(&ends, &ended) && ended == SIGUSR1)
        if (!times_path || write_times(times_path, times, LARGEST_NUMBER) < 0)
            return 1;
        else
            memset(times, 0, LARGEST_NUMBER * sizeof *times);
    return 0;
}
