// One try of a request on a peer, and what follows from how it went. This is the file to read for the order of calls:
//
//   attempt_begin     tidegate_request_start
//   attempt_run       tidegate_request_pick, connect or reuse, tidegate_validator_start
//   feed              tidegate_validator_feed: what the bytes mean
//   on_head           tidegate_request_head: deliver it, or try again?
//   fail, complete    tidegate_request_report: how it ended, and what now?
//
// Nothing is decided here: this file observes (which byte left, which came, which errno, which timer) and obeys.
#include "proxy.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

enum { WAITS_FOR_NOTHING, WAITS_TO_RETRY, WAITS_TO_CONNECT, WAITS_TO_WRITE, WAITS_TO_READ };
enum { SEND_PIECE = 16 * 1024, READS_A_ROUND = 4 };

static uint64_t now(const struct client *c) { return c->worker->loop.now; }

// The attempt is over. Its connection, unless the pool has it, can't be used again.
static void leave(struct client *c) {
    struct attempt *a = &c->attempt;
    timer_disarm(&c->worker->loop, &a->timer);
    if (a->connection) connection_close(a->connection);
    a->connection = NULL;
    a->state = ATTEMPT_NONE;
}

static uint32_t phase(const struct client *c) {
    const struct attempt *a = &c->attempt;
    if (a->state == ATTEMPT_CONNECT) return TIDEGATE_PHASE_CONNECT;
    if (a->head_done) return TIDEGATE_PHASE_BODY;
    if (a->received) return TIDEGATE_PHASE_HEAD;
    return a->queued && (!a->connection || !buffer_len(&a->connection->out)) ? TIDEGATE_PHASE_HEAD : TIDEGATE_PHASE_SEND;
}

static uint32_t flags(const struct client *c) {
    const struct attempt *a = &c->attempt;
    return (a->reused ? TIDEGATE_OUTCOME_REUSED : 0) | (a->sent ? TIDEGATE_OUTCOME_SENT : 0) |
           (a->received ? TIDEGATE_OUTCOME_RECEIVED : 0) | (c->delivered ? TIDEGATE_OUTCOME_DELIVERED : 0);
}

static tidegate_outcome outcome(const struct client *c) {
    const struct attempt *a = &c->attempt;
    tidegate_outcome o = TIDEGATE_OUTCOME_INIT;
    o.phase = phase(c);
    o.flags = flags(c);
    o.status = a->status;
    o.connect_ns = a->connect_ns;
    o.head_ns = a->head_ns;
    o.total_ns = now(c) - a->started;
    return o;
}

// Obeys a decision that closed the attempt.
static void obey(struct client *c, const tidegate_decision *d) {
    struct attempt *a = &c->attempt;
    leave(c);
    switch (d->verdict) {
    case TIDEGATE_DECISION_RETRY:
        client_take_back(c);
        a->state = d->wait_ns ? ATTEMPT_WAIT : ATTEMPT_PICK;
        if (d->wait_ns) timer_arm(&c->worker->loop, &a->timer, now(c) + d->wait_ns);
        a->waits_for = d->wait_ns ? WAITS_TO_RETRY : WAITS_FOR_NOTHING;
        return;
    case TIDEGATE_DECISION_ANSWER:
        client_take_back(c);
        client_answer(c);
        return;
    case TIDEGATE_DECISION_ABORT:
        c->cause = d->cause;
        client_abort(c);
        return;
    default:
        client_fail(c);
    }
}

// The attempt failed.
static void fail(struct client *c, uint32_t cause, uint32_t reason) {
    tidegate_outcome o = outcome(c);
    o.cause = cause;
    o.reason = reason;
    tidegate_decision d = TIDEGATE_DECISION_INIT;
    if (tidegate_request_report(&c->tidegate, &o, now(c), &d) == TIDEGATE_OK) {
        obey(c, &d);
    } else {
        client_fail(c);
    }
}

// The response is complete. The connection is kept if both sides are done with this request and nothing came behind.
static void complete(struct client *c, const tidegate_verdict *v, size_t left) {
    struct attempt *a = &c->attempt;
    struct connection *k = a->connection;
    bool request_gone = a->queued && !buffer_len(&k->out) && !a->send_error;
    bool keep = (v->flags & TIDEGATE_VERDICT_FLAG_REUSABLE) && !(v->flags & TIDEGATE_VERDICT_FLAG_EXCESS) && !left &&
                request_gone && !c->worker->options->no_keepalive;
    tidegate_outcome o = outcome(c);
    o.phase = TIDEGATE_PHASE_DONE;
    tidegate_decision d = TIDEGATE_DECISION_INIT;
    bool counted = tidegate_request_report(&c->tidegate, &o, now(c), &d) == TIDEGATE_OK;
    if (keep) {
        pool_keep(k);
        a->connection = NULL;
    }
    leave(c);
    if (counted) {
        client_complete(c);
    } else {
        client_fail(c);
    }
}

static void on_head(struct client *c, const tidegate_verdict *v) {
    struct attempt *a = &c->attempt;
    a->status = v->status;
    a->head_ns = now(c) - a->started;
    tidegate_outcome o = outcome(c);
    o.phase = TIDEGATE_PHASE_HEAD;
    o.retry_after_s = rewrite_retry_after(&a->head);
    o.framing = v->framing;
    o.content_length = v->content_length;
    o.content_type = rewrite_field(&a->head, "content-type", &o.content_type_len);
    tidegate_decision d = TIDEGATE_DECISION_INIT;
    if (tidegate_request_head(&c->tidegate, &o, now(c), &d) != TIDEGATE_OK) {
        client_fail(c);
    } else if (d.verdict == TIDEGATE_DECISION_DELIVER) {
        a->head_done = true;
        client_respond(c, v, &d);
    } else {
        obey(c, &d);
    }
}

// Bytes of the response have come.
static void feed(struct client *c, const char *bytes, size_t len) {
    struct attempt *a = &c->attempt;
    while (a->state == ATTEMPT_ACTIVE) {
        tidegate_verdict v = TIDEGATE_VERDICT_INIT;
        if (tidegate_validator_feed(&a->validator, bytes, len, &v) != TIDEGATE_OK) {
            client_fail(c);
            return;
        }
        // The validator keeps no bytes, so the head is gathered here until it is complete.
        if (!a->head_done) buffer_append(&a->head, bytes, v.consumed);
        const char *data = bytes + v.data;
        bytes += v.consumed;
        len -= v.consumed;
        switch (v.event) {
        case TIDEGATE_VERDICT_NEED_MORE: return;
        case TIDEGATE_VERDICT_INTERIM: buffer_reset(&a->head); break;
        case TIDEGATE_VERDICT_HEAD: on_head(c, &v); break;
        case TIDEGATE_VERDICT_DATA: client_data(c, data, v.data_len); break;
        case TIDEGATE_VERDICT_COMPLETE: complete(c, &v, len); return;
        case TIDEGATE_VERDICT_REJECT: fail(c, v.cause, v.reason); return;
        default: client_fail(c); return;
        }
    }
}

// No more bytes will come: `error` is an errno, 0 for an orderly close.
static void ended(struct client *c, int error) {
    struct attempt *a = &c->attempt;
    if (!a->received) {
        fail(c, tidegate_cause_from_errno(error, phase(c), flags(c)), 0);
        return;
    }
    tidegate_verdict v = TIDEGATE_VERDICT_INIT;
    uint32_t end = error ? TIDEGATE_END_RESET : TIDEGATE_END_CLOSE;
    if (tidegate_validator_finish(&a->validator, end, &v) != TIDEGATE_OK) {
        client_fail(c);
    } else if (v.event == TIDEGATE_VERDICT_COMPLETE) {
        v.flags &= ~(uint32_t)TIDEGATE_VERDICT_FLAG_REUSABLE;
        complete(c, &v, 0);
    } else {
        fail(c, v.cause, v.reason);
    }
}

static void receive(struct client *c) {
    struct attempt *a = &c->attempt;
    char *scratch = c->worker->scratch;
    for (int i = 0; i < READS_A_ROUND && a->state == ATTEMPT_ACTIVE && !a->paused; i++) {
        ssize_t n = recv(a->connection->source.fd, scratch, SCRATCH, 0);
        if (n > 0) {
            a->received = a->progress = true;
            feed(c, scratch, (size_t)n);
            a->paused = buffer_len(&c->out) > OUT_HIGH;
            // A short read has emptied the socket; a close behind it is another event.
            if (n < SCRATCH) return;
        } else if (n == 0) {
            ended(c, 0);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            // The request could not be sent and no answer explains why.
            if (a->send_error) ended(c, a->send_error);
            return;
        } else if (errno != EINTR) {
            ended(c, errno);
        }
    }
}

// Queues the next piece of the body, in the framing that the head announced.
static void queue_body(struct client *c) {
    struct attempt *a = &c->attempt;
    struct buffer *out = &a->connection->out;
    bool chunked = c->streaming && c->request.chunked;
    size_t from = c->streaming ? 0 : a->body_at;
    size_t piece = buffer_len(&c->body) - from;
    bool last = c->body_done;
    if (piece > SEND_PIECE) {
        piece = SEND_PIECE;
        last = false;
    }
    if (piece) {
        if (chunked) buffer_print(out, "%zx\r\n", piece);
        buffer_append(out, buffer_bytes(&c->body) + from, piece);
        if (chunked) buffer_append(out, "\r\n", 2);
        if (c->streaming) {
            buffer_consume(&c->body, piece);
        } else {
            a->body_at += piece;
        }
    }
    if (last && chunked) buffer_append(out, "0\r\n\r\n", 5);
    a->queued = last;
}

void attempt_send(struct client *c) {
    struct attempt *a = &c->attempt;
    if (a->state != ATTEMPT_ACTIVE || a->send_error) return;
    struct buffer *out = &a->connection->out;
    for (;;) {
        if (!buffer_len(out) && !a->queued) queue_body(c);
        if (out->failed) {
            client_fail(c);
            return;
        }
        if (!buffer_len(out)) return;
        ssize_t n = send(a->connection->source.fd, buffer_bytes(out), buffer_len(out), MSG_NOSIGNAL);
        if (n >= 0) {
            a->sent = a->sent || n > 0;
            a->progress = true;
            buffer_consume(out, (size_t)n);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR) {
            // The peer may have answered before it closed (413, say): that answer counts, if there is one.
            a->send_error = errno;
            receive(c);
            return;
        }
    }
}

static void ready(struct source *source, uint32_t events) {
    struct connection *k = CONTAINER_OF(source, struct connection, source);
    struct client *c = k->client;
    struct attempt *a = &c->attempt;
    if (a->state == ATTEMPT_CONNECT) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            fail(c, tidegate_cause_from_errno(error, TIDEGATE_PHASE_CONNECT, flags(c)), 0);
        } else if (events & EPOLLOUT) {
            a->connect_ns = now(c) - a->started;
            a->state = ATTEMPT_ACTIVE;
        }
    }
    attempt_send(c);
    if (a->connection == k && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        // An error is reported whether or not it is waited for: read what is left, and the error itself.
        if (events & (EPOLLHUP | EPOLLERR)) a->paused = false;
        receive(c);
    }
    attempt_run(c);
    client_drive(c);
}

static void expired(struct timer *timer) {
    struct attempt *a = CONTAINER_OF(timer, struct attempt, timer);
    struct client *c = CONTAINER_OF(a, struct client, attempt);
    switch (a->waits_for) {
    case WAITS_TO_RETRY: a->state = ATTEMPT_PICK; break;
    case WAITS_TO_CONNECT: fail(c, TIDEGATE_CAUSE_CONNECTION_TIMEOUT, 0); break;
    case WAITS_TO_WRITE: fail(c, TIDEGATE_CAUSE_CONNECTION_WRITE_TIMEOUT, 0); break;
    case WAITS_TO_READ: {
        tidegate_verdict v = TIDEGATE_VERDICT_INIT;
        v.cause = TIDEGATE_CAUSE_CONNECTION_READ_TIMEOUT;
        if (a->received) tidegate_validator_finish(&a->validator, TIDEGATE_END_TIMEOUT, &v);
        fail(c, v.cause, v.reason);
        break;
    }
    default: break;
    }
    attempt_run(c);
    client_drive(c);
}

// Picks a peer and sets out for it.
static void pick(struct client *c) {
    struct attempt *a = &c->attempt;
    struct worker *w = c->worker;
    timer_disarm(&w->loop, &a->timer);
    a->pick = (tidegate_pick)TIDEGATE_PICK_INIT;
    tidegate_status status = tidegate_request_pick(&c->tidegate, now(c), &a->pick);
    if (status == TIDEGATE_ERR_NO_PEER) {
        a->state = ATTEMPT_NONE;
        client_answer(c);
        return;
    }
    if (status != TIDEGATE_OK) {
        client_fail(c);
        return;
    }
    buffer_reset(&a->head);
    a->waits_for = WAITS_FOR_NOTHING;
    a->sent = a->received = a->paused = a->queued = a->head_done = a->progress = false;
    a->send_error = 0;
    a->body_at = 0;
    a->status = 0;
    a->connect_ns = a->head_ns = 0;
    a->started = now(c);

    a->state = ATTEMPT_CONNECT;
    a->connection = pool_take(w, &a->pick, &a->reused);
    if (!a->connection) {
        fail(c, tidegate_cause_from_errno(errno, TIDEGATE_PHASE_CONNECT, 0), 0);
        return;
    }
    a->connection->client = c;
    a->connection->source.ready = ready;
    tidegate_validator_options options = TIDEGATE_VALIDATOR_OPTIONS_INIT;
    options.method = c->method;
    rewrite_request(c, &a->connection->out);
    if (tidegate_validator_start(&a->validator, &options) != TIDEGATE_OK) {
        client_fail(c);
    } else if (a->reused) {
        a->state = ATTEMPT_ACTIVE;
        attempt_send(c);
    }
}

void attempt_run(struct client *c) {
    // A loop and not a recursion: peers may refuse at once, one after the other.
    while (c->attempt.state == ATTEMPT_PICK) pick(c);
}

void attempt_begin(struct client *c) {
    tidegate_request_options options = TIDEGATE_REQUEST_OPTIONS_INIT;
    options.upstream = c->worker->upstream;
    options.method = c->method;
    if (c->streaming) options.flags |= TIDEGATE_REQUEST_NOT_REPLAYABLE;
    c->attempt.timer.fire = expired;
    if (tidegate_request_start(c->worker->tidegate, &c->tidegate, &options, now(c)) != TIDEGATE_OK) {
        client_fail(c);
        return;
    }
    c->judged = true;
    c->attempt.state = ATTEMPT_PICK;
    attempt_run(c);
}

void attempt_drop(struct client *c) {
    // A request that never started has no state to end.
    if (c->judged) tidegate_request_end(&c->tidegate, now(c));
    leave(c);
}

void attempt_settle(struct client *c) {
    struct attempt *a = &c->attempt;
    struct loop *loop = &c->worker->loop;
    const struct options *o = c->worker->options;
    if (a->state != ATTEMPT_CONNECT && a->state != ATTEMPT_ACTIVE) {
        if (a->state != ATTEMPT_WAIT) timer_disarm(loop, &a->timer);
        return;
    }
    struct connection *k = a->connection;
    if (buffer_len(&c->out) < OUT_LOW) a->paused = false;
    bool writes = buffer_len(&k->out) && !a->send_error;
    uint32_t mask = EPOLLOUT;
    int waits_for = WAITS_TO_CONNECT;
    uint64_t timeout = o->connect_timeout_ms;
    if (a->state == ATTEMPT_ACTIVE) {
        mask = (a->paused ? 0 : EPOLLIN) | (writes ? EPOLLOUT : 0);
        timeout = o->read_timeout_ms;
        // While it is the client that keeps us waiting, the peer owes nothing.
        waits_for = writes ? WAITS_TO_WRITE : a->queued && !a->paused ? WAITS_TO_READ : WAITS_FOR_NOTHING;
    }
    // A head must come as a whole in its time; of a body each read starts the time anew.
    bool again = a->progress && (waits_for != WAITS_TO_READ || a->head_done);
    a->progress = false;
    if (waits_for == WAITS_FOR_NOTHING) {
        timer_disarm(loop, &a->timer);
    } else if (again || waits_for != a->waits_for) {
        timer_arm(loop, &a->timer, loop->now + timeout * MS);
    }
    a->waits_for = waits_for;
    if (k->out.failed || a->head.failed || !source_watch(loop, &k->source, mask)) client_fail(c);
}
