// The access log: whole lines, gathered over a round of the loop and written at once, so that the lines of several
// workers don't mix in a file opened with O_APPEND. The write blocks: a pipe whose reader stalls stalls the worker.
#include "proxy.h"

#include <errno.h>
#include <unistd.h>

enum { LOG_MOST = 1024 * 1024 };

void log_request(struct client *c) {
    struct worker *w = c->worker;
    if (w->log_fd < 0) return;
    struct buffer *log = &w->log;
    const struct request *r = &c->request;
    // A request that could not be parsed has no words worth printing; one that could has no quote or control in them.
    buffer_print(log, "%s id=%s \"%.*s %.*s\" %u bytes=%llu ms=%.1f origin=%s", c->address, c->id,
                 r->refused ? 1 : (int)r->method.len, r->refused ? "-" : request_text(r, r->method),
                 r->refused ? 1 : (int)r->target.len, r->refused ? "-" : request_text(r, r->target), c->status,
                 (unsigned long long)c->body_bytes, (double)(w->loop.now - c->started) / (double)MS, c->origin);
    if (c->cause) buffer_print(log, " cause=%s", tidegate_cause_name(c->cause));
    if (c->judged && (c->attempt.pick.attempt > 1 || c->cause)) {
        char record[1024];
        size_t len;
        if (tidegate_request_describe(&c->tidegate, record, sizeof record, &len) == TIDEGATE_OK) {
            buffer_print(log, " why=\"%.*s\"", (int)len, record);
        }
    }
    buffer_append(log, "\n", 1);
}

void log_flush(struct worker *w) {
    while (buffer_len(&w->log)) {
        ssize_t n = write(w->log_fd, buffer_bytes(&w->log), buffer_len(&w->log));
        if (n > 0) {
            buffer_consume(&w->log, (size_t)n);
        } else if (n < 0 && errno != EINTR) {
            break;
        }
    }
    // A log that can't be written must not eat the memory, nor an allocation that failed silence it for good.
    if (w->log.failed || buffer_len(&w->log) > LOG_MOST) {
        buffer_free(&w->log);
        w->log.failed = false;
    }
}
