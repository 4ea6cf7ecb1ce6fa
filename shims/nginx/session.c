// TLS sessions to upstreams: one kept for each peer and worker, so that most handshakes are short.

#include "tidegate_module.h"

#if (NGX_HTTP_SSL)

ngx_int_t
tg_set_session(ngx_peer_connection_t *pc, void *data)
{
    tg_request_t *p = data;

    if (!p->open || p->address->session == NULL) {
        return NGX_OK;
    }

    return ngx_ssl_set_session(pc->connection, p->address->session);
}

void
tg_save_session(ngx_peer_connection_t *pc, void *data)
{
    tg_request_t *p = data;
    ngx_ssl_session_t *session;

    if (!p->open) {
        return;
    }

    session = ngx_ssl_get_session(pc->connection);

    if (session != NULL) {
        if (p->address->session != NULL) {
            ngx_ssl_free_session(p->address->session);
        }
        p->address->session = session;
    }
}

#endif
