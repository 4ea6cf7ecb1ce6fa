// tidegate_status: the whole table as JSON or as text, from whichever worker is asked.

#include "tidegate_module.h"

#define FIRST_CAPACITY 16384
#define TRIES 4

static ngx_int_t tg_status_handler(ngx_http_request_t *r);

char *
tg_directive_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t *location = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_str_t *args = cf->args->elts;

    if (cf->args->nelts == 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"tidegate_status\": no parameter is allowed (the request chooses "
                           "by \"?format=json\" or \"?format=text\")", &args[1]);
        return NGX_CONF_ERROR;
    }

    location->handler = tg_status_handler;

    return NGX_CONF_OK;
}

// 0: neither.
static uint32_t
tg_status_format(ngx_http_request_t *r)
{
    ngx_str_t value;

    if (ngx_http_arg(r, (u_char *) "format", 6, &value) != NGX_OK) {
        return TIDEGATE_STATUS_FORMAT_JSON;
    }

    if (value.len == 4 && ngx_strncmp(value.data, "json", 4) == 0) {
        return TIDEGATE_STATUS_FORMAT_JSON;
    }

    return value.len == 4 && ngx_strncmp(value.data, "text", 4) == 0 ? TIDEGATE_STATUS_FORMAT_TEXT : 0;
}

// The table may grow between two calls, hence more than two tries.
static tidegate_status
tg_status_write(ngx_http_request_t *r, const tidegate_table *table, uint32_t format, ngx_buf_t *b)
{
    tidegate_status status = TIDEGATE_ERR_BUFFER;
    size_t cap = FIRST_CAPACITY, needed = 0;

    for (ngx_uint_t i = 0; i < TRIES && status == TIDEGATE_ERR_BUFFER; i++) {
        b->start = ngx_palloc(r->pool, cap);
        if (b->start == NULL) {
            return TIDEGATE_ERR_MEMORY;
        }

        status = tidegate_table_write_status(table, format, tg_now(), (char *) b->start, cap, &needed);
        b->pos = b->start;
        b->last = b->start + needed;
        cap = needed + needed / 4;
    }

    return status;
}

static ngx_int_t
tg_status_handler(ngx_http_request_t *r)
{
    tg_main_t *main = ngx_http_get_module_main_conf(r, ngx_http_tidegate_module);
    uint32_t format = tg_status_format(r);
    tidegate_status status;
    ngx_chain_t out;
    ngx_buf_t *b;
    ngx_int_t rc;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    if (format == 0) {
        return NGX_HTTP_BAD_REQUEST;
    }

    if (main->table == NULL) {
        return NGX_HTTP_NOT_FOUND;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    status = tg_status_write(r, main->table, format, b);
    if (status != TIDEGATE_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "tidegate: the status can't be written: %s",
                      tidegate_strerror(status));
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (format == TIDEGATE_STATUS_FORMAT_JSON) {
        ngx_str_set(&r->headers_out.content_type, "application/json");
    } else {
        ngx_str_set(&r->headers_out.content_type, "text/plain");
    }

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->memory = b->last != b->pos;
    b->last_buf = r == r->main;
    b->last_in_chain = 1;
    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
