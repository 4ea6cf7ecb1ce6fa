// The queue: requests that wait for a place on an upstream, in this worker, in the order in which they came.
//
// A waiting request is one in a pause (see pause.c) that lasts as long as it may wait. Only the first of an upstream
// asks for a place: after every attempt of this worker on it that ends, and every few milliseconds, for another worker
// may have freed one. How many may wait, and how long, is the library's word. Costs one of worker_connections while it
// lasts.

#include "tidegate_module.h"

static void tg_queue_look(ngx_event_t *ev);

static void
tg_queue_arm(tg_upstream_t *upstream, uint64_t again_ns)
{
    ngx_event_t *look = &upstream->queue_look;

    look->handler = tg_queue_look;
    look->data = upstream;
    look->log = ngx_cycle->log;
    // The requests' pauses hold up a graceful exit by themselves.
    look->cancelable = 1;

    if (!look->timer_set) {
        ngx_add_timer(look, ngx_max((ngx_msec_t) (again_ns / 1000000), 1));
    }
}

// From get(): the library told to wait.
ngx_int_t
tg_queue_enter(tg_request_t *p, ngx_peer_connection_t *pc)
{
    tg_upstream_t *upstream = p->upstream;
    uint64_t again_ns = 0, left_ns = 0;

    if (tidegate_request_queued(&p->request, tg_now(), &again_ns, &left_ns) != TIDEGATE_OK
        || tg_pause_start(p, pc, (ngx_msec_t) ((left_ns + 999999) / 1000000)) != NGX_OK)
    {
        tidegate_request_end(&p->request, tg_now());
        return NGX_ERROR;
    }

    p->queued = 1;
    ngx_queue_insert_tail(&upstream->queue, &p->place);
    tg_queue_arm(upstream, again_ns);

    return NGX_AGAIN;
}

void
tg_queue_leave(tg_request_t *p)
{
    if (p->queued) {
        p->queued = 0;
        ngx_queue_remove(&p->place);
    }
}

// An attempt has ended: its place may be taken. Not here and now: nginx is in the middle of something.
void
tg_queue_wake(tg_upstream_t *upstream)
{
    if (!ngx_queue_empty(&upstream->queue)) {
        ngx_post_event(&upstream->queue_look, &ngx_posted_events);
    }
}

static void
tg_queue_look(ngx_event_t *ev)
{
    tg_upstream_t *upstream = ev->data;
    uint64_t again_ns = 0, left_ns = 0;

    while (!ngx_queue_empty(&upstream->queue)) {
        tg_request_t *p = ngx_queue_data(ngx_queue_head(&upstream->queue), tg_request_t, place);

        if (p->main->worker == NULL) {
            return;
        }

        p->picked_ns = tg_now();
        p->picked = tidegate_request_pick(&p->request, p->picked_ns, &p->pick);

        if (p->picked == TIDEGATE_ERR_QUEUED) {
            (void) tidegate_request_queued(&p->request, p->picked_ns, &again_ns, &left_ns);
            tg_queue_arm(upstream, again_ns);
            return;
        }

        // get() follows before this returns.
        p->prepicked = 1;
        tg_queue_leave(p);
        tg_pause_resume(p);
    }
}
