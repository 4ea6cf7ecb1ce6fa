// Heads are never passed on as they came: each is written anew from its fields, without those that concern one
// connection only (RFC 9110 section 7.6.1), with the framing that this proxy decided.
#include "proxy.h"

#include <stdlib.h>
#include <string.h>

// Fields of one connection, and those that this proxy writes itself.
static const char *const dropped_always[] = {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding",
                                             "trailer", "upgrade", "content-length", NULL};
static const char *const dropped_from_requests[] = {"host", "expect", "x-forwarded-for", NULL};

static bool in(const char *const *names, const char *name, size_t len) {
    for (; *names; names++) {
        if (name_is(name, len, *names)) return true;
    }
    return false;
}

static bool same_name(const char *a, size_t a_len, const char *b, size_t b_len) {
    if (a_len != b_len) return false;
    for (size_t i = 0; i < a_len; i++) {
        char x = a[i], y = b[i];
        if (x >= 'A' && x <= 'Z') x = (char)(x + 32);
        if (y >= 'A' && y <= 'Z') y = (char)(y + 32);
        if (x != y) return false;
    }
    return true;
}

// Whether a Connection field names other fields. Few do, and only then is each field compared with the list.
static bool names_fields(const char *list, size_t list_len) {
    const char *item;
    size_t len;
    while (list_next(&list, &list_len, &item, &len)) {
        if (!name_is(item, len, "close") && !name_is(item, len, "keep-alive")) return true;
    }
    return false;
}

static bool listed(const char *list, size_t list_len, const char *name, size_t len) {
    const char *item;
    size_t item_len;
    while (list_next(&list, &list_len, &item, &item_len)) {
        if (same_name(item, item_len, name, len)) return true;
    }
    return false;
}

static void put_field(struct buffer *out, const char *name, size_t name_len, const char *value, size_t value_len) {
    buffer_append(out, name, name_len);
    buffer_append(out, ": ", 2);
    char *to = buffer_reserve(out, value_len);
    buffer_append(out, value, value_len);
    // A folded line that was tolerated must not reach a reader who splits it.
    for (size_t i = 0; to && i < value_len; i++) {
        if (to[i] == '\r' || to[i] == '\n' || to[i] == 0) to[i] = ' ';
    }
    buffer_append(out, "\r\n", 2);
}

static bool is_connection(const struct request *r, const struct field *f) {
    return name_is(request_text(r, f->name), f->name.len, "connection");
}

static bool request_drops(const struct request *r, const char *name, size_t len, bool named) {
    if (in(dropped_always, name, len) || in(dropped_from_requests, name, len)) return true;
    for (size_t i = 0; named && i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        if (is_connection(r, f) && listed(request_text(r, f->value), f->value.len, name, len)) return true;
    }
    return false;
}

void rewrite_request(const struct client *c, struct buffer *out) {
    const struct request *r = &c->request;
    buffer_append(out, request_text(r, r->method), r->method.len);
    buffer_append(out, " ", 1);
    // "http://host" without a path: OPTIONS then means the server itself, anything else its root.
    const char *bare = c->method == TIDEGATE_METHOD_OPTIONS ? "*" : "/";
    buffer_append(out, r->target.len ? request_text(r, r->target) : bare, r->target.len ? r->target.len : 1);
    buffer_append(out, " HTTP/1.1\r\n", 11);
    put_field(out, "Host", 4, request_text(r, r->host), r->host.len);
    bool named = false;
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        named = named || (is_connection(r, f) && names_fields(request_text(r, f->value), f->value.len));
    }
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        const char *name = request_text(r, f->name);
        if (!request_drops(r, name, f->name.len, named)) {
            put_field(out, name, f->name.len, request_text(r, f->value), f->value.len);
        }
    }
    buffer_append(out, "X-Forwarded-For: ", 17);
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        if (!name_is(request_text(r, f->name), f->name.len, "x-forwarded-for") || !f->value.len) continue;
        buffer_append(out, request_text(r, f->value), f->value.len);
        buffer_append(out, ", ", 2);
    }
    buffer_print(out, "%s\r\nVia: 1.%u %s\r\n", c->address, r->minor, c->worker->options->label);
    if (c->streaming && r->chunked) {
        buffer_print(out, "Transfer-Encoding: chunked\r\n");
    } else if (r->chunked || r->has_length) {
        // A chunked body that was kept has a length by now.
        unsigned long long length = r->chunked ? buffer_len(&c->body) : r->length;
        buffer_print(out, "Content-Length: %llu\r\n", length);
    }
    if (c->worker->options->no_keepalive) buffer_print(out, "Connection: close\r\n");
    buffer_append(out, "\r\n", 2);
}

static bool next_field(const struct buffer *head, size_t *cursor, tidegate_field *field) {
    *field = (tidegate_field)TIDEGATE_FIELD_INIT;
    return tidegate_head_next_field(buffer_bytes(head), buffer_len(head), cursor, field) == TIDEGATE_OK;
}

static bool response_drops(const struct buffer *head, const char *name, size_t len, bool named) {
    if (in(dropped_always, name, len)) return true;
    tidegate_field f;
    for (size_t cursor = 0; named && next_field(head, &cursor, &f);) {
        if (name_is(f.name, f.name_len, "connection") && listed(f.value, f.value_len, name, len)) return true;
    }
    return false;
}

void rewrite_response(const struct client *c, const tidegate_verdict *v, struct buffer *out) {
    const struct buffer *head = &c->attempt.head;
    const char *line = buffer_bytes(head);
    size_t len = 0, total = buffer_len(head);
    while (len < total && line[len] != '\r' && line[len] != '\n') len++;
    // "HTTP/1.1 200 OK": the reason stands behind the 13th byte, and may be missing.
    buffer_print(out, "HTTP/1.1 %u ", v->status);
    if (len > 13) buffer_append(out, line + 13, len - 13);
    buffer_append(out, "\r\n", 2);

    bool wants_length = v->framing == TIDEGATE_FRAMING_NONE && v->status != 204;
    bool named = false;
    tidegate_field f;
    for (size_t cursor = 0; next_field(head, &cursor, &f);) {
        named = named || (name_is(f.name, f.name_len, "connection") && names_fields(f.value, f.value_len));
    }
    for (size_t cursor = 0; next_field(head, &cursor, &f);) {
        if (wants_length && name_is(f.name, f.name_len, "content-length")) {
            // Of a body that does not come: an answer to HEAD, or 304.
            put_field(out, f.name, f.name_len, f.value, f.value_len);
            wants_length = false;
        } else if (!response_drops(head, f.name, f.name_len, named)) {
            put_field(out, f.name, f.name_len, f.value, f.value_len);
        }
    }
    if (v->framing == TIDEGATE_FRAMING_LENGTH) {
        buffer_print(out, "Content-Length: %llu\r\n", (unsigned long long)v->content_length);
    }
    if (c->chunk) buffer_print(out, "Transfer-Encoding: chunked\r\n");
    if (!c->keep_alive) {
        buffer_print(out, "Connection: close\r\n");
    } else if (c->request.minor == 0) {
        buffer_print(out, "Connection: keep-alive\r\n");
    }
    buffer_append(out, "\r\n", 2);
}

const char *rewrite_field(const struct buffer *head, const char *name, size_t *len) {
    tidegate_field f;
    *len = 0;
    for (size_t cursor = 0; next_field(head, &cursor, &f);) {
        if (!name_is(f.name, f.name_len, name)) continue;
        *len = f.value_len;
        return f.value;
    }
    return NULL;
}

uint32_t rewrite_retry_after(const struct buffer *head) {
    size_t len;
    const char *value = rewrite_field(head, "retry-after", &len);
    uint32_t seconds = 0;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9' || seconds > 1000000) return 0;
        seconds = seconds * 10 + (uint32_t)(value[i] - '0');
    }
    return seconds;
}
