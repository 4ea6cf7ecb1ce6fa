// The status page: the table's state, for people and for monitoring. JSON, or columns if the query is `text`.
//
// Any worker shows all workers' state: the table is shared. The page is made at once and costs a pass over the peers,
// so its path is not for the public.
#include "proxy.h"

#include <string.h>

bool status_answer(struct client *c) {
    const char *path = c->worker->options->status_path;
    const struct request *r = &c->request;
    size_t len = path ? strlen(path) : 0;
    if (!path || r->target.len < len || memcmp(request_text(r, r->target), path, len) != 0) return false;
    bool text = r->target.len == len + 5 && memcmp(request_text(r, r->target) + len, "?text", 5) == 0;
    if (r->target.len != len && !text) return false;

    uint32_t format = text ? TIDEGATE_STATUS_FORMAT_TEXT : TIDEGATE_STATUS_FORMAT_JSON;
    struct buffer page = {0};
    size_t needed = 16 * 1024;
    tidegate_status status = TIDEGATE_ERR_BUFFER;
    // The table may grow between two calls: room for twice as much, and a few tries.
    for (int i = 0; i < 4 && status == TIDEGATE_ERR_BUFFER; i++) {
        char *to = buffer_reserve(&page, needed * 2);
        if (!to) break;
        status = tidegate_table_write_status(c->worker->table, format, c->worker->loop.now, to, needed * 2, &needed);
    }
    if (status == TIDEGATE_OK) {
        page.end += needed;
        c->status = 200;
        if (!c->body_done) c->keep_alive = false;
        buffer_print(&c->out, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n%s\r\n",
                     text ? "text/plain; charset=utf-8" : "application/json", buffer_len(&page),
                     !c->keep_alive ? "Connection: close\r\n" : r->minor == 0 ? "Connection: keep-alive\r\n" : "");
        if (c->method != TIDEGATE_METHOD_HEAD) buffer_append(&c->out, buffer_bytes(&page), buffer_len(&page));
        c->state = CLIENT_FLUSH;
    } else {
        client_fail(c);
    }
    buffer_free(&page);
    return true;
}
