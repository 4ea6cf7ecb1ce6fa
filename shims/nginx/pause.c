// A delay between two attempts, without blocking and without a patch to nginx.
//
// get() answers "connecting" with a pseudo connection: nginx then waits, as for a slow connect(). When the time is
// up, its own connect test fails on a descriptor that is no socket, and it calls get() for the real attempt. The same
// wait, of no length, takes a request out of nginx's connect path to end it with a status of our own.
//
// Costs one of worker_connections while it lasts. The client's going away, a reload and a worker's graceful exit
// treat it as any other connect.

#include "tidegate_module.h"
#include <sys/eventfd.h>

// nginx's timer must never fire before ours.
#define NEVER_MS 60000

static void tg_pause_over(ngx_event_t *ev);

// One a worker, never read or written. Pseudo connections share it and never close it.
static int tg_pause_fd = -1;

// Takes the error that the connect test logs, which is ours and means nothing.
static ngx_log_t tg_silent_log;

ngx_int_t
tg_pause_open(ngx_log_t *log)
{
    if (tg_pause_fd == -1) {
        tg_pause_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }

    if (tg_pause_fd == -1) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno, "tidegate: eventfd() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}

// NGX_DECLINED: no connection is free, so there is no delay.
ngx_int_t
tg_pause_start(tg_request_t *p, ngx_peer_connection_t *pc, ngx_msec_t wait)
{
    ngx_connection_t *c = ngx_get_connection(tg_pause_fd, pc->log);

    if (c == NULL) {
        return NGX_DECLINED;
    }

    c->shared = 1;
    pc->connection = c;
    // Without an address nginx calls no free() for it.
    pc->sockaddr = NULL;
    pc->socklen = 0;

    p->conf.connect_timeout = wait + NEVER_MS;
    p->conf.next_upstream |= NGX_HTTP_UPSTREAM_FT_ERROR;
    pc->tries = 2;

    p->paused = 1;
    p->pause.handler = tg_pause_over;
    p->pause.data = p;
    p->pause.log = p->r->connection->log;

    if (wait != 0) {
        ngx_add_timer(&p->pause, wait);
    } else {
        ngx_post_event(&p->pause, &ngx_posted_events);
    }

    return NGX_OK;
}

// Forgets the pseudo attempt: its timer, and its entry in $upstream_addr and the like.
void
tg_pause_end(tg_request_t *p)
{
    ngx_http_upstream_t *u = p->r->upstream;
    ngx_array_t *states = p->r->upstream_states;
    ngx_http_upstream_state_t *state = states->elts;

    if (!p->paused) {
        return;
    }

    p->paused = 0;
    p->conf.connect_timeout = p->original->connect_timeout;

    if (p->pause.timer_set) {
        ngx_del_timer(&p->pause);
    }

    if (p->pause.posted) {
        ngx_delete_posted_event(&p->pause);
    }

    // In get() nginx has pushed the next attempt's entry behind it; when the request ends it is the last one.
    if (p->resuming) {
        p->resuming = 0;
        state[states->nelts - 2] = state[states->nelts - 1];
    } else if (p->give_up) {
        return;
    }

    states->nelts--;
    u->state = states->nelts != 0 ? &state[states->nelts - 1] : NULL;
}

// Ends the request with the answer's status, so that error_page is looked up by it.
static void
tg_pause_give_up(tg_request_t *p)
{
    ngx_http_request_t *r = p->r;
    ngx_connection_t *client = r->connection;
    ngx_int_t status = (ngx_int_t) p->answer.status;

    r->upstream->state->status = status;

    // nginx's own clean-up handler closes the pseudo connection and takes off one count.
    r->main->count++;
    (*r->upstream->cleanup)(r);
    ngx_http_finalize_request(r, status);
    ngx_http_run_posted_requests(client);
}

// Ends the pause now: nginx calls get() before this returns.
void
tg_pause_resume(tg_request_t *p)
{
    ngx_http_request_t *r = p->r;
    ngx_connection_t *c = r->upstream->peer.connection;

    ngx_http_set_log_request(r->connection->log, r);

    if (p->give_up) {
        tg_pause_give_up(p);
        return;
    }

    p->resuming = 1;
    c->log = &tg_silent_log;
    c->write->handler(c->write);
}

static void
tg_pause_over(ngx_event_t *ev)
{
    tg_pause_resume(ev->data);
}
