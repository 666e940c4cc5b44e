#include "smtp.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define PATIENCE_S 120 /* a peer that says nothing for longer is lost: every load ends by itself */

void open_smtp(struct smtp *s, int fd) {
    int yes = 1;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    s->fd = fd;
    s->tls = NULL;
    s->from = s->to = s->waiting = 0;
}

void close_smtp(struct smtp *s) {
    if (s->tls) {
        SSL_shutdown(s->tls);
        SSL_free(s->tls);
        s->tls = NULL;
    }
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

int start_tls(struct smtp *s, SSL_CTX *context, int is_server) {
    if (flush(s) < 0 || !(s->tls = SSL_new(context)))
        return -1;
    s->from = s->to = 0; /* nothing sent in the clear counts any more */
    SSL_set_fd(s->tls, s->fd);
    return (is_server ? SSL_accept(s->tls) : SSL_connect(s->tls)) == 1 ? 0 : -1;
}

static int send_all(struct smtp *s, const char *data, size_t length) {
    while (length) {
        ssize_t sent = s->tls ? SSL_write(s->tls, data, (int)length)
                              : send(s->fd, data, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return -1;
        data += sent;
        length -= (size_t)sent;
    }
    return 0;
}

int flush(struct smtp *s) {
    size_t length = s->waiting;
    s->waiting = 0;
    return length ? send_all(s, s->out, length) : 0;
}

int put(struct smtp *s, const char *data, size_t length) {
    if (s->waiting + length > BUFFER && flush(s) < 0)
        return -1;
    if (length > BUFFER)
        return send_all(s, data, length);
    memcpy(s->out + s->waiting, data, length);
    s->waiting += length;
    return 0;
}

int say(struct smtp *s, const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 2, format, arguments);
    va_end(arguments);
    if (length < 0 || length >= (int)sizeof line - 2)
        return -1;
    memcpy(line + length, "\r\n", 2);
    return put(s, line, (size_t)length + 2);
}

int fill(struct smtp *s) {
    if (flush(s) < 0)
        return -1;
    if (s->from == s->to)
        s->from = s->to = 0;
    else if (s->to == BUFFER) {
        memmove(s->in, s->in + s->from, s->to - s->from);
        s->to -= s->from;
        s->from = 0;
    }
    if (s->to == BUFFER)
        return -1; /* a line longer than the buffer */
    ssize_t got = s->tls ? SSL_read(s->tls, s->in + s->to, (int)(BUFFER - s->to))
                         : recv(s->fd, s->in + s->to, BUFFER - s->to, 0);
    if (got <= 0)
        return -1;
    s->to += (size_t)got;
    return (int)got;
}

int read_line(struct smtp *s, char *line, size_t room) {
    char *end;
    while (!(end = memchr(s->in + s->from, '\n', s->to - s->from)))
        if (fill(s) < 0)
            return -1;
    size_t length = (size_t)(end - (s->in + s->from));
    size_t next = s->from + length + 1;
    if (length && end[-1] == '\r')
        length--;
    if (length >= room)
        return -1;
    memcpy(line, s->in + s->from, length);
    line[length] = '\0';
    s->from = next;
    return (int)length;
}

int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int write_times(const char *path, const int64_t *times, long count) {
    char fresh[4096];
    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
        return -1;
    FILE *file = fopen(fresh, "w");
    if (!file)
        return -1;
    for (long number = 0; number < count; number++)
        if (times[number])
            fprintf(file, "%ld %lld\n", number, (long long)times[number]);
    return fclose(file) ? -1 : rename(fresh, path);
}
