// The table: where it lives, and how a worker comes and goes.
//
// It lives in one nginx shared memory zone, made in the master before any fork. A reload with the same capacities
// hands the zone on, so that health and requests in flight carry over; with other capacities, and after a binary
// upgrade, the table starts empty. With `path` it lives in that file, which the master opens, and outlives nginx; the
// zone, of the least size, then only gives the occasion: a zone that can't be initialised refuses the configuration.

#include "tidegate_module.h"

#define TICK_MS 1000

static ngx_int_t tg_zone_init(ngx_shm_zone_t *zone, void *former);
static void tg_table_cleanup(void *data);
static void tg_tick(ngx_event_t *ev);

ngx_int_t
tg_table_zone(ngx_conf_t *cf, tg_main_t *main)
{
    ngx_str_t name = ngx_string("tidegate"), anchor = ngx_string("tidegate_file");
    tg_upstream_t **upstreams = main->upstreams.elts;
    ngx_uint_t peers = 0;
    ngx_pool_cleanup_t *cleanup;
    size_t size;

    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        peers += upstreams[i]->npeers;
    }

    if (main->capacity.max_peers == 0) {
        main->capacity.max_peers = 1024;
    }

    if (main->capacity.max_upstreams == 0) {
        main->capacity.max_upstreams = 64;
    }

    if (peers > main->capacity.max_peers || main->upstreams.nelts > main->capacity.max_upstreams) {
        ngx_http_upstream_srv_conf_t *last = upstreams[main->upstreams.nelts - 1]->uscf;

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "%ui upstreams with %ui servers, up to \"%V\" in %s:%ui, do not fit into a table of %uD upstreams "
                      "and %uD peers: set \"tidegate_table upstreams=... peers=...;\"",
                      main->upstreams.nelts, peers, &last->host, last->file_name, last->line,
                      main->capacity.max_upstreams, main->capacity.max_peers);
        return NGX_ERROR;
    }

    if (tg_declare_try(cf, main) != NGX_OK || tidegate_table_size(&main->capacity, &size) != TIDEGATE_OK) {
        return NGX_ERROR;
    }

    // nginx's allocator takes a header and 32 bytes for each page; a fiftieth and 16 pages cover them.
    size = ngx_align(size + size / 50 + 16 * ngx_pagesize, ngx_pagesize);

    if (main->path.len != 0) {
        name = anchor;
        size = 8 * ngx_pagesize;
    }

    main->zone = ngx_shared_memory_add(cf, &name, size, &ngx_http_tidegate_module);
    cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    if (main->zone == NULL || cleanup == NULL) {
        return NGX_ERROR;
    }

    cleanup->handler = tg_table_cleanup;
    cleanup->data = main;
    main->zone->init = tg_zone_init;
    main->zone->data = main;

    return NGX_OK;
}

// Runs in the master for each configuration, and in `nginx -t` on a zone of its own. It changes nothing in a table
// that is in use.
static ngx_int_t
tg_zone_init(ngx_shm_zone_t *zone, void *former)
{
    tg_main_t *main = zone->data;
    ngx_slab_pool_t *pool = (ngx_slab_pool_t *) zone->shm.addr;
    tidegate_status status;
    char text[240];
    size_t size, len = 0;

    // `nginx -t` must not make a file, nor write to the one in use: its declarations were tried on a table of their own.
    if (main->path.len != 0 && ngx_test_config) {
        return NGX_OK;
    }

    status = tidegate_table_size(&main->capacity, &size);

    if (status == TIDEGATE_OK && main->path.len != 0) {
        status = tidegate_table_open((char *) main->path.data, main->path.len, &main->capacity, tg_now(), &main->table);

    } else if (status == TIDEGATE_OK && pool->data != NULL) {
        status = tidegate_table_attach_at(pool->data, size, &main->table);

    } else if (status == TIDEGATE_OK) {
        void *memory = ngx_slab_calloc(pool, size);

        if (memory == NULL) {
            return NGX_ERROR;
        }

        status = tidegate_table_new_at(memory, size, &main->capacity, tg_now(), &main->table);
        pool->data = memory;
    }

    if (status != TIDEGATE_OK) {
        (void) tidegate_last_error(text, sizeof(text), &len);
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0, "tidegate: the table can't be used: %s: %*s",
                      tidegate_strerror(status), ngx_min(len, sizeof(text)), text);
        return NGX_ERROR;
    }

    return NGX_OK;
}

static void
tg_table_cleanup(void *data)
{
    tg_main_t *main = data;

    tidegate_table_free(main->table);
    main->table = NULL;
}

ngx_int_t
tg_worker_start(ngx_cycle_t *cycle)
{
    tg_main_t *main = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tidegate_module);
    tidegate_status status;

    // The cache manager and loader come here too: they serve nothing.
    if (main == NULL || main->table == NULL || (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    main->addresses = ngx_pcalloc(cycle->pool, main->capacity.max_peers * sizeof(tg_address_t *));
    if (main->addresses == NULL || tg_pause_open(cycle->log) != NGX_OK) {
        return NGX_ERROR;
    }

    status = tidegate_worker_join(main->table, NULL, tg_now(), &main->worker);
    if (status != TIDEGATE_OK) {
        main->worker = NULL;
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0, "tidegate: this worker can't join and serves round robin: %s",
                      tidegate_strerror(status));
        return NGX_OK;
    }

    main->tick.handler = tg_tick;
    main->tick.data = main;
    main->tick.log = cycle->log;
    // It must not hold up a graceful exit.
    main->tick.cancelable = 1;
    ngx_add_timer(&main->tick, TICK_MS);

    return NGX_OK;
}

static void
tg_tick(ngx_event_t *ev)
{
    tg_main_t *main = ev->data;

    if (main->worker != NULL) {
        (void) tidegate_worker_tick(main->worker, tg_now());
        ngx_add_timer(ev, TICK_MS);
    }
}

void
tg_worker_stop(ngx_cycle_t *cycle)
{
    tg_main_t *main = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tidegate_module);

    if (main != NULL && main->worker != NULL) {
        tidegate_worker_leave(main->worker);
        main->worker = NULL;
    }
}
