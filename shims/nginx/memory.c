// The memory of a table that has no file: a sealed memfd, which goes from configuration to configuration, and from
// binary to binary.
//
// nginx's shared memory ends with its master: a new binary (USR2) begins with zones of its own. A descriptor it can
// inherit as it inherits the listening sockets: the master keeps this one open across exec, and names it in the new
// binary's environment, by what `env` does. Each configuration has a descriptor and a mapping of its own, so that each
// can go without asking who else is there; workers keep only the mapping.
//
// What is inherited is judged before it is mapped: it must be sealed as it was here, so that nobody can cut it short,
// and be of the capacities that this configuration asks for. See memfd_create(2), F_ADD_SEALS in fcntl(2).

#include "tidegate_module.h"

#include <fcntl.h>
#include <sys/mman.h>

#define VARIABLE "TIDEGATE_TABLE"
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
// "VARIABLE=DESCRIPTOR:" and four capacities.
#define TEXT_MAX (sizeof(VARIABLE) + 6 * (NGX_INT32_LEN + 1))

// What one binary leaves to the next.
static void
tg_memory_text(u_char *text, int fd, const tidegate_table_options *capacity)
{
    (void) ngx_sprintf(text, VARIABLE "=%d:%uD,%uD,%uD,%uD%Z", fd, capacity->max_upstreams, capacity->max_peers,
                       capacity->max_workers, capacity->events);
}

// The descriptor that the former binary left, or -1. Asked only while nginx starts: later the environment still names
// it, but the former configuration has the table that counts.
static int
tg_memory_inherited(const tidegate_table_options *capacity, int *same)
{
    u_char text[TEXT_MAX];
    const char *value = getenv(VARIABLE), *colon;
    ngx_int_t fd;
    int seals;

    colon = value != NULL ? strchr(value, ':') : NULL;
    if (!ngx_inherited || !ngx_is_init_cycle(ngx_cycle) || colon == NULL) {
        return -1;
    }

    fd = ngx_atoi((u_char *) value, colon - value);
    seals = fd == NGX_ERROR ? -1 : fcntl((int) fd, F_GET_SEALS);
    if (seals == -1 || (seals & SEALS) != SEALS) {
        return -1;
    }

    tg_memory_text(text, (int) fd, capacity);
    *same = ngx_strcmp(text + sizeof(VARIABLE), value) == 0;

    return (int) fd;
}

// The descriptor of the table that was there before, or -1; the caller's to close.
static int
tg_memory_former(const tidegate_table_options *capacity, const tg_main_t *former, int *same)
{
    const tidegate_table_options *was = former != NULL ? &former->capacity : NULL;

    if (former == NULL || former->memory_fd == -1) {
        return tg_memory_inherited(capacity, same);
    }

    *same = was->max_upstreams == capacity->max_upstreams && was->max_peers == capacity->max_peers
            && was->max_workers == capacity->max_workers && was->events == capacity->events;

    return dup(former->memory_fd);
}

static int
tg_memory_make(size_t size)
{
    int fd = memfd_create("tidegate-table", MFD_ALLOW_SEALING), error;

    if (fd == -1) {
        return -1;
    }

    do {
        error = posix_fallocate(fd, 0, (off_t) size);
    } while (error == EINTR);

    if (error == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == -1) {
        error = ngx_errno;
    }

    if (error != 0) {
        (void) close(fd);
        ngx_set_errno(error);
        return -1;
    }

    return fd;
}

static ngx_int_t
tg_memory_map(tg_main_t *main, int fd, size_t size)
{
    struct stat st;

    if (fstat(fd, &st) == -1 || (size_t) st.st_size < size) {
        return NGX_ERROR;
    }

    main->memory = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);
    if (main->memory == MAP_FAILED) {
        main->memory = NULL;
        return NGX_ERROR;
    }

    main->memory_fd = fd;
    main->memory_size = size;

    return NGX_OK;
}

// Maps the table that was there before, if there is one that fits. NGX_DECLINED: there is none.
ngx_int_t
tg_memory_keep(tg_main_t *main, const tg_main_t *former, size_t size, ngx_log_t *log)
{
    int same = 0, fd = tg_memory_former(&main->capacity, former, &same);

    if (fd == -1) {
        return NGX_DECLINED;
    }

    if (same && tg_memory_map(main, fd, size) == NGX_OK) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_WARN, log, 0,
                  "tidegate: the capacities of \"tidegate_table\" are not those of before: the table starts empty");
    (void) close(fd);

    return NGX_DECLINED;
}

// Maps memory for a new table.
ngx_int_t
tg_memory_new(tg_main_t *main, size_t size, ngx_log_t *log)
{
    int fd = tg_memory_make(size);

    if (fd != -1 && tg_memory_map(main, fd, size) == NGX_OK) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, log, ngx_errno, "tidegate: taking %uz bytes of shared memory for the table failed",
                  size);
    if (fd != -1) {
        (void) close(fd);
    }

    return NGX_ERROR;
}

// Names the descriptor in the environment that nginx gives to a new binary. Failing that, that one starts empty.
void
tg_memory_hand_on(tg_main_t *main, ngx_cycle_t *cycle)
{
    ngx_core_conf_t *core = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);
    u_char *text = ngx_pnalloc(cycle->pool, TEXT_MAX);
    ngx_str_t *variable = text != NULL && main->memory_fd != -1 ? ngx_array_push(&core->env) : NULL;

    if (variable != NULL) {
        tg_memory_text(text, main->memory_fd, &main->capacity);
        // As the directive does: `len` counts the name, `data` goes on with its value.
        variable->data = text;
        variable->len = sizeof(VARIABLE) - 1;
    }
}

// Leaves the mapping.
void
tg_memory_close_descriptor(tg_main_t *main)
{
    if (main->memory_fd != -1) {
        (void) close(main->memory_fd);
        main->memory_fd = -1;
    }
}

void
tg_memory_close(tg_main_t *main)
{
    tg_memory_close_descriptor(main);

    if (main->memory != NULL) {
        (void) munmap(main->memory, main->memory_size);
        main->memory = NULL;
    }
}
