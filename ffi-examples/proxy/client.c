// A client's connection: it reads a request, starts the attempts, and writes what they deliver. Requests that are
// sent ahead (pipelined) wait in `in`: one is served at a time.
//
// CONNECT and Upgrade are refused with 501: a tunnel has no responses to judge. A client that closes its sending side
// while it waits for a response is taken as gone, as most proxies do: half-closed clients are rarer than impatient
// ones, and the two look the same.
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { WAITS_FOR_NOTHING, WAITS_IDLE, WAITS_FOR_HEAD, WAITS_FOR_BYTES, WAITS_TO_DELIVER, WAITS_TO_LINGER };
enum { READ_PIECE = 16 * 1024, IN_MOST = 64 * 1024, LINGER_MS = 2000, FRESH_MS = 1000 };

static void ready(struct source *source, uint32_t events);
static void expired(struct timer *timer);

static void bury(struct source *source) {
    struct client *c = CONTAINER_OF(source, struct client, source);
    buffer_free(&c->in);
    buffer_free(&c->out);
    buffer_free(&c->body);
    buffer_free(&c->attempt.head);
    request_free(&c->request);
    free(c);
}

void client_accept(struct worker *w, int fd, const struct sockaddr_storage *address) {
    struct client *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->source = (struct source){.fd = fd, .ready = ready, .bury = bury};
    c->timer.fire = expired;
    c->worker = w;
    const void *ip = address->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                                                    : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    inet_ntop(address->ss_family, ip, c->address, sizeof c->address);
    c->next = w->clients;
    if (c->next) c->next->link = &c->next;
    c->link = &w->clients;
    w->clients = c;
    w->client_count++;
    client_drive(c);
}

// The request has ended, well or not.
static void end_request(struct client *c) {
    if (!c->open) return;
    c->open = false;
    c->served++;
    log_request(c);
}

void client_close(struct client *c) {
    if (c->state == CLIENT_CLOSED) return;
    attempt_drop(c);
    end_request(c);
    timer_disarm(&c->worker->loop, &c->timer);
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
    c->worker->client_count--;
    c->state = CLIENT_CLOSED;
    source_close(&c->worker->loop, &c->source);
}

static void gone(struct client *c) {
    c->cause = TIDEGATE_CAUSE_CLIENT_CLOSED;
    client_close(c);
}

static void begin_request(struct client *c) {
    struct worker *w = c->worker;
    c->open = true;
    c->started = w->loop.now;
    c->judged = c->delivered = c->body_done = c->streaming = c->chunk = c->cut_by_reset = false;
    c->hold_bytes = 0;
    c->hold_until = c->body_bytes = 0;
    c->status = c->cause = 0;
    c->origin = "gateway";
    snprintf(c->id, sizeof c->id, "%x-%llx", (unsigned)getpid(), (unsigned long long)++w->requests);
}

void client_take_back(struct client *c) {
    buffer_truncate(&c->out, c->before);
    c->hold_bytes = 0;
    c->hold_until = c->body_bytes = 0;
    c->chunk = c->cut_by_reset = false;
    c->origin = "gateway";
}

static const char *reason(int status) {
    switch (status) {
    case 400: return "Bad Request";
    case 408: return "Request Timeout";
    case 414: return "URI Too Long";
    case 417: return "Expectation Failed";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 505: return "HTTP Version Not Supported";
    default: return "Internal Server Error";
    }
}

// Answers what never concerned a peer, and ends the connection: where the next request begins can't be known.
static void refuse(struct client *c, int status) {
    attempt_drop(c);
    if (c->delivered) {
        client_abort(c);
        return;
    }
    client_take_back(c);
    c->status = (uint32_t)status;
    c->keep_alive = false;
    buffer_print(&c->out, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status, reason(status));
    c->state = CLIENT_FLUSH;
}

void client_fail(struct client *c) {
    if (c->state == CLIENT_CLOSED) return;
    c->cause = TIDEGATE_CAUSE_INTERNAL_ERROR;
    refuse(c, 500);
}

void client_abort(struct client *c) {
    if (c->state == CLIENT_CLOSED) return;
    // Towards HTTP/1.1 the missing last chunk or the missing bytes show the cut. A body that ends with the connection
    // has no other sign of it than a reset.
    if (c->cut_by_reset) {
        struct linger now = {.l_onoff = 1};
        setsockopt(c->source.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    client_close(c);
}

void client_answer(struct client *c) {
    struct worker *w = c->worker;
    const struct options *o = w->options;
    const struct request *r = &c->request;
    tidegate_answer a = TIDEGATE_ANSWER_INIT;
    char *to = buffer_reserve(&c->out, o->errors.most);
    size_t len;
    if (!c->body_done || w->stopping) c->keep_alive = false;
    a.flags = (c->method == TIDEGATE_METHOD_HEAD ? TIDEGATE_ANSWER_HEAD : 0) | (c->keep_alive ? 0 : TIDEGATE_ANSWER_CLOSE) |
              (c->keep_alive && r->minor == 0 ? TIDEGATE_ANSWER_KEEP_ALIVE : 0);
    a.date = time(NULL);
    const struct field *accept = request_field(r, "accept");
    if (accept) {
        a.accept = request_text(r, accept->value);
        a.accept_len = accept->value.len;
    }
    const struct field *content_type = request_field(r, "content-type");
    if (content_type) {
        a.content_type = request_text(r, content_type->value);
        a.content_type_len = content_type->value.len;
    }
    errors_apply(&o->errors, &a);
    a.label = o->label;
    a.label_len = strlen(o->label);
    a.upstream = o->upstream_name;
    a.upstream_len = strlen(o->upstream_name);
    a.request_id = c->id;
    a.request_id_len = strlen(c->id);
    if (!to || tidegate_request_answer(&c->tidegate, w->loop.now, &a) != TIDEGATE_OK ||
        tidegate_answer_write(&a, to, o->errors.most, &len) != TIDEGATE_OK) {
        client_fail(c);
        return;
    }
    c->out.end += len;
    c->status = a.status;
    c->cause = a.cause;
    c->state = CLIENT_FLUSH;
}

void client_respond(struct client *c, const tidegate_verdict *v, const tidegate_decision *d) {
    // An answer that comes before the request is complete leaves no place where the next one begins.
    if (!c->body_done || c->worker->stopping) c->keep_alive = false;
    bool open_ended = v->framing == TIDEGATE_FRAMING_CHUNKED || v->framing == TIDEGATE_FRAMING_CLOSE;
    c->chunk = open_ended && c->request.minor == 1;
    if (open_ended && c->request.minor == 0) {
        c->keep_alive = false;
        c->cut_by_reset = true;
    }
    c->status = v->status;
    c->origin = "upstream";
    c->hold_bytes = d->hold_bytes;
    c->hold_until = c->worker->loop.now + d->hold_ns;
    rewrite_response(c, v, &c->out);
}

void client_data(struct client *c, const char *bytes, size_t len) {
    c->body_bytes += len;
    if (c->chunk) buffer_print(&c->out, "%zx\r\n", len);
    buffer_append(&c->out, bytes, len);
    if (c->chunk) buffer_append(&c->out, "\r\n", 2);
}

void client_complete(struct client *c) {
    if (c->chunk) buffer_append(&c->out, "0\r\n\r\n", 5);
    c->state = CLIENT_FLUSH;
}

static bool step_head(struct client *c) {
    struct request *r = &c->request;
    enum parsed parsed = request_read_head(r, &c->in);
    if (parsed == PARSED_MORE) return false;
    begin_request(c);
    if (parsed == PARSED_BAD) {
        refuse(c, r->refused);
        return true;
    }
    c->keep_alive = r->keep_alive && !c->worker->stopping;
    c->method = tidegate_method_parse(request_text(r, r->method), r->method.len);
    c->state = CLIENT_BODY;
    if (r->upgrade) {
        refuse(c, 501);
    } else if (r->expect && !buffer_len(&c->in)) {
        buffer_print(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
        c->before = buffer_len(&c->out);
    }
    return true;
}

// Decodes what has come of the body. False: the request was refused.
static bool read_body(struct client *c) {
    enum parsed parsed = request_read_body(&c->request, &c->in, &c->body, BODY_KEPT);
    if (parsed == PARSED_BAD) {
        refuse(c, c->request.refused);
        c->request.refused = 0;  // its head was good: the log may show it
        return false;
    }
    c->body_done = parsed == PARSED_DONE;
    return true;
}

static bool step_body(struct client *c) {
    if (!read_body(c)) return true;
    // A body that is too long to keep is passed on while it comes, and can't be sent twice.
    c->streaming = !c->body_done && (buffer_len(&c->body) >= BODY_KEPT || c->request.length > BODY_KEPT);
    if (!c->body_done && !c->streaming) return false;
    if (!status_answer(c)) {
        c->state = CLIENT_PROXY;
        attempt_begin(c);
    }
    return true;
}

// How much of `out` may go. While a response is held back only what stands before it may.
static size_t sendable(const struct client *c) {
    size_t len = buffer_len(&c->out);
    bool held = c->state == CLIENT_PROXY && !c->delivered && c->body_bytes < c->hold_bytes &&
                c->worker->loop.now < c->hold_until;
    return held ? c->before : len;
}

// Writes what may go. The one place where bytes reach the client.
static void flush(struct client *c) {
    for (size_t len; c->state != CLIENT_CLOSED && (len = sendable(c));) {
        ssize_t n = send(c->source.fd, buffer_bytes(&c->out), len, MSG_NOSIGNAL);
        if (n >= 0) {
            c->progress = true;
            buffer_consume(&c->out, (size_t)n);
            if ((size_t)n > c->before) c->delivered = true;
            c->before -= (size_t)n > c->before ? c->before : (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR) {
            gone(c);
        }
    }
}

static bool step_proxy(struct client *c) {
    // What the peer takes makes room in `body` for what waits in `in`.
    while (!c->body_done && c->state == CLIENT_PROXY) {
        if (!read_body(c)) return true;
        attempt_send(c);
        attempt_run(c);
        if (!buffer_len(&c->in) || buffer_len(&c->body) >= BODY_KEPT) break;
    }
    flush(c);
    if (c->state == CLIENT_PROXY) attempt_settle(c);
    return c->state != CLIENT_PROXY;
}

static bool step_flush(struct client *c) {
    flush(c);
    if (c->state == CLIENT_CLOSED || buffer_len(&c->out)) return false;
    end_request(c);
    if (c->keep_alive && !c->worker->stopping) {
        request_reset(&c->request);
        buffer_reset(&c->out);
        buffer_reset(&c->body);
        buffer_reset(&c->attempt.head);
        if (!buffer_len(&c->in)) buffer_reset(&c->in);
        c->before = 0;
        c->state = CLIENT_HEAD;
        c->waits_for = WAITS_FOR_NOTHING;
        return true;
    }
    // Closing with unread bytes resets the connection, and the reset may overtake the response.
    shutdown(c->source.fd, SHUT_WR);
    buffer_free(&c->in);
    c->state = CLIENT_LINGER;
    return true;
}

static bool step(struct client *c) {
    switch (c->state) {
    case CLIENT_HEAD: return step_head(c);
    case CLIENT_BODY: return step_body(c);
    case CLIENT_PROXY: return step_proxy(c);
    case CLIENT_FLUSH: return step_flush(c);
    default: return false;
    }
}

static bool wants_bytes(const struct client *c) {
    bool reads_body = c->state == CLIENT_BODY || (c->state == CLIENT_PROXY && !c->body_done);
    return c->state == CLIENT_HEAD || (reads_body && buffer_len(&c->in) < IN_MOST && buffer_len(&c->body) < BODY_KEPT);
}

// Sets what the connection waits for, and for how long.
static void settle(struct client *c) {
    struct loop *loop = &c->worker->loop;
    uint64_t timeout = c->worker->options->client_timeout_ms;
    uint32_t mask = sendable(c) ? EPOLLOUT : 0;
    int waits_for = mask ? WAITS_FOR_BYTES : WAITS_FOR_NOTHING;
    bool holds = !mask && buffer_len(&c->out);
    if (c->state == CLIENT_LINGER) {
        mask = EPOLLIN;
        waits_for = WAITS_TO_LINGER;
        timeout = LINGER_MS;
    } else if (wants_bytes(c)) {
        mask |= EPOLLIN;
        // From its first byte on a head has its time as a whole, or one byte now and then would hold on for ever.
        waits_for = c->state != CLIENT_HEAD ? WAITS_FOR_BYTES : buffer_len(&c->in) ? WAITS_FOR_HEAD : WAITS_IDLE;
    } else if (c->state == CLIENT_PROXY && c->body_done) {
        mask |= EPOLLRDHUP;
    }
    if (holds) {
        waits_for = WAITS_TO_DELIVER;
        timer_arm(loop, &c->timer, c->hold_until);
    } else if (waits_for == WAITS_FOR_NOTHING) {
        timer_disarm(loop, &c->timer);
    } else if (waits_for != c->waits_for || (c->progress && waits_for == WAITS_FOR_BYTES)) {
        timer_arm(loop, &c->timer, loop->now + timeout * MS);
    }
    c->waits_for = waits_for;
    c->progress = false;
    bool failed = c->in.failed || c->out.failed || c->body.failed;
    if (failed || !source_watch(loop, &c->source, mask)) client_close(c);
}

void client_drive(struct client *c) {
    while (step(c)) {
    }
    if (c->state == CLIENT_BODY) flush(c);  // 100 Continue
    if (c->state != CLIENT_CLOSED) settle(c);
}

static void read_bytes(struct client *c) {
    if (c->state == CLIENT_LINGER) {
        // Not more than one piece in a round: the timer ends it, whatever comes.
        ssize_t n = recv(c->source.fd, c->worker->scratch, SCRATCH, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) client_close(c);
        return;
    }
    if (!wants_bytes(c)) return;
    char *to = buffer_reserve(&c->in, READ_PIECE);
    ssize_t n = to ? recv(c->source.fd, to, READ_PIECE, 0) : 0;
    if (n > 0) {
        c->in.end += (size_t)n;
        c->progress = true;
    } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        gone(c);
    }
}

static void ready(struct source *source, uint32_t events) {
    struct client *c = CONTAINER_OF(source, struct client, source);
    bool left = c->state == CLIENT_PROXY && c->body_done && (events & EPOLLRDHUP);
    if ((events & (EPOLLERR | EPOLLHUP)) || left) {
        gone(c);
    } else if (events & EPOLLIN) {
        read_bytes(c);
    }
    client_drive(c);
}

static void expired(struct timer *timer) {
    struct client *c = CONTAINER_OF(timer, struct client, timer);
    bool unsent = buffer_len(&c->out) > c->before;
    if (c->waits_for == WAITS_FOR_HEAD || (c->waits_for == WAITS_FOR_BYTES && !unsent)) {
        if (!c->open) begin_request(c);
        c->request.refused = c->state == CLIENT_HEAD ? 408 : 0;
        refuse(c, 408);
    } else if (c->waits_for != WAITS_TO_DELIVER) {
        gone(c);
    }
    client_drive(c);
}

void client_stop(struct client *c) {
    c->keep_alive = false;
    if (c->state != CLIENT_HEAD || buffer_len(&c->in)) return;
    if (c->served) {
        client_close(c);
    } else {
        // Just connected: its request may be on the way.
        timer_arm(&c->worker->loop, &c->timer, c->worker->loop.now + FRESH_MS * MS);
    }
}
