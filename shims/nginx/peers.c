// Peers: from `server` lines into the table, and from a pick back to an address.
//
// nginx's round robin parses and resolves the lines; it also stays as the fallback. The declaration is made once per
// configuration, by the master.

#include "tidegate_module.h"

static void
tg_peer_from(tidegate_peer *peer, const ngx_http_upstream_rr_peer_t *from, uint32_t priority)
{
    (void) tidegate_peer_init(peer, sizeof(*peer));
    peer->address = from->sockaddr;
    peer->address_len = from->socklen;
    peer->weight = (uint32_t) from->weight;
    peer->priority = priority;
    peer->max_in_flight = (uint32_t) from->max_conns;
    peer->admin = from->down ? TIDEGATE_ADMIN_DISABLED : TIDEGATE_ADMIN_ENABLED;
}

static ngx_int_t
tg_peer_refuse(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us, const ngx_str_t *peer, const char *why)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "server \"%V\" of upstream \"%V\" in %s:%ui: %s", peer, &us->host,
                  us->file_name, us->line, why);

    return NGX_ERROR;
}

// Called by nginx when all of upstream {} is read (through keepalive, if there is one).
ngx_int_t
tg_upstream_init(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    tg_upstream_t *upstream = ngx_http_conf_upstream_srv_conf(us, ngx_http_tidegate_module);
    ngx_http_upstream_rr_peers_t *primary, *list;
    ngx_http_upstream_rr_peer_t *from;
    ngx_uint_t total = 0;
    uint32_t priority = 0;

    if (ngx_http_upstream_init_round_robin(cf, us) != NGX_OK) {
        return NGX_ERROR;
    }

    primary = us->peer.data;

    for (list = primary; list != NULL; list = list->next) {
        total += list->number;
    }

    upstream->peers = ngx_pcalloc(cf->pool, total * sizeof(tidegate_peer));
    if (upstream->peers == NULL) {
        return NGX_ERROR;
    }

    for (list = primary; list != NULL; list = list->next, priority = 1) {
        for (from = list->peer; from != NULL; from = from->next) {
            if (from->weight > 65535) {
                return tg_peer_refuse(cf, us, &from->name, "weights from 1 to 65535 are allowed with \"tidegate\"");
            }

            for (ngx_uint_t i = 0; i < upstream->npeers; i++) {
                const tidegate_peer *other = &upstream->peers[i];

                if (ngx_memn2cmp((u_char *) other->address, (u_char *) from->sockaddr, other->address_len,
                                 from->socklen) == 0)
                {
                    return tg_peer_refuse(cf, us, &from->name,
                                          "the address is given twice; \"tidegate\" takes each once (use \"weight\")");
                }
            }

            // nginx's defaults: whoever wrote something else expects it to work.
            if (from->max_fails != 1 || from->fail_timeout != 10) {
                ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                              "\"max_fails\" and \"fail_timeout\" of server \"%V\" in %s:%ui serve only where "
                              "\"tidegate\" can't: use its \"fails\" and \"eject\"",
                              &from->name, us->file_name, us->line);
            }

            tg_peer_from(&upstream->peers[upstream->npeers], from, priority);
            tg_server_apply(upstream, &from->server, &upstream->peers[upstream->npeers++]);
        }
    }

    if (tg_server_unused(cf, upstream) != NGX_OK) {
        return NGX_ERROR;
    }

    us->peer.init = tg_peer_init;
    upstream->initialised = 1;

    return NGX_OK;
}

static void
tg_declare_failed(tg_upstream_t *upstream, ngx_log_t *log, tidegate_status status)
{
    char text[240];
    size_t len = 0;

    (void) tidegate_last_error(text, sizeof(text), &len);
    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "tidegate: upstream \"%V\" could not be declared and is served round robin: %s: %*s",
                  &upstream->uscf->host, tidegate_strerror(status), ngx_min(len, sizeof(text)), text);
}

static tidegate_status
tg_declare_one(tg_upstream_t *upstream, tidegate_table *table)
{
    ngx_str_t *name = &upstream->uscf->host;
    tidegate_status status;

    status = tidegate_upstream_open(table, (char *) name->data, name->len, &upstream->options, &upstream->id);

    if (status == TIDEGATE_OK) {
        status = tidegate_upstream_set_peers(table, upstream->id, upstream->peers, upstream->npeers, tg_now(), NULL);
    }


    return status;
}

// Without `tidegate_shadow` takes off what a former configuration set.
static tidegate_status
tg_declare_shadow(tg_upstream_t *upstream, tidegate_table *table)
{
    return tidegate_upstream_set_shadow(table, upstream->id, upstream->shadowed ? &upstream->shadow : NULL, tg_now());
}

void
tg_declare(tg_main_t *main, ngx_log_t *log)
{
    tg_upstream_t **upstreams = main->upstreams.elts;

    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        tidegate_status status = tg_declare_one(upstreams[i], main->table);

        if (status == TIDEGATE_OK) {
            upstreams[i]->declared = 1;
            status = tg_declare_shadow(upstreams[i], main->table);
            if (status != TIDEGATE_OK) {
                ngx_log_error(NGX_LOG_ERR, log, 0, "tidegate: upstream \"%V\" goes without its shadow: %s",
                              &upstreams[i]->uscf->host, tidegate_strerror(status));
            }
        } else {
            tg_declare_failed(upstreams[i], log, status);
        }
    }
}

// Declares everything to a table that is thrown away: whatever the library would refuse, `nginx -t` refuses.
ngx_int_t
tg_declare_try(ngx_conf_t *cf, tg_main_t *main)
{
    tg_upstream_t **upstreams = main->upstreams.elts;
    tidegate_table *table;
    char text[240];
    size_t len = 0;

    if (tidegate_table_new(&main->capacity, tg_now(), &table) != TIDEGATE_OK) {
        (void) tidegate_last_error(text, sizeof(text), &len);
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"tidegate_table\" can't be made: %*s", ngx_min(len, sizeof(text)),
                      text);
        return NGX_ERROR;
    }

    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        ngx_http_upstream_srv_conf_t *us = upstreams[i]->uscf;

        if (tg_declare_one(upstreams[i], table) != TIDEGATE_OK || tg_declare_shadow(upstreams[i], table) != TIDEGATE_OK) {
            (void) tidegate_last_error(text, sizeof(text), &len);
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"tidegate\" of upstream \"%V\" in %s:%ui: %*s", &us->host,
                          us->file_name, us->line, ngx_min(len, sizeof(text)), text);
            tidegate_table_free(table);
            return NGX_ERROR;
        }
    }

    if (tg_check_try(main, table) != TIDEGATE_OK) {
        (void) tidegate_last_error(text, sizeof(text), &len);
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"tidegate_check\" of an upstream in %V: %*s", &cf->cycle->conf_file,
                      ngx_min(len, sizeof(text)), text);
        tidegate_table_free(table);
        return NGX_ERROR;
    }

    tidegate_table_free(table);

    return NGX_OK;
}

// The picked peer's address, or NULL. An attempt is open, so the peer keeps its slot until that is reported.
tg_address_t *
tg_address(tg_main_t *main, const tidegate_pick *pick)
{
    tg_address_t *address;
    size_t socklen;

    if (pick->slot >= main->capacity.max_peers) {
        return NULL;
    }

    address = main->addresses[pick->slot];

    if (address != NULL && address->peer == pick->peer) {
        return address;
    }

    if (address == NULL) {
        address = ngx_calloc(sizeof(tg_address_t), ngx_cycle->log);
        if (address == NULL) {
            return NULL;
        }
        main->addresses[pick->slot] = address;
    }

#if (NGX_HTTP_SSL)
    // The session belonged to the slot's former peer.
    if (address->session != NULL) {
        ngx_ssl_free_session(address->session);
        address->session = NULL;
    }
#endif

    address->peer = 0;
    ngx_memzero(address->sockaddr, sizeof(address->sockaddr));

    if (tidegate_peer_address(main->table, pick->peer, address->sockaddr, sizeof(address->sockaddr), &socklen)
            != TIDEGATE_OK
        || tidegate_peer_name(main->table, pick->peer, (char *) address->name, sizeof(address->name),
                              &address->name_len)
            != TIDEGATE_OK)
    {
        return NULL;
    }

    address->socklen = (socklen_t) socklen;
    address->peer = pick->peer;

    return address;
}
