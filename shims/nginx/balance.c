// nginx's balancer interface: peer.init, get and free.
//
// nginx asks its configuration, after free(), whether another attempt may follow. Here that configuration is the
// request's own copy, so the decision is written there: every bit of next_upstream set is "retry", none is "stop".
// NOLIVE is never set: nginx would call get() again and again by recursion.

#include "tidegate_module.h"

#define NEXT_RETRY                                                                                                     \
    (NGX_HTTP_UPSTREAM_FT_ERROR | NGX_HTTP_UPSTREAM_FT_TIMEOUT | NGX_HTTP_UPSTREAM_FT_INVALID_HEADER                   \
     | NGX_HTTP_UPSTREAM_FT_STATUS | NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT)

static ngx_int_t tg_peer_get(ngx_peer_connection_t *pc, void *data);
static void tg_peer_free(ngx_peer_connection_t *pc, void *data, ngx_uint_t state);

// Kept for the next request, warm: taken from the request's pool it would cost that a second block.
static tg_request_t *tg_free_requests;

static tg_request_t *
tg_request_take(void)
{
    tg_request_t *p = tg_free_requests;

    if (p == NULL) {
        p = ngx_alloc(sizeof(tg_request_t), ngx_cycle->log);
    } else {
        tg_free_requests = p->next_free;
    }

    // The library's objects and the copy of the configuration, which follow, are set up by their own calls.
    if (p != NULL) {
        ngx_memzero(p, offsetof(tg_request_t, pick));
    }

    return p;
}

static void
tg_request_cleanup(void *data)
{
    tg_request_t *p = data;

    if (p->pause.timer_set) {
        ngx_del_timer(&p->pause);
    }

    if (p->pause.posted) {
        ngx_delete_posted_event(&p->pause);
    }

    tg_hold_end(p);

    if (p->open && p->main->worker != NULL) {
        tidegate_request_end(&p->request, tg_now());
    }

    p->next_free = tg_free_requests;
    tg_free_requests = p;
}

// The state of a request's latest upstream, also after an internal redirect has cleared its contexts.
tg_request_t *
tg_request(ngx_http_request_t *r)
{
    tg_request_t *p = ngx_http_get_module_ctx(r, ngx_http_tidegate_module);

    if (p == NULL && (r->internal || r->filter_finalize)) {
        for (ngx_pool_cleanup_t *c = r->pool->cleanup; c != NULL; c = c->next) {
            if (c->handler == tg_request_cleanup && ((tg_request_t *) c->data)->r == r) {
                return c->data;
            }
        }
    }

    return p;
}

static tidegate_status
tg_request_begin(tg_request_t *p, uint64_t now)
{
    ngx_http_request_t *r = p->r;
    const ngx_http_upstream_conf_t *conf = p->original;
    tg_location_t *location = ngx_http_get_module_loc_conf(r, ngx_http_tidegate_module);
    tidegate_request_options options = TIDEGATE_REQUEST_OPTIONS_INIT;

    options.upstream = p->upstream->id;
    options.method = tidegate_method_parse((char *) r->method_name.data, r->method_name.len);
    options.max_attempts = (uint32_t) conf->next_upstream_tries;

    if (r->request_body_no_buffering) {
        options.flags |= TIDEGATE_REQUEST_NOT_REPLAYABLE;
    }

    // The operator's word, in nginx's terms or in ours.
    if (location->retry == TG_RETRY_SAFE || (conf->next_upstream & NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT)) {
        options.flags |= TIDEGATE_REQUEST_RETRY_SAFE;
    }

    if (location->retry == TG_RETRY_OFF || (conf->next_upstream & NGX_HTTP_UPSTREAM_FT_OFF)) {
        options.flags |= TIDEGATE_REQUEST_NO_RETRY;
    }

    if (conf->next_upstream_timeout != 0) {
        options.deadline_ns = now + (uint64_t) conf->next_upstream_timeout * 1000000;
    }

    if (p->upstream->hash_key != NULL) {
        ngx_str_t key;

        if (ngx_http_complex_value(r, p->upstream->hash_key, &key) == NGX_OK) {
            options.key = key.data;
            options.key_len = key.len;
        }

    } else if (p->upstream->options.selector == TIDEGATE_SELECTOR_SOURCE_HASH) {
        // The client's address as nginx knows it, after realip.
        options.key = r->connection->sockaddr;
        options.key_len = r->connection->socklen;
    }

    return tidegate_request_start(p->main->worker, &p->request, &options, now);
}

ngx_int_t
tg_peer_init(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    tg_main_t *main = ngx_http_get_module_main_conf(r, ngx_http_tidegate_module);
    tg_upstream_t *upstream = ngx_http_conf_upstream_srv_conf(us, ngx_http_tidegate_module);
    ngx_http_upstream_t *u = r->upstream;
    ngx_pool_cleanup_t *cleanup;
    tidegate_status status;
    tg_request_t *p;

    if (main->worker == NULL || !upstream->declared) {
        return ngx_http_upstream_init_round_robin_peer(r, us);
    }

    cleanup = ngx_pool_cleanup_add(r->pool, 0);
    p = cleanup != NULL ? tg_request_take() : NULL;
    if (p == NULL) {
        return NGX_ERROR;
    }

    p->r = r;
    p->main = main;
    p->upstream = upstream;
    p->original = u->conf;
    p->pick = (tidegate_pick) TIDEGATE_PICK_INIT;
    p->decision = (tidegate_decision) TIDEGATE_DECISION_INIT;
    p->picked_ns = tg_now();

    status = tg_request_begin(p, p->picked_ns);
    if (status != TIDEGATE_OK) {
        tg_broken(p, status, "request_start");
        p->next_free = tg_free_requests;
        tg_free_requests = p;
        return ngx_http_upstream_init_round_robin_peer(r, us);
    }

    cleanup->handler = tg_request_cleanup;
    cleanup->data = p;
    ngx_http_set_ctx(r, p, ngx_http_tidegate_module);

    p->conf = *u->conf;
    p->conf.next_upstream = 0;
    p->conf.next_upstream_tries = 0;
    p->conf.next_upstream_timeout = 0;
    u->conf = &p->conf;

    u->peer.data = p;
    u->peer.get = tg_peer_get;
    u->peer.free = tg_peer_free;
    u->peer.tries = 1;
#if (NGX_HTTP_SSL)
    u->peer.set_session = tg_set_session;
    u->peer.save_session = tg_save_session;
#endif

    tg_head_wrap(p);

    return NGX_OK;
}

static tidegate_status
tg_pick(tg_request_t *p)
{
    tidegate_status status;

    // The first get() follows init() at once: one look at the clock serves both.
    if (p->attempts != 0) {
        p->picked_ns = tg_now();
    }

    status = tidegate_request_pick(&p->request, p->picked_ns, &p->pick);

    if (status == TIDEGATE_OK) {
        p->open = 1;
        p->attempts = p->pick.attempt;
        p->fresh = (p->pick.flags & TIDEGATE_PICK_FRESH) != 0;
        p->address = tg_address(p->main, &p->pick);

        if (p->address == NULL) {
            tidegate_request_end(&p->request, p->picked_ns);
            return TIDEGATE_ERR_NOT_FOUND;
        }
    }

    return status;
}

// Ends the request with the answer that stands in `p`, as its own status: nginx knows only 502 and 504 here, and
// with them looks for the wrong error_page.
static ngx_int_t
tg_give_up(tg_request_t *p, ngx_peer_connection_t *pc)
{
    p->give_up = 1;

#if (NGX_HTTP_CACHE)
    // nginx serves the stale response on this path.
    if (p->r->upstream->cache_status == NGX_HTTP_CACHE_EXPIRED) {
        return NGX_BUSY;
    }
#endif

    ngx_log_error(NGX_LOG_ERR, pc->log, 0, "tidegate: no attempt on upstream \"%V\" may be made: %s",
                  &p->upstream->uscf->host, tidegate_cause_name(p->answer.cause));

    return tg_pause_start(p, pc, 0) == NGX_OK ? NGX_AGAIN : NGX_BUSY;
}

static ngx_int_t
tg_peer_get(ngx_peer_connection_t *pc, void *data)
{
    tg_request_t *p = data;
    tidegate_status status;
    ngx_str_t *name;

    tg_pause_end(p);

    pc->cached = 0;
    pc->connection = NULL;
    // What $upstream_addr shows where no peer was picked.
    pc->name = &p->upstream->uscf->host;

    if (p->give_up) {
        return tg_give_up(p, pc);
    }

    if (p->wait_ns != 0) {
        ngx_msec_t wait = (ngx_msec_t) ((p->wait_ns + 999999) / 1000000);

        p->wait_ns = 0;

        if (tg_pause_start(p, pc, wait) == NGX_OK) {
            return NGX_AGAIN;
        }
    }

    status = p->broken ? TIDEGATE_ERR_STATE : tg_pick(p);

    if (status == TIDEGATE_ERR_NO_PEER) {
        tg_answer_prepare(p);

        if (p->answered) {
            return tg_give_up(p, pc);
        }
    }

    if (status != TIDEGATE_OK) {
        if (!p->broken) {
            tg_broken(p, status, "request_pick");
        }
        return tg_robin_get(p, pc);
    }

    // The log reads it when the attempt, and with it the slot's entry, may be gone.
    name = ngx_palloc(p->r->pool, sizeof(ngx_str_t) + p->address->name_len);
    if (name == NULL) {
        return NGX_ERROR;
    }

    name->len = p->address->name_len;
    name->data = (u_char *) (name + 1);
    ngx_memcpy(name->data, p->address->name, name->len);

    pc->name = name;
    pc->sockaddr = (struct sockaddr *) p->address->sockaddr;
    pc->socklen = p->address->socklen;
    p->peer_name = name;

    if (p->fresh) {
        // keepalive compares address and length: with another length, which connect() takes as well, it finds no
        // idle connection.
        pc->socklen = pc->sockaddr->sa_family == AF_UNIX
                          ? (socklen_t) (offsetof(struct sockaddr_un, sun_path)
                                         + ngx_strlen(((struct sockaddr_un *) pc->sockaddr)->sun_path) + 1)
                          : pc->socklen + 1;
    }

    // What the former attempt allowed is used up; nginx would let a status pass by it.
    p->conf.next_upstream = 0;
    pc->tries = 1;

    tg_head_start(p);

    return NGX_OK;
}

// Writes a decision to where nginx looks for it. `nginx_status` is what nginx would answer with by itself.
void
tg_follow(tg_request_t *p, const tidegate_decision *decision, ngx_uint_t nginx_status)
{
    ngx_http_upstream_t *u = p->r->upstream;
    ngx_uint_t retry = decision->verdict == TIDEGATE_DECISION_RETRY;

    p->decision = *decision;
    p->attempts = decision->attempts;
    p->wait_ns = retry ? decision->wait_ns : 0;

    if (decision->verdict == TIDEGATE_DECISION_ANSWER && !p->r->header_sent) {
        tg_answer_prepare(p);

        if (p->answered && p->answer.status != nginx_status) {
            p->give_up = 1;
            retry = 1;
        }
    }

    p->conf.next_upstream = retry ? NEXT_RETRY : 0;
    u->peer.tries = retry ? 2 : 0;
}

static void
tg_peer_free(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    tg_request_t *p = data;
    int error = ngx_socket_errno;
    tidegate_outcome outcome = TIDEGATE_OUTCOME_INIT;
    tidegate_decision decision = TIDEGATE_DECISION_INIT;
    tidegate_status status;
    ngx_uint_t nginx_status;
    uint64_t now;

    tg_hold_end(p);

    if (p->robin != NULL) {
        p->robin_free(pc, p->robin, state);
        return;
    }

    // Judged and closed at its head, or broken: then round robin is next, whatever it was.
    if (!p->open) {
        if (p->broken) {
            p->conf.next_upstream = p->original->next_upstream;
            pc->tries = 1;
        }
        return;
    }

    now = tg_now();
    nginx_status = tg_outcome(p, pc, state, error, now, &outcome);

    if (outcome.cause == TIDEGATE_CAUSE_CLIENT_CLOSED) {
        p->open = 0;
        p->decision.cause = outcome.cause;
        tidegate_request_end(&p->request, now);
        return;
    }

    status = tidegate_request_report(&p->request, &outcome, now, &decision);
    if (status != TIDEGATE_OK) {
        tg_broken(p, status, "request_report");
        p->conf.next_upstream = p->original->next_upstream;
        pc->tries = 1;
        return;
    }

    p->open = 0;
    tg_follow(p, &decision, nginx_status);
}
