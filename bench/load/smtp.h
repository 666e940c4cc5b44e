/* One SMTP connection with a buffered reader and writer, in the clear or under TLS.
 *
 * Shared by source.c and sink.c. Blocking: each session has a thread of its
 * own, so nothing here is shared between threads. Output is gathered until
 * flush(), which read_line() calls itself before it would wait, so that what
 * a peer pipelines is answered in one write.
 */
#ifndef SMTP_H
#define SMTP_H

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define BUFFER 65536

struct smtp {
    int fd;
    SSL *tls;             /* NULL: in the clear */
    char in[BUFFER];
    size_t from, to;      /* the unread part of in */
    char out[BUFFER];
    size_t waiting;       /* the unsent part of out */
};

/* All return -1 when the connection is lost or the peer makes no sense. */
void open_smtp(struct smtp *s, int fd);
void close_smtp(struct smtp *s);
int start_tls(struct smtp *s, SSL_CTX *context, int is_server);
int flush(struct smtp *s);
int put(struct smtp *s, const char *data, size_t length);
int say(struct smtp *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
int fill(struct smtp *s);                        /* waits for more input; the bytes that came */
int read_line(struct smtp *s, char *line, size_t room); /* without CR LF; its length */

int64_t now_ns(void);                            /* CLOCK_MONOTONIC, which all processes share */
int write_times(const char *path, const int64_t *times, long count);

#endif
