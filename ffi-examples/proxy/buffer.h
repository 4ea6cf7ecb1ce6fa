// A growing queue of bytes: appended at the end, taken from the front.
//
// An allocation that fails sets `failed`, for good: the owner looks once, when it settles its connection, instead of
// after each append. Capacity is kept from request to request, up to a bound.
#ifndef PROXY_BUFFER_H
#define PROXY_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data;
    size_t start;  // first byte not yet taken
    size_t end;    // behind the last byte
    size_t cap;
    bool failed;
};

static inline size_t buffer_len(const struct buffer *b) { return b->end - b->start; }
// The bytes; valid until the next append.
static inline const char *buffer_bytes(const struct buffer *b) { return b->data ? b->data + b->start : ""; }

// Makes room for `n` more bytes and returns where they go, or NULL.
char *buffer_reserve(struct buffer *b, size_t n);
void buffer_append(struct buffer *b, const void *bytes, size_t n);
void buffer_print(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_consume(struct buffer *b, size_t n);
// Keeps the first `n` bytes.
void buffer_truncate(struct buffer *b, size_t n);
// Empties it and gives a large allocation back.
void buffer_reset(struct buffer *b);
void buffer_free(struct buffer *b);

#endif
