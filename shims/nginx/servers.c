// tidegate_server: what a `server` line has no parameter for. nginx parses those lines itself and refuses words that it
// does not know, so these stand on a line of their own and name the server as its line does.

#include "tidegate_module.h"

char *
tg_directive_server(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tg_upstream_t *upstream = conf;
    ngx_str_t *args = cf->args->elts;
    tg_server_t *server;

    if (upstream->uscf == NULL) {
        return "must come behind \"tidegate\"";
    }

    if (upstream->servers.elts == NULL
        && ngx_array_init(&upstream->servers, cf->pool, 4, sizeof(tg_server_t)) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    server = upstream->servers.elts;

    for (ngx_uint_t i = 0; i < upstream->servers.nelts; i++) {
        if (server[i].server.len == args[1].len && ngx_strncmp(server[i].server.data, args[1].data, args[1].len) == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"tidegate_server\" of \"%V\" is duplicate", &args[1]);
            return NGX_CONF_ERROR;
        }
    }

    server = ngx_array_push(&upstream->servers);
    if (server == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(server, sizeof(*server));
    server->server = args[1];
    server->file_name = cf->conf_file->file.name.data;
    server->line = cf->conf_file->line;

    return tg_parse_server(cf, &server->peer, &server->name);
}

// What was said of the peer's server, if anything.
void
tg_server_apply(tg_upstream_t *upstream, const ngx_str_t *server, tidegate_peer *peer)
{
    tg_server_t *servers = upstream->servers.elts;

    for (ngx_uint_t i = 0; i < upstream->servers.nelts; i++) {
        if (servers[i].server.len != server->len
            || ngx_strncmp(servers[i].server.data, server->data, server->len) != 0)
        {
            continue;
        }

        servers[i].used = 1;
        peer->zone = servers[i].peer.zone;
        peer->name = (char *) servers[i].name.data;
        peer->name_len = servers[i].name.len;

        // `down` of the server line wins.
        if (peer->admin == TIDEGATE_ADMIN_ENABLED) {
            peer->admin = servers[i].peer.admin;
        }
    }
}

// Whatever names no server would have no effect.
ngx_int_t
tg_server_unused(ngx_conf_t *cf, const tg_upstream_t *upstream)
{
    const tg_server_t *servers = upstream->servers.elts;

    for (ngx_uint_t i = 0; i < upstream->servers.nelts; i++) {
        if (!servers[i].used) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"tidegate_server\" in %s:%ui: no \"server\" of upstream \"%V\" is written \"%V\"",
                          servers[i].file_name, servers[i].line, &upstream->uscf->host, &servers[i].server);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
