// The table: where it lives, and how a worker comes and goes.
//
// It lives in memory that the master makes before any fork, and hands on to the next configuration and to a new binary
// (see memory.c), so that health and requests in flight carry over; with other capacities it starts empty. With `path`
// it lives in that file, which the master opens, and outlives nginx. An nginx shared memory zone, of the least size,
// only gives the occasion: a zone that can't be initialised refuses the configuration, and knows the former one.

#include "tidegate_module.h"

#define TICK_MS 1000

static ngx_int_t tg_zone_init(ngx_shm_zone_t *zone, void *data);
static void tg_table_cleanup(void *data);
static void tg_tick(ngx_event_t *ev);

ngx_int_t
tg_table_zone(ngx_conf_t *cf, tg_main_t *main)
{
    ngx_str_t name = ngx_string("tidegate");
    tg_upstream_t **upstreams = main->upstreams.elts;
    ngx_uint_t peers = 0;
    ngx_pool_cleanup_t *cleanup;

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

    if (tg_declare_try(cf, main) != NGX_OK) {
        return NGX_ERROR;
    }

    main->zone = ngx_shared_memory_add(cf, &name, 8 * ngx_pagesize, &ngx_http_tidegate_module);
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

// The one sentence in which a table was refused.
static ngx_int_t
tg_table_refuse(ngx_log_t *log, tidegate_status status)
{
    char text[240];
    size_t len = 0;

    (void) tidegate_last_error(text, sizeof(text), &len);
    ngx_log_error(NGX_LOG_EMERG, log, 0, "tidegate: the table can't be used: %s: %*s", tidegate_strerror(status),
                  ngx_min(len, sizeof(text)), text);

    return NGX_ERROR;
}

// What `nginx -t` says of the file, which it neither makes nor writes to.
static ngx_int_t
tg_file_test(tg_main_t *main, ngx_log_t *log)
{
    tidegate_table_options strict = main->capacity;
    const char *path = (char *) main->path.data;
    tidegate_status status;
    char text[240];
    size_t len = 0;

    status = tidegate_table_check(path, main->path.len, &main->capacity, tg_now());
    if (status != TIDEGATE_OK) {
        return tg_table_refuse(log, status);
    }

    strict.on_mismatch = TIDEGATE_MISMATCH_REFUSE;

    if (tidegate_table_check(path, main->path.len, &strict, tg_now()) != TIDEGATE_OK) {
        (void) tidegate_last_error(text, sizeof(text), &len);
        ngx_log_error(NGX_LOG_WARN, log, 0, "tidegate: a fresh table will replace the one in the file: %*s",
                      ngx_min(len, sizeof(text)), text);
    }

    return NGX_OK;
}

static ngx_int_t
tg_file_open(tg_main_t *main, ngx_log_t *log)
{
    tidegate_status status;

    status = tidegate_table_open((char *) main->path.data, main->path.len, &main->capacity, tg_now(), &main->table);

    return status == TIDEGATE_OK ? NGX_OK : tg_table_refuse(log, status);
}

static ngx_int_t
tg_memory_open(tg_main_t *main, const tg_main_t *former, ngx_log_t *log)
{
    tidegate_status status;
    size_t size;

    status = tidegate_table_size(&main->capacity, &size);

    if (status == TIDEGATE_OK && tg_memory_keep(main, former, size, log) == NGX_OK) {
        status = tidegate_table_attach_at(main->memory, size, &main->table);
        if (status == TIDEGATE_OK) {
            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_WARN, log, 0, "tidegate: the former binary's table is of another layout: it starts empty");
        tg_memory_close(main);
        status = TIDEGATE_OK;
    }

    if (status == TIDEGATE_OK && tg_memory_new(main, size, log) != NGX_OK) {
        return NGX_ERROR;
    }

    if (status == TIDEGATE_OK) {
        status = tidegate_table_new_at(main->memory, size, &main->capacity, tg_now(), &main->table);
    }

    return status == TIDEGATE_OK ? NGX_OK : tg_table_refuse(log, status);
}

// Runs in the master for each configuration, and in `nginx -t`. It changes nothing in a table that is in use. `data` is
// that of the former configuration's zone, NULL at the start.
static ngx_int_t
tg_zone_init(ngx_shm_zone_t *zone, void *data)
{
    tg_main_t *main = zone->data, *former = data;
    ngx_log_t *log = zone->shm.log;

    if (ngx_test_config) {
        // Declarations were tried on a table of their own, of the same capacities.
        return main->path.len != 0 ? tg_file_test(main, log) : NGX_OK;
    }

    if (former != NULL
        && (former->path.len != main->path.len
            || ngx_memcmp(former->path.data, main->path.data, main->path.len) != 0))
    {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "tidegate: \"tidegate_table\" has another \"path\" than before: what the table of before knew "
                      "of its peers is not taken along");
    }

    return main->path.len != 0 ? tg_file_open(main, log) : tg_memory_open(main, former, log);
}

static void
tg_table_cleanup(void *data)
{
    tg_main_t *main = data;

    tidegate_table_free(main->table);
    main->table = NULL;
    tg_memory_close(main);
}

ngx_int_t
tg_worker_start(ngx_cycle_t *cycle)
{
    tg_main_t *main = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tidegate_module);
    tidegate_status status;

    // Only who may start a new binary needs it.
    if (main != NULL && ngx_process != NGX_PROCESS_SINGLE) {
        tg_memory_close_descriptor(main);
    }

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
