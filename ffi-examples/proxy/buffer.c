#include "buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 1024, KEPT = 128 * 1024 };

char *buffer_reserve(struct buffer *b, size_t n) {
    if (b->failed) return NULL;
    size_t len = buffer_len(b);
    if (b->cap - b->end >= n) return b->data + b->end;
    // Moving is cheaper than growing, but only where it pays for itself: the bytes moved are fewer than those taken.
    if (b->cap - len >= n && len <= b->start) {
        memmove(b->data, b->data + b->start, len);
    } else {
        size_t cap = b->cap ? b->cap : SMALLEST;
        while (cap - len < n) {
            if (cap > SIZE_MAX / 2) {
                b->failed = true;
                return NULL;
            }
            cap *= 2;
        }
        char *data = malloc(cap);
        if (!data) {
            b->failed = true;
            return NULL;
        }
        if (len) memcpy(data, b->data + b->start, len);
        free(b->data);
        b->data = data;
        b->cap = cap;
    }
    b->start = 0;
    b->end = len;
    return b->data + b->end;
}

void buffer_append(struct buffer *b, const void *bytes, size_t n) {
    if (!n) return;
    char *to = buffer_reserve(b, n);
    if (!to) return;
    memcpy(to, bytes, n);
    b->end += n;
}

void buffer_print(struct buffer *b, const char *format, ...) {
    for (size_t room = 256;;) {
        char *to = buffer_reserve(b, room);
        if (!to) return;
        va_list args;
        va_start(args, format);
        int n = vsnprintf(to, room, format, args);
        va_end(args);
        if (n < 0) {
            b->failed = true;
            return;
        }
        if ((size_t)n < room) {
            b->end += (size_t)n;
            return;
        }
        room = (size_t)n + 1;
    }
}

void buffer_consume(struct buffer *b, size_t n) {
    b->start += n;
    if (b->start == b->end) b->start = b->end = 0;
}

void buffer_truncate(struct buffer *b, size_t n) {
    if (buffer_len(b) > n) b->end = b->start + n;
}

void buffer_reset(struct buffer *b) {
    b->start = b->end = 0;
    if (b->cap > KEPT) buffer_free(b);
}

void buffer_free(struct buffer *b) {
    free(b->data);
    *b = (struct buffer){.failed = b->failed};
}
