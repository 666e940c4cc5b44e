/* Sends mails as smtp-source does, and what smtp-source cannot: STARTTLS, a steady rate, times.
 *
 *   source -p PORT -m MESSAGES [-s SESSIONS] [-l BYTES] [-t RECIPIENT] [-r RATE] [-w FILE] [-d] [-e]
 *
 * -d keeps connections open, -e encrypts, -r paces all sessions together to
 * RATE messages a second, -w writes "number nanoseconds" of each 250. Each
 * mail carries its number in the field X-Bench. Ends after MESSAGES mails;
 * anything but the expected reply ends it with exit code 1.
 */
#include "smtp.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int port, is_reusing;
static long messages = 1, sessions = 1, size = 4096;
static double per_second;
static const char *recipient = "load@sink.test", *times_path;
static SSL_CTX *context;
static atomic_long next_number;
static int64_t started_ns, *times;
static char *body;
static size_t body_length;

static void fail(const char *what, const char *said) {
    fprintf(stderr, "source: %s: %s\n", what, said);
    exit(1);
}

/* Reads a reply to its last line, which must begin with the digit. */
static void expect(struct smtp *s, char digit, const char *what) {
    char line[2048];
    do {
        if (read_line(s, line, sizeof line) < 4)
            fail(what, "connection lost");
    } while (line[3] == '-');
    if (line[0] != digit)
        fail(what, line);
}

static void ask(struct smtp *s, char digit, const char *command) {
    if (say(s, "%s", command) < 0)
        fail(command, "connection lost");
    expect(s, digit, command);
}

static void greet(struct smtp *s) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        fail("connect", "refused");
    open_smtp(s, fd);
    expect(s, '2', "greeting");
    ask(s, '2', "EHLO source.test");
    if (context) {
        ask(s, '2', "STARTTLS");
        if (start_tls(s, context, 0) < 0)
            fail("STARTTLS", "no handshake");
        ask(s, '2', "EHLO source.test");
    }
}

static void send_one(struct smtp *s, long number) {
    char command[1024];
    snprintf(command, sizeof command, "RCPT TO:<%s>", recipient);
    ask(s, '2', "MAIL FROM:<load@source.test>");
    ask(s, '2', command);
    ask(s, '3', "DATA");
    if (say(s, "X-Bench: %ld", number) < 0 || put(s, body, body_length) < 0)
        fail("DATA", "connection lost");
    expect(s, '2', "end of data");
    times[number] = now_ns();
}

static void wait_for_turn(long number) {
    int64_t turn = started_ns + (int64_t)((double)number / per_second * 1e9);
    struct timespec at = {.tv_sec = turn / 1000000000, .tv_nsec = turn % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void *session(void *unused) {
    struct smtp *s = malloc(sizeof *s);
    int is_open = 0;
    long number;
    if (!s)
        fail("memory", "none");
    while ((number = atomic_fetch_add(&next_number, 1)) < messages) {
        if (per_second > 0)
            wait_for_turn(number);
        if (!is_open)
            greet(s);
        is_open = 1;
        send_one(s, number);
        if (!is_reusing) {
            ask(s, '2', "QUIT");
            close_smtp(s);
            is_open = 0;
        }
    }
    if (is_open) {
        ask(s, '2', "QUIT");
        close_smtp(s);
    }
    free(s);
    return unused;
}

static void write_body(void) {
    static const char head[] =
        "From: <load@source.test>\r\nTo: <load@sink.test>\r\nSubject: load\r\n"
        "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <load@source.test>\r\n\r\n";
    body = malloc(sizeof head + (size_t)size + 128);
    if (!body)
        fail("memory", "none");
    strcpy(body, head);
    body_length = strlen(head);
    while (body_length < (size_t)size) {
        memset(body + body_length, 'X', 76);
        memcpy(body + body_length + 76, "\r\n", 2);
        body_length += 78;
    }
    memcpy(body + body_length, ".\r\n", 3);
    body_length += 3;
}

int main(int count, char **arguments) {
    int option;
    while ((option = getopt(count, arguments, "p:m:s:l:t:r:w:de")) != -1)
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'm': messages = atol(optarg); break;
        case 's': sessions = atol(optarg); break;
        case 'l': size = atol(optarg); break;
        case 't': recipient = optarg; break;
        case 'r': per_second = atof(optarg); break;
        case 'w': times_path = optarg; break;
        case 'd': is_reusing = 1; break;
        case 'e': context = SSL_CTX_new(TLS_client_method()); break;
        default: return 2;
        }
    if (!port || messages < 1 || sessions < 1)
        return 2;
    times = calloc((size_t)messages, sizeof *times);
    pthread_t *threads = calloc((size_t)sessions, sizeof *threads);
    if (!times || !threads)
        fail("memory", "none");
    write_body();
    started_ns = now_ns();
    for (long number = 0; number < sessions; number++)
        if (pthread_create(&threads[number], NULL, session, NULL))
            fail("thread", "none to be had");
    for (long number = 0; number < sessions; number++)
        pthread_join(threads[number], NULL);
    if (times_path && write_times(times_path, times, messages) < 0)
        fail(times_path, "cannot be written");
    return 0;
}
