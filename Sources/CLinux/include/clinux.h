/* One system call, or one tight sequence of them, per function.
 *
 * Every function answers a value of 0 or more, or -errno. None sets errno for the caller to read. Calls that a signal
 * may interrupt are repeated, except where the name says wait. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Text and name of an error number, such as "No such file or directory" and "ENOENT"; NULL when it has none. */
const char *clinux_error_text(int number);
const char *clinux_error_name(int number);

/* Descriptors. All that are made here are close-on-exec. */
int clinux_close(int fd);
ssize_t clinux_read(int fd, void *buffer, size_t capacity);
ssize_t clinux_pread(int fd, void *buffer, size_t capacity, int64_t offset);
ssize_t clinux_write(int fd, const void *bytes, size_t count);
int clinux_open(const char *path, int flags, unsigned mode);
int clinux_openat(int directory, const char *path, int flags, unsigned mode);
int clinux_pipe(int ends[2], bool nonblocking);
int clinux_eventfd(void);
int clinux_eventfd_signal(int fd);
int clinux_eventfd_clear(int fd);
int clinux_duplicate(int fd, int at_least);
int clinux_set_nonblocking(int fd, bool on);
int clinux_set_close_on_exec(int fd, bool on);
/* Device and inode of an open file. */
int clinux_identity(int fd, uint64_t *device, uint64_t *inode);
int clinux_identity_at(int directory, const char *path, uint64_t *device, uint64_t *inode);
/* An exclusive lock of the file, without waiting: -EWOULDBLOCK when another holds it. */
int clinux_lock(int fd);
int clinux_truncate(int fd, int64_t size);
int clinux_unlink(const char *path);
int clinux_mkdir(const char *path, unsigned mode);
int clinux_rmdir(const char *path);
int clinux_chmod(const char *path, unsigned mode);
ssize_t clinux_readlink(const char *path, char *buffer, size_t capacity);
ssize_t clinux_readlinkat(int directory, const char *path, char *buffer, size_t capacity);
/* Names in a directory that are positive numbers; -ENOSPC when there are more than `capacity`. */
ssize_t clinux_list_numbers(const char *path, int32_t *numbers, size_t capacity);

/* Event queues. */
struct clinux_event {
    uint64_t data;
    uint32_t events;
};
int clinux_epoll_create(void);
/* `operation`: 1 add, 2 delete, 3 modify. */
int clinux_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t data);
/* Waits at most `timeout_ns` (negative: for ever). A signal ends the wait with -EINTR. At most 128 events. */
int clinux_epoll_wait(int epoll, struct clinux_event *events, size_t capacity, int64_t timeout_ns);

/* Signals. Masks have bit N-1 for signal N. */
struct clinux_signal {
    int32_t number;
    int32_t pid;
    uint32_t uid;
};
int clinux_signals_block(uint64_t mask);
int clinux_signals_unblock(uint64_t mask);
int clinux_signal_ignore(int number);
int clinux_signal_default(int number);
/* For who changes dispositions by other means: clinux_spawn remembers which signals are ignored. */
void clinux_dispositions_changed(void);
int clinux_signalfd(uint64_t mask);
int clinux_signalfd_read(int fd, struct clinux_signal *signal);
int clinux_kill(int32_t pid, int number);

/* Processes. */
struct clinux_exit {
    int32_t pid;
    /* CLD_EXITED (1), CLD_KILLED (2) or CLD_DUMPED (3). */
    int32_t code;
    int32_t status;
    int64_t user_us;
    int64_t system_us;
    int64_t maximum_resident_kib;
};
/* Reaps one child, any when `pid` is 0: 1 done, 0 none has ended, -ECHILD there is none. */
int clinux_reap(int32_t pid, bool wait, struct clinux_exit *exit);
int clinux_pidfd_open(int32_t pid);
int clinux_set_subreaper(void);
int clinux_set_name(const char *name);
int clinux_new_session(void);
int clinux_get_priority(int *value);
int clinux_set_priority(int value);
int clinux_get_limit(int resource, uint64_t *soft, uint64_t *hard);
int clinux_set_limit(int resource, uint64_t soft, uint64_t hard);
/* Nanoseconds of CLOCK_REALTIME (0), CLOCK_MONOTONIC (1) or CLOCK_BOOTTIME (7). */
int64_t clinux_clock(int clock);

/* Sockets. `type` is SOCK_STREAM (1), SOCK_DGRAM (2) or SOCK_SEQPACKET (5); all are close-on-exec. */
int clinux_unix_socket(int type, bool nonblocking);
/* A path that begins with @ is in the abstract namespace. `mode` is the socket file's from its first moment on. */
int clinux_unix_bind(int fd, const char *path, unsigned mode);
int clinux_unix_connect(int fd, const char *path);
int clinux_socket_pair(int type, int ends[2]);
int clinux_listen(int fd, int backlog);
int clinux_accept(int fd, bool nonblocking);
int clinux_shutdown(int fd, bool reading, bool writing);
int clinux_pass_credentials(int fd);
int clinux_set_buffers(int fd, int send_bytes, int receive_bytes);
int clinux_peer_credentials(int fd, int32_t *pid, uint32_t *uid, uint32_t *gid);

enum { CLINUX_MAX_DESCRIPTORS = 253 };

struct clinux_message {
    bool truncated;
    bool descriptors_lost;
    bool has_credentials;
    int32_t pid;
    uint32_t uid;
    uint32_t gid;
    int32_t descriptor_count;
    int32_t descriptors[CLINUX_MAX_DESCRIPTORS];
};
/* Sends one message with descriptors, to `path` when it is not NULL; never raises SIGPIPE. */
ssize_t clinux_send(
    int fd, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count, const char *path,
    bool nonblocking);
/* Receives one message. With `peek` it stays in the queue, and its descriptors are closed again. */
ssize_t clinux_receive(
    int fd, void *buffer, size_t capacity, struct clinux_message *message, bool peek, bool nonblocking);
/* A listening TCP socket for a numeric host; SO_REUSEADDR. `v6_only` has one for an IPv6 address take IPv6 alone,
 * otherwise the host's default counts (net.ipv6.bindv6only). `*failed` names the call that failed. */
int clinux_tcp_listen(
    const char *host, int port, int backlog, bool nonblocking, bool v6_only, const char **failed);
int clinux_socket_port(int fd);

/* TCP connections, as the kernel lists them (sock_diag(7)). */
struct clinux_port_range {
    uint16_t first;
    uint16_t last;
};
struct clinux_connection {
    uint64_t identity; /* the same for all of a connection's life, and no other's */
    uint64_t bytes_received; /* this, the next two and `has_sent` only with `has_info`; a FIN counts as one byte */
    uint32_t last_sent_ms;
    uint32_t last_received_ms;
    uint32_t receive_queue;
    uint32_t send_queue;
    uint16_t local_port;
    uint16_t remote_port;
    uint8_t state; /* TCP_ESTABLISHED (1) to TCP_CLOSING (11) */
    bool has_info;
    bool has_sent; /* data, ever; true where the kernel is too old to tell */
    bool interrupted; /* the table changed while it was read: it may lack some */
    uint8_t remote[16]; /* an IPv4 address as ::ffff:a.b.c.d */
};
enum { CLINUX_MAX_PORT_RANGES = 32 };
enum { CLINUX_DIAG_END = 0, CLINUX_DIAG_CONNECTION = 1, CLINUX_DIAG_DONE = 2 };
int clinux_diag_open(void);
/* Asks for the connections of a family (AF_INET 2, AF_INET6 10) whose state's bit is set and whose local port is in
 * one of the ranges. */
int clinux_diag_ask(
    int fd, int family, uint32_t states, const struct clinux_port_range *ranges, size_t count, uint32_t sequence);
/* Receives a part of the answer; -EMSGSIZE when the buffer is too small for it, -EAGAIN when none comes for two s. */
ssize_t clinux_diag_receive(int fd, void *buffer, size_t capacity);
/* Takes the next connection out of a part, from `*place` on: CLINUX_DIAG_END when there is no more in it, _DONE (with
 * `interrupted`) at the end of the answer, -errno when the kernel refuses. */
int clinux_diag_next(
    const void *buffer, size_t count, size_t *place, uint32_t sequence, struct clinux_connection *connection);

/* Starting a program. */
struct clinux_limit {
    int32_t resource;
    uint64_t soft;
    uint64_t hard;
};

/* Stage numbers of a failed start; the same as SpawnStage in SupervisorCore. */
enum {
    CLINUX_STAGE_PREPARE = 1,
    CLINUX_STAGE_CLONE,
    CLINUX_STAGE_SESSION,
    CLINUX_STAGE_OUTPUT,
    CLINUX_STAGE_DESCRIPTORS,
    CLINUX_STAGE_LIMITS,
    CLINUX_STAGE_OOM_SCORE,
    CLINUX_STAGE_UMASK,
    CLINUX_STAGE_GROUPS,
    CLINUX_STAGE_GROUP,
    CLINUX_STAGE_USER,
    CLINUX_STAGE_WORKING_DIRECTORY,
    CLINUX_STAGE_EXECUTE,
    CLINUX_STAGE_CGROUP,
};

struct clinux_spawn {
    char *const *arguments; /* NULL-terminated; the first is the program's path */
    char *const *environment; /* NULL-terminated */
    char *const *pid_places; /* each at least 11 bytes long: the new pid is written there in decimal, with a NUL */
    size_t pid_place_count;
    int *descriptors; /* the Nth becomes descriptor N; all others are closed. May be rearranged. */
    size_t descriptor_count;
    const struct clinux_limit *limits;
    size_t limit_count;
    const uint32_t *groups;
    size_t group_count;
    const char *working_directory; /* NULL: unchanged */
    int cgroup; /* an open cgroup v2 directory, or -1 */
    int failure_pipe; /* close-on-exec; -1: the start is waited for */
    uint32_t uid;
    uint32_t gid;
    uint32_t umask;
    int32_t oom_score_adjust;
    bool set_identity;
    bool set_umask;
    bool set_oom_score;
    bool oom_score_required; /* otherwise a refusal is passed over */
    bool new_session;
    bool reset_priority;
};

struct clinux_spawn_failure {
    int32_t stage;
    int32_t error;
};

/* Starts the program and waits until it is executing. Answers its pid, or -errno with `failure` filled in; then no
 * process is left. With a failure pipe it waits for nothing: a stage that fails after the child was made is written
 * there as two int32_t (stage, errno), and the child exits. */
int clinux_spawn(const struct clinux_spawn *request, struct clinux_spawn_failure *failure);

/* Memory. */
/* Limits the allocator's arenas: few threads, and little to share. Before any other thread is started. */
void clinux_limit_arenas(int arenas);
/* Gives back what only the start needed: free memory of the heap, and mapped pages of the program's own code. */
void clinux_release_startup_memory(void);
/* tee(2) without waiting: copies what is in the pipe `from` into the pipe `to` and leaves it there. */
ssize_t clinux_tee(int from, int to, size_t count);
