// The gateway's own answers: Tidegate's bytes in place of nginx's built-in page.
//
// A header filter replaces status and headers, a body filter the page. They act only while the request's context
// stands, so any error_page of the operator's, which redirects and thereby clears it, wins. An upstream's own 5xx
// is replaced only where the operator says so (replace.c). Subrequests are left alone.

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

ngx_int_t
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

// What tidegate_request_id says, else nginx's own id of the request.
static void
tg_answer_request_id(tg_request_t *p, const tg_location_t *location)
{
    ngx_str_t id = ngx_null_string;

    if (location->request_id != NULL) {
        if (ngx_http_complex_value(p->r, location->request_id, &id) != NGX_OK) {
            return;
        }

    } else {
        ngx_http_variable_value_t *v = ngx_http_get_indexed_variable(p->r, (ngx_uint_t) p->main->request_id);

        if (v != NULL && !v->not_found) {
            id.data = v->data;
            id.len = v->len;
        }
    }

    p->answer.request_id = (char *) id.data;
    p->answer.request_id_len = ngx_min(id.len, 255);
}

static tidegate_status
tg_answer_write(tg_request_t *p, tg_location_t *location, char *buf, tidegate_answer_parts *parts)
{
    ngx_http_request_t *r = p->r;
    tidegate_answer *answer = &p->answer;
    const ngx_str_t *upstream = location->upstream_label.len != 0 ? &location->upstream_label : &p->upstream->label;

    answer->format = (uint32_t) location->format;
    answer->flags = r->method == NGX_HTTP_HEAD ? TIDEGATE_ANSWER_HEAD : 0;
    answer->label = (char *) location->label.data;
    answer->label_len = location->label.len;
    answer->upstream = (char *) upstream->data;
    answer->upstream_len = upstream->len;
    answer->type_base = (char *) location->type_base.data;
    answer->type_base_len = location->type_base.len;
    answer->html_template = location->templates[TG_HTML];
    answer->json_template = location->templates[TG_JSON];
    answer->text_template = location->templates[TG_TEXT];
    tg_answer_request_id(p, location);

    if (r->headers_in.content_type != NULL) {
        answer->content_type = (char *) r->headers_in.content_type->value.data;
        answer->content_type_len = r->headers_in.content_type->value.len;
    }

#if (NGX_HTTP_HEADERS)
    if (r->headers_in.accept != NULL) {
        answer->accept = (char *) r->headers_in.accept->value.data;
        answer->accept_len = r->headers_in.accept->value.len;
    }
#endif

    return tidegate_answer_write_parts(answer, buf, location->answer_max, parts);
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

// The parts' place in nginx's own fields.
static void
tg_answer_head(ngx_http_request_t *r, const tidegate_answer_parts *parts)
{
    ngx_str_t *type = &r->headers_out.content_type;
    u_char *semicolon;

    type->data = (u_char *) parts->content_type;
    type->len = parts->content_type_len;
    // Up to the parameters, as gzip_types and charset compare it; nginx adds no charset of its own behind them.
    semicolon = ngx_strlchr(type->data, type->data + type->len, ';');
    r->headers_out.content_type_len = semicolon != NULL ? (size_t) (semicolon - type->data) : type->len;
    r->headers_out.content_type_lowcase = NULL;

    r->headers_out.status = parts->status;
    r->headers_out.status_line.len = 0;
    r->headers_out.content_length_n = (off_t) parts->body_len;

    if (parts->grpc_status != 0) {
        // Trailers-only: over HTTP/2 the head ends the stream, over HTTP/1.1 its length is 0.
        r->header_only = 1;
        r->headers_out.content_length_n = r->http_version >= NGX_HTTP_VERSION_20 ? -1 : 0;
    }
}

static ngx_int_t
tg_answer_grpc(ngx_http_request_t *r, const tidegate_answer_parts *parts, u_char *digits)
{
    u_char *end = ngx_sprintf(digits, "%uD", parts->grpc_status);

    if (FIELD(r, "grpc-status", digits, end - digits) != NGX_OK) {
        return NGX_ERROR;
    }

    return FIELD(r, "grpc-message", parts->grpc_message, parts->grpc_message_len);
}

static ngx_int_t
tg_answer_header_filter(ngx_http_request_t *r)
{
    tg_request_t *p = ngx_http_get_module_ctx(r, ngx_http_tidegate_module);
    tg_location_t *location = ngx_http_get_module_loc_conf(r, ngx_http_tidegate_module);
    tidegate_answer_parts parts = TIDEGATE_ANSWER_PARTS_INIT;
    u_char *buf, *digits;

    if (location->format == TG_ERRORS_OFF) {
        return tg_next_header_filter(r);
    }

    if (tg_replace_applies(r, p)) {
        if (!location->replace) {
            return tg_replace_append(r, p, location) == NGX_OK ? tg_next_header_filter(r) : NGX_ERROR;
        }

        if (tg_replace_prepare(r, p) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (!tg_answer_applies(r, p)) {
        return tg_next_header_filter(r);
    }

    // The digits of two fields go behind the answer.
    buf = ngx_pnalloc(r->pool, location->answer_max + 2 * NGX_INT32_LEN);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    digits = buf + location->answer_max;

    if (tg_answer_write(p, location, (char *) buf, &parts) != TIDEGATE_OK) {
        return tg_next_header_filter(r);
    }

    // Never NULL: it says that there is an answer of ours.
    p->body.data = buf;
    p->body.len = parts.body_len;

    if (parts.body_len != 0) {
        p->body.data = (u_char *) parts.body;
    }

    p->body_due = 1;
    tg_answer_head(r, &parts);

    if (parts.grpc_status != 0 && tg_answer_grpc(r, &parts, digits + NGX_INT32_LEN) != NGX_OK) {
        return NGX_ERROR;
    }

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
        u_char *end = ngx_sprintf(digits, "%uD", p->answer.retry_after_s);

        if (FIELD(r, "Retry-After", digits, end - digits) != NGX_OK) {
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

    // nginx's page, or the upstream's, counts as sent, also what lies in a file.
    for (ngx_chain_t *cl = in; cl != NULL; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
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
