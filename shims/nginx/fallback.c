// When Tidegate can't: nginx's own round robin, over the same servers, for the rest of the request.

#include "tidegate_module.h"

// Notes that the library failed. What it was doing for this request is over; round robin takes the next attempt.
void
tg_broken(tg_request_t *p, tidegate_status status, const char *call)
{
    static time_t last;
    char text[240];
    size_t len = 0;

    // One line a second says it; more would drown what caused it.
    if (last != ngx_time()) {
        last = ngx_time();
        (void) tidegate_last_error(text, sizeof(text), &len);
        ngx_log_error(NGX_LOG_ERR, p->r->connection->log, 0,
                      "tidegate: %s failed, round robin serves instead: %s: %*s", call, tidegate_strerror(status),
                      ngx_min(len, sizeof(text)), text);
    }

    if (p->open) {
        tidegate_request_end(&p->request, tg_now());
    }

    p->open = 0;
    p->validate = 0;
    p->broken = 1;
}

// Round robin for the rest of the request. Its functions are kept aside, so that keepalive's wrapping stays.
ngx_int_t
tg_robin_get(tg_request_t *p, ngx_peer_connection_t *pc)
{
    ngx_http_request_t *r = p->r;
    ngx_http_upstream_t *u = r->upstream;

    if (p->robin == NULL) {
        ngx_peer_connection_t saved = u->peer;

        // Data that stands there round robin takes for its own.
        u->peer.data = NULL;

        if (ngx_http_upstream_init_round_robin_peer(r, u->upstream) != NGX_OK) {
            return NGX_ERROR;
        }

        p->robin = u->peer.data;
        p->robin_get = u->peer.get;
        p->robin_free = u->peer.free;
        saved.tries = u->peer.tries;
        u->peer = saved;
        p->conf.next_upstream = p->original->next_upstream;
    }

    return p->robin_get(pc, p->robin);
}
