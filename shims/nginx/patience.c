// Time-outs that follow the latency: an attempt is given up when the library's time for it is over, if the library still
// says so then.
//
// nginx's own time-outs stay what the operator wrote: they bound ours. Ours need no timer of their own for each request. The open
// attempts of an upstream stand in a queue in the order in which their time is up (nearly: it is the same for all of
// them but retries), and one timer an upstream looks at its head. Requests that end leave the queue; the timer finds out
// when it fires. Costs a request an insertion and a removal.
//
// An attempt is given up the way nginx would: its event is marked as timed out and handed to nginx's handler. What
// follows is written in the request's copy of the configuration beforehand, as after any decision.

#include "tidegate_module.h"

// Not sooner than this after the last look, so that attempts whose times lie close together share one.
#define LOOK_MS 5

static void tg_patience_look(ngx_event_t *ev);

static ngx_msec_t
tg_patience_left(const tg_request_t *p, uint64_t now)
{
    return p->due_ns <= now ? 0 : (ngx_msec_t) ((p->due_ns - now + 999999) / 1000000);
}

static void
tg_patience_arm(tg_upstream_t *upstream, uint64_t now)
{
    tg_request_t *p;

    if (upstream->patience_look.timer_set || ngx_queue_empty(&upstream->patience)) {
        return;
    }

    p = ngx_queue_data(ngx_queue_head(&upstream->patience), tg_request_t, patience);
    upstream->patience_look.handler = tg_patience_look;
    upstream->patience_look.data = upstream;
    upstream->patience_look.log = ngx_cycle->log;
    // The requests have timers of nginx's own: this one need not hold up a graceful exit.
    upstream->patience_look.cancelable = 1;
    ngx_add_timer(&upstream->patience_look, ngx_max(tg_patience_left(p, now), LOOK_MS));
}

// An attempt was picked.
void
tg_patience_begin(tg_request_t *p)
{
    tidegate_times times = TIDEGATE_TIMES_INIT;
    uint64_t first;

    if (tidegate_request_times(&p->request, p->picked_ns, &times) != TIDEGATE_OK) {
        return;
    }

    first = times.connect_timeout_ns != 0 ? times.connect_timeout_ns : times.timeout_ns;
    if (first == 0) {
        return;
    }

    // What is due for the response is looked at first where that comes first: a reused connection is not waited for.
    p->head_due_ns = times.timeout_ns != 0 ? p->picked_ns + times.timeout_ns : 0;
    p->connect_due_ns = times.connect_timeout_ns != 0 ? p->picked_ns + times.connect_timeout_ns : 0;
    p->due_ns = p->head_due_ns != 0 && (p->connect_due_ns == 0 || p->head_due_ns < p->connect_due_ns)
                    ? p->head_due_ns
                    : p->connect_due_ns;

    ngx_queue_insert_tail(&p->upstream->patience, &p->patience);
    p->patient = 1;
    tg_patience_arm(p->upstream, p->picked_ns);
}

void
tg_patience_end(tg_request_t *p)
{
    if (p->patient) {
        p->patient = 0;
        ngx_queue_remove(&p->patience);
    }
}

// The time of an attempt is over. Whether it was given up.
static ngx_uint_t
tg_patience_over(tg_request_t *p, uint64_t now)
{
    ngx_http_request_t *r = p->r;
    ngx_http_upstream_t *u = r->upstream;
    ngx_connection_t *c = u->peer.connection, *client = r->connection;
    tidegate_outcome outcome = TIDEGATE_OUTCOME_INIT;
    tidegate_decision decision = TIDEGATE_DECISION_INIT;
    ngx_uint_t connecting;
    ngx_event_t *event;

    if (c == NULL || !p->open || p->head_done || p->paused) {
        return 0;
    }

    connecting = !u->request_sent;
    outcome.flags = tg_outcome_flags(p, &u->peer);
    outcome.total_ns = now - p->picked_ns;

#if (NGX_HTTP_SSL)
    outcome.phase = !connecting         ? TIDEGATE_PHASE_HEAD
                    : c->ssl != NULL    ? TIDEGATE_PHASE_TLS
                                        : TIDEGATE_PHASE_CONNECT;
#else
    outcome.phase = connecting ? TIDEGATE_PHASE_CONNECT : TIDEGATE_PHASE_HEAD;
#endif

    // While the request is still being sent it is the peer that does not read, or the client that does not write.
    if (!connecting && !u->request_body_sent) {
        return 0;
    }

    if (tidegate_request_expire(&p->request, &outcome, now, &decision) != TIDEGATE_OK
        || decision.verdict != TIDEGATE_DECISION_RETRY)
    {
        return 0;
    }

    ngx_http_set_log_request(client->log, r);
    ngx_log_error(NGX_LOG_INFO, client->log, 0, "tidegate: gave up on %V after %uL ms, and asks another peer",
                  p->peer_name, outcome.total_ns / 1000000);

    p->open = 0;
    tg_follow(p, &decision, NGX_HTTP_GATEWAY_TIME_OUT);

    // A handshake that is under way ends as one of its own kind: nginx looks at the connection's write event there too.
    event = connecting ? c->write : c->read;
    event->timedout = 1;
    event->handler(event);

    return 1;
}

static void
tg_patience_look(ngx_event_t *ev)
{
    tg_upstream_t *upstream = ev->data;
    uint64_t now = tg_now();

    while (!ngx_queue_empty(&upstream->patience)) {
        tg_request_t *p = ngx_queue_data(ngx_queue_head(&upstream->patience), tg_request_t, patience);

        if (tg_patience_left(p, now) != 0) {
            break;
        }

        tg_patience_end(p);

        // It may go on for another reason: then its later time counts.
        if (p->r->upstream->request_sent ? p->due_ns < p->head_due_ns : p->due_ns < p->connect_due_ns) {
            p->due_ns = p->r->upstream->request_sent ? p->head_due_ns : p->connect_due_ns;
            ngx_queue_insert_tail(&upstream->patience, &p->patience);
            p->patient = 1;
            continue;
        }

        if (p->r->upstream->request_sent ? p->head_due_ns != 0 : p->connect_due_ns != 0) {
            (void) tg_patience_over(p, now);
        }
    }

    tg_patience_arm(upstream, now);
}
