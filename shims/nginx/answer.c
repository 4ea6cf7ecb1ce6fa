// The gateway's own answers: Tidegate's bytes in place of nginx's built-in page.
//
// A header filter replaces status and headers, a body filter the page. They act only while the request's context
// stands, so any error_page of the operator's, which redirects and thereby clears it, wins; and only if no response
// was accepted, so an upstream's own 5xx passes. Subrequests are left alone.

#include "tidegate_module.h"

static ngx_http_output_header_filter_pt tg_next_header_filter;
static ngx_http_output_body_filter_pt tg_next_body_filter;

// Asks what to tell the client, once for each request that fails. Leaves `answered` unset if the library can't say.
void
tg_answer_prepare(tg_request_t *p)
{
    if (p->answered) {
        return;
    }

    (void) tidegate_answer_init(&p->answer, sizeof(p->answer));

    if (tidegate_request_answer(&p->request, tg_now(), &p->answer) == TIDEGATE_OK) {
        p->answered = 1;
        p->decision.cause = p->answer.cause;
    }
}

static ngx_int_t
tg_answer_field(ngx_http_request_t *r, const char *name, size_t name_len, const u_char *value, size_t len)
{
    ngx_table_elt_t *h = ngx_list_push(&r->headers_out.headers);

    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = name_len;
    h->value.data = (u_char *) value;
    h->value.len = len;

    return NGX_OK;
}

#define FIELD(r, name, value, len) tg_answer_field(r, name, sizeof(name) - 1, (const u_char *) (value), len)

static tidegate_status
tg_answer_write(tg_request_t *p, tg_location_t *location, char *buf, size_t cap, tidegate_answer_parts *parts)
{
    ngx_http_request_t *r = p->r;
    tidegate_answer *answer = &p->answer;

    answer->format = (uint32_t) location->format;
    answer->flags = r->method == NGX_HTTP_HEAD ? TIDEGATE_ANSWER_HEAD : 0;
    answer->label = (char *) location->label.data;
    answer->label_len = location->label.len;
    answer->upstream = (char *) p->upstream->label.data;
    answer->upstream_len = p->upstream->label.len;

#if (NGX_HTTP_HEADERS)
    if (r->headers_in.accept != NULL) {
        answer->accept = (char *) r->headers_in.accept->value.data;
        answer->accept_len = r->headers_in.accept->value.len;
    }
#endif

    return tidegate_answer_write_parts(answer, buf, cap, parts);
}

// Whether this is the page for a failed attempt of ours: if so, `p->answer` is set.
static ngx_uint_t
tg_answer_applies(ngx_http_request_t *r, tg_request_t *p)
{
    if (p == NULL || r != r->main || p->delivered || p->broken || p->body.data != NULL
        || r->err_status < NGX_HTTP_INTERNAL_SERVER_ERROR || r->err_status > NGX_HTTP_GATEWAY_TIME_OUT)
    {
        return 0;
    }

    tg_answer_prepare(p);

    return p->answered;
}

static ngx_int_t
tg_answer_header_filter(ngx_http_request_t *r)
{
    tg_request_t *p = ngx_http_get_module_ctx(r, ngx_http_tidegate_module);
    tg_location_t *location = ngx_http_get_module_loc_conf(r, ngx_http_tidegate_module);
    tidegate_answer_parts parts = TIDEGATE_ANSWER_PARTS_INIT;
    u_char *buf, *semicolon;

    if (location->format == TG_ANSWER_OFF || !tg_answer_applies(r, p)) {
        return tg_next_header_filter(r);
    }

    // Retry-After goes behind the answer.
    buf = ngx_pnalloc(r->pool, TIDEGATE_ANSWER_MAX + NGX_INT32_LEN);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    if (tg_answer_write(p, location, (char *) buf, TIDEGATE_ANSWER_MAX, &parts) != TIDEGATE_OK) {
        return tg_next_header_filter(r);
    }

    p->body.data = (u_char *) parts.body;
    p->body.len = parts.body_len;
    p->body_due = 1;

    r->headers_out.status = p->answer.status;
    r->headers_out.status_line.len = 0;
    r->headers_out.content_length_n = (off_t) parts.body_len;
    r->headers_out.content_type.data = (u_char *) parts.content_type;
    r->headers_out.content_type.len = parts.content_type_len;
    // Up to the parameters, as gzip_types and charset compare it; nginx adds no charset of its own behind them.
    semicolon = ngx_strlchr(r->headers_out.content_type.data,
                            r->headers_out.content_type.data + parts.content_type_len, ';');
    r->headers_out.content_type_len = semicolon != NULL
                                          ? (size_t) (semicolon - r->headers_out.content_type.data)
                                          : parts.content_type_len;
    r->headers_out.content_type_lowcase = NULL;

    if (FIELD(r, "Cache-Control", "no-store", 8) != NGX_OK) {
        return NGX_ERROR;
    }

    if (location->format == TIDEGATE_FORMAT_AUTO && FIELD(r, "Vary", "Accept", 6) != NGX_OK) {
        return NGX_ERROR;
    }

    if (parts.proxy_status_len != 0
        && FIELD(r, "Proxy-Status", parts.proxy_status, parts.proxy_status_len) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (p->answer.retry_after_s != 0) {
        u_char *value = buf + TIDEGATE_ANSWER_MAX, *end = ngx_sprintf(value, "%uD", p->answer.retry_after_s);

        if (FIELD(r, "Retry-After", value, end - value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return tg_next_header_filter(r);
}

static ngx_int_t
tg_answer_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    tg_request_t *p = ngx_http_get_module_ctx(r, ngx_http_tidegate_module);
    ngx_chain_t out;
    ngx_buf_t *b;

    if (p == NULL || p->body.data == NULL || r->header_only) {
        return tg_next_body_filter(r, in);
    }

    // nginx's page counts as sent.
    for (ngx_chain_t *cl = in; cl != NULL; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
    }

    if (!p->body_due) {
        return tg_next_body_filter(r, NULL);
    }

    p->body_due = 0;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = p->body.data;
    b->last = p->body.data + p->body.len;
    b->memory = b->last != b->pos;
    b->last_buf = 1;
    b->last_in_chain = 1;
    out.buf = b;
    out.next = NULL;

    return tg_next_body_filter(r, &out);
}

ngx_int_t
tg_answer_filters(void)
{
    tg_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = tg_answer_header_filter;
    tg_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = tg_answer_body_filter;

    return NGX_OK;
}
