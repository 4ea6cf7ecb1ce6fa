// Variables: what Tidegate saw and did for a request, for log_format and headers. They are formatted when asked for.

#include "tidegate_module.h"

typedef enum { CAUSE, ORIGIN, ATTEMPTS, PEER, DECISION, TOLERATED } tg_variable_t;

static ngx_int_t
tg_variable_set(ngx_http_variable_value_t *v, const void *data, size_t len)
{
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = (u_char *) data;
    v->len = (unsigned) len;

    return NGX_OK;
}

static const char *
tg_origin(const tg_request_t *p)
{
    // A stored response took the place of whatever happened.
    if (p->r->cached) {
        return "";
    }

    return p->delivered ? "upstream" : p->answered || p->decision.verdict == TIDEGATE_DECISION_ANSWER ? "gateway" : "";
}

static ngx_int_t
tg_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t which)
{
    tg_request_t *p = tg_request(r);
    const char *text = NULL;
    size_t len;
    u_char *buf;

    if (p == NULL || p->main->worker == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    switch ((tg_variable_t) which) {

    case CAUSE:
        text = p->decision.cause == TIDEGATE_CAUSE_NONE ? "-" : tidegate_cause_name(p->decision.cause);
        break;

    case ORIGIN:
        text = tg_origin(p);
        break;

    case ATTEMPTS:
        buf = ngx_pnalloc(r->pool, NGX_INT32_LEN);
        return buf == NULL ? NGX_ERROR : tg_variable_set(v, buf, ngx_sprintf(buf, "%uD", p->attempts) - buf);

    case PEER:
        if (p->peer_name != NULL) {
            return tg_variable_set(v, p->peer_name->data, p->peer_name->len);
        }
        text = "-";
        break;

    case TOLERATED:
        text = p->tolerated == TIDEGATE_REASON_NONE ? "-" : tidegate_reason_name(p->tolerated);
        break;

    case DECISION:
        buf = ngx_pnalloc(r->pool, 1024);
        if (buf == NULL) {
            return NGX_ERROR;
        }
        if (tidegate_request_describe(&p->request, (char *) buf, 1024, &len) == TIDEGATE_OK) {
            return tg_variable_set(v, buf, len);
        }
        text = "-";
        break;
    }

    return tg_variable_set(v, text, ngx_strlen(text));
}

ngx_int_t
tg_variables(ngx_conf_t *cf)
{
    static ngx_str_t names[] = {
        [CAUSE] = ngx_string("tidegate_cause"),       [ORIGIN] = ngx_string("tidegate_origin"),
        [ATTEMPTS] = ngx_string("tidegate_attempts"), [PEER] = ngx_string("tidegate_peer"),
        [DECISION] = ngx_string("tidegate_decision"), [TOLERATED] = ngx_string("tidegate_tolerated"),
    };

    for (ngx_uint_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ngx_http_variable_t *variable = ngx_http_add_variable(cf, &names[i], NGX_HTTP_VAR_NOCACHEABLE);

        if (variable == NULL) {
            return NGX_ERROR;
        }

        variable->get_handler = tg_variable;
        variable->data = i;
    }

    return NGX_OK;
}
