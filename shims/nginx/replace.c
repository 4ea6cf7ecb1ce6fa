// An upstream's own error on its way to the client: passed with our member behind its Proxy-Status, or, where
// tidegate_replace_upstream_errors says so, replaced by an answer of ours.
//
// Replacing changes what the client gets and nothing else: nginx reads the upstream's body to its end, stores it if
// proxy_cache says so and keeps the connection; answer.c's body filter takes the bytes and puts ours in their place.
// What described that body goes: its coding, validators, ranges and caching.

#include "tidegate_module.h"

// What the library makes answers for.
static ngx_uint_t
tg_is_answer_status(ngx_uint_t status)
{
    return status == NGX_HTTP_INTERNAL_SERVER_ERROR || status == NGX_HTTP_BAD_GATEWAY
           || status == NGX_HTTP_SERVICE_UNAVAILABLE || status == NGX_HTTP_GATEWAY_TIME_OUT;
}

// Whether this is an upstream's response with an error of its own.
ngx_uint_t
tg_replace_applies(ngx_http_request_t *r, tg_request_t *p)
{
    return p != NULL && r == r->main && p->delivered && !r->cached && p->body.data == NULL
           && tg_is_answer_status(r->headers_out.status);
}

static ngx_uint_t
tg_is_field(const ngx_table_elt_t *field, const char *name, size_t len)
{
    return field->hash != 0 && field->key.len == len && ngx_strncasecmp(field->key.data, (u_char *) name, len) == 0;
}

// The value of Proxy-Status, its lines joined; they are taken out. An empty one: there is none.
static ngx_int_t
tg_take_proxy_status(ngx_http_request_t *r, ngx_str_t *value)
{
    ngx_str_null(value);

    for (ngx_list_part_t *part = &r->headers_out.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *fields = part->elts;

        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (!tg_is_field(&fields[i], "Proxy-Status", 12)) {
                continue;
            }

            if (value->len == 0) {
                *value = fields[i].value;

            } else {
                u_char *joined = ngx_pnalloc(r->pool, value->len + 2 + fields[i].value.len);

                if (joined == NULL) {
                    return NGX_ERROR;
                }

                value->len = ngx_sprintf(joined, "%V, %V", value, &fields[i].value) - joined;
                value->data = joined;
            }

            fields[i].hash = 0;
        }
    }

    return NGX_OK;
}

// An answer that says what the upstream said.
static ngx_int_t
tg_replace_init(ngx_http_request_t *r, tg_request_t *p)
{
    ngx_str_t earlier;

    (void) tidegate_answer_init(&p->answer, sizeof(p->answer));

    if (tg_take_proxy_status(r, &earlier) != NGX_OK) {
        return NGX_ERROR;
    }

    p->answer.status = (uint32_t) r->headers_out.status;
    p->answer.received_status = p->answer.status;
    p->answer.cause = TIDEGATE_CAUSE_UPSTREAM_STATUS;
    p->answer.earlier_proxy_status = (char *) earlier.data;
    p->answer.earlier_proxy_status_len = earlier.len;

    return NGX_OK;
}

// What no longer holds of the body, or of the caching that the upstream had in mind for it. Retry-After stays.
static void
tg_replace_clear(ngx_http_request_t *r)
{
    static const ngx_str_t gone[] = {
        ngx_string("Content-Encoding"), ngx_string("Content-Language"), ngx_string("Content-Location"),
        ngx_string("Content-Disposition"), ngx_string("Content-MD5"), ngx_string("Content-Digest"),
        ngx_string("Repr-Digest"), ngx_string("Digest"), ngx_string("ETag"), ngx_string("Last-Modified"),
        ngx_string("Accept-Ranges"), ngx_string("Cache-Control"), ngx_string("Expires"), ngx_string("Trailer"),
        ngx_null_string,
    };

    for (ngx_list_part_t *part = &r->headers_out.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *fields = part->elts;

        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            for (const ngx_str_t *name = gone; name->len != 0; name++) {
                if (tg_is_field(&fields[i], (char *) name->data, name->len)) {
                    fields[i].hash = 0;
                    break;
                }
            }
        }
    }

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);
    r->headers_out.content_encoding = NULL;
    r->headers_out.expires = NULL;
    r->headers_out.charset.len = 0;
    r->headers_out.override_charset = NULL;
    r->expect_trailers = 0;
}

// Makes `p->answer` the one that takes the response's place.
ngx_int_t
tg_replace_prepare(ngx_http_request_t *r, tg_request_t *p)
{
    if (tg_replace_init(r, p) != NGX_OK) {
        return NGX_ERROR;
    }

    tg_replace_clear(r);

    return NGX_OK;
}

// The response passes: our member goes behind its Proxy-Status, if it has one.
ngx_int_t
tg_replace_append(ngx_http_request_t *r, tg_request_t *p, const tg_location_t *location)
{
    size_t len;
    u_char *buf;

    if (tg_replace_init(r, p) != NGX_OK) {
        return NGX_ERROR;
    }

    if (p->answer.earlier_proxy_status_len == 0) {
        return NGX_OK;
    }

    p->answer.label = (char *) location->label.data;
    p->answer.label_len = location->label.len;

    buf = ngx_pnalloc(r->pool, TIDEGATE_ANSWER_MAX);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    if (tidegate_answer_write_proxy_status(&p->answer, (char *) buf, TIDEGATE_ANSWER_MAX, &len) != TIDEGATE_OK) {
        return NGX_OK;
    }

    return tg_answer_field(r, "Proxy-Status", sizeof("Proxy-Status") - 1, buf, len);
}
