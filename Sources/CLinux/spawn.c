/* Starting a program with nothing of the parent left in it.
 *
 * The child shares the parent's memory until it executes (CLONE_VM), the parent sleeps meanwhile (CLONE_VFORK): no
 * page table is copied, so that the cost does not grow with the parent's size, and a failed stage is handed back
 * through plain memory. The child runs on a stack of its own and makes only direct system calls: the library's
 * wrappers keep state (errno, cached ids, locks) that belongs to the parent.
 *
 * chdir and execve look at paths that may be somebody else's: a lease on the program (fcntl(2), F_SETLEASE), a FUSE
 * or an NFS file system can hold them for as long as it likes, and the parent with them. A start with a failure pipe
 * therefore copies the parent instead, which goes on at once; the child reports a failed stage through the pipe. */
#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif

/* The kernel's form of struct clone_args, version 2 (Linux 5.7). */
struct clone_arguments {
    uint64_t flags;
    uint64_t pidfd;
    uint64_t child_tid;
    uint64_t parent_tid;
    uint64_t exit_signal;
    uint64_t stack;
    uint64_t stack_size;
    uint64_t tls;
    uint64_t set_tid;
    uint64_t set_tid_size;
    uint64_t cgroup;
};

struct child_state {
    const struct clinux_spawn *request;
    bool enter_cgroup; /* clone has not done it */
    uint64_t inherited; /* signals whose disposition must be made the default one */
    int failure_pipe; /* -1: the parent waits and shares our memory */
    volatile int32_t stage;
    volatile int32_t error;
};

static inline long call(long number, long a, long b, long c, long d, long e) {
    long result;
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    result = x0;
#else
#error "clinux_spawn knows x86-64 and arm64"
#endif
    return result;
}

/* clone3 whose child runs `entry(argument)` on the stack that the arguments name; never returns in the child. */
static long clone_onto_stack(struct clone_arguments *arguments, int (*entry)(void *), void *argument) {
    long result;
#if defined(__x86_64__)
    register void *r12 __asm__("r12") = (void *)entry;
    register void *r13 __asm__("r13") = argument;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone3), "D"(arguments), "S"(sizeof *arguments), "r"(r12), "r"(r13)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long)arguments;
    register long x1 __asm__("x1") = (long)sizeof *arguments;
    register void *x19 __asm__("x19") = (void *)entry;
    register void *x20 __asm__("x20") = argument;
    __asm__ volatile("svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, x20\n\t"
                     "blr x19\n\t"
                     "brk 0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x19), "r"(x20)
                     : "memory");
    result = x0;
#endif
    return result;
}

__attribute__((noreturn)) static void fail(struct child_state *state, int stage, long result) {
    state->stage = stage;
    state->error = (int32_t)-result;
    if (state->failure_pipe >= 0) {
        int32_t report[2] = { stage, (int32_t)-result };
        call(SYS_write, state->failure_pipe, (long)report, sizeof report, 0, 0);
    }
    for (;;) call(SYS_exit_group, 127, 0, 0, 0, 0);
}

/* The kernel's form of struct sigaction: handler, flags, restorer, mask. All zero is the default disposition. */
struct disposition {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

/* Signals that this process ignores, looked up at the first start and after each change made through this library: 64
 * calls are a tenth of a start. What is handled, CLONE_CLEAR_SIGHAND resets; what is ignored would stay ignored. */
static _Atomic uint64_t known_ignored;
static _Atomic bool ignored_is_known;

void clinux_dispositions_changed(void) {
    ignored_is_known = false;
}

static uint64_t ignored_signals(void) {
    if (ignored_is_known) return known_ignored;
    uint64_t ignored = 0;
    for (long number = 1; number <= 64; number++) {
        struct disposition now = { 0 };
        if (call(SYS_rt_sigaction, number, 0, (long)&now, sizeof now.mask, 0) == 0 && now.handler == SIG_IGN) {
            ignored |= (uint64_t)1 << (number - 1);
        }
    }
    known_ignored = ignored;
    ignored_is_known = true;
    return ignored;
}

static void reset_dispositions(uint64_t signals) {
    struct disposition standard = { 0 };
    for (long number = 1; number <= 64; number++) {
        if (signals >> (number - 1) & 1) call(SYS_rt_sigaction, number, (long)&standard, 0, sizeof standard.mask, 0);
    }
}

static void enter_cgroup(struct child_state *state) {
    long fd = call(SYS_openat, state->request->cgroup, (long)"cgroup.procs", O_WRONLY | O_CLOEXEC, 0, 0);
    if (fd < 0) fail(state, CLINUX_STAGE_CGROUP, fd);
    long result = call(SYS_write, fd, (long)"0", 1, 0, 0);
    if (result < 0) fail(state, CLINUX_STAGE_CGROUP, result);
}

/* A child that is waited for begins with the parent's table of descriptors, shared: copying thousands of them only to
 * close them would be most of the cost of a start. Takes a table of its own that holds those it needs, and few
 * others. */
static void take_own_table(struct child_state *state) {
    const struct clinux_spawn *request = state->request;
    long end = request->cgroup >= 0 && state->enter_cgroup ? request->cgroup + 1 : 0;
    if (state->failure_pipe >= end) end = state->failure_pipe + 1;
    for (size_t i = 0; i < request->descriptor_count; i++) {
        if (request->descriptors[i] >= end) end = request->descriptors[i] + 1;
    }
    if (call(SYS_close_range, end, ~0U, CLOSE_RANGE_UNSHARE, 0, 0) == 0) return;
    /* Linux before 5.9. */
    long result = call(SYS_unshare, CLONE_FILES, 0, 0, 0, 0);
    if (result < 0) fail(state, CLINUX_STAGE_DESCRIPTORS, result);
}

/* Out of the way of the places that are about to be taken: those below `end`. */
static int moved_up(struct child_state *state, int fd, long end, int stage) {
    if (fd >= end) return fd;
    long moved = call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, end, 0, 0);
    if (moved < 0) fail(state, stage, moved);
    return (int)moved;
}

/* Puts the descriptors in their places, the failure pipe behind them, and closes all others. */
static void place_descriptors(struct child_state *state) {
    const struct clinux_spawn *request = state->request;
    long count = (long)request->descriptor_count;
    long end = state->failure_pipe >= 0 ? count + 1 : count;
    if (end > count) state->failure_pipe = moved_up(state, state->failure_pipe, end, CLINUX_STAGE_DESCRIPTORS);
    for (long i = 0; i < count; i++) {
        int stage = i < 3 ? CLINUX_STAGE_OUTPUT : CLINUX_STAGE_DESCRIPTORS;
        request->descriptors[i] = moved_up(state, request->descriptors[i], end, stage);
    }
    for (long i = 0; i < count; i++) {
        long result = call(SYS_dup3, request->descriptors[i], i, 0, 0, 0);
        if (result < 0) fail(state, i < 3 ? CLINUX_STAGE_OUTPUT : CLINUX_STAGE_DESCRIPTORS, result);
    }
    if (end > count) {
        long result = call(SYS_dup3, state->failure_pipe, count, O_CLOEXEC, 0, 0);
        if (result < 0) fail(state, CLINUX_STAGE_DESCRIPTORS, result);
        state->failure_pipe = (int)count;
    }
    if (call(SYS_close_range, end, ~0U, 0, 0, 0) == 0) return;
    /* Linux before 5.9. */
    struct rlimit limit = { 0, 0 };
    call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit, 0);
    long last = limit.rlim_cur > 1048576 ? 1048576 : (long)limit.rlim_cur;
    for (long fd = end; fd < last; fd++) call(SYS_close, fd, 0, 0, 0, 0);
}

static void set_oom_score(struct child_state *state) {
    const struct clinux_spawn *request = state->request;
    unsigned value = request->oom_score_adjust < 0 ? -(unsigned)request->oom_score_adjust
                                                   : (unsigned)request->oom_score_adjust;
    char whole[16];
    int size = 0;
    if (request->oom_score_adjust < 0) whole[size++] = '-';
    /* No leading zeros: the kernel would read the number as octal. */
    unsigned scale = 1000;
    while (scale > 1 && value < scale) scale /= 10;
    for (; scale > 0; scale /= 10) whole[size++] = (char)('0' + value / scale % 10);
    long fd = call(SYS_openat, AT_FDCWD, (long)"/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0, 0);
    long result = fd < 0 ? fd : call(SYS_write, fd, (long)whole, size, 0, 0);
    if (result < 0 && request->oom_score_required) fail(state, CLINUX_STAGE_OOM_SCORE, result);
    if (fd >= 0) call(SYS_close, fd, 0, 0, 0, 0);
}

static void set_limits(struct child_state *state) {
    const struct clinux_spawn *request = state->request;
    for (size_t i = 0; i < request->limit_count; i++) {
        struct {
            uint64_t soft;
            uint64_t hard;
        } limit = { request->limits[i].soft, request->limits[i].hard };
        long result = call(SYS_prlimit64, 0, request->limits[i].resource, (long)&limit, 0, 0);
        if (result < 0) fail(state, CLINUX_STAGE_LIMITS, result);
    }
}

static void set_identity(struct child_state *state) {
    const struct clinux_spawn *request = state->request;
    long result = call(SYS_setgroups, (long)request->group_count, (long)request->groups, 0, 0, 0);
    if (result < 0) fail(state, CLINUX_STAGE_GROUPS, result);
    result = call(SYS_setresgid, request->gid, request->gid, request->gid, 0, 0);
    if (result < 0) fail(state, CLINUX_STAGE_GROUP, result);
    result = call(SYS_setresuid, request->uid, request->uid, request->uid, 0, 0);
    if (result < 0) fail(state, CLINUX_STAGE_USER, result);
}

static void write_pid(struct child_state *state) {
    const struct clinux_spawn *request = state->request;
    long pid = call(SYS_getpid, 0, 0, 0, 0, 0);
    for (size_t i = 0; i < request->pid_place_count; i++) {
        char digits[12];
        int count = 0;
        for (long rest = pid; rest > 0; rest /= 10) digits[count++] = (char)('0' + rest % 10);
        char *place = request->pid_places[i];
        while (count > 0) *place++ = digits[--count];
        *place = 0;
    }
}

static int child(void *argument) {
    struct child_state *state = argument;
    const struct clinux_spawn *request = state->request;
    long result;
    reset_dispositions(state->inherited);
    take_own_table(state);
    if (state->enter_cgroup) enter_cgroup(state);
    if (request->new_session && (result = call(SYS_setsid, 0, 0, 0, 0, 0)) < 0) {
        fail(state, CLINUX_STAGE_SESSION, result);
    }
    place_descriptors(state);
    if (request->reset_priority) call(SYS_setpriority, PRIO_PROCESS, 0, 0, 0, 0);
    if (request->set_oom_score) set_oom_score(state);
    set_limits(state);
    if (request->set_umask) call(SYS_umask, request->umask, 0, 0, 0, 0);
    if (request->set_identity) set_identity(state);
    if (request->working_directory &&
        (result = call(SYS_chdir, (long)request->working_directory, 0, 0, 0, 0)) < 0) {
        fail(state, CLINUX_STAGE_WORKING_DIRECTORY, result);
    }
    write_pid(state);
    uint64_t none = 0;
    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof none, 0);
    result = call(SYS_execve, (long)request->arguments[0], (long)request->arguments, (long)request->environment, 0, 0);
    fail(state, CLINUX_STAGE_EXECUTE, result);
}

/* Creates the child by the best call that this kernel and its sandbox allow. */
static long create(struct child_state *state, char *stack, size_t size) {
    /* Copied, the table of descriptors too: the parent goes on to close those that were for the child. */
    const int shared = state->failure_pipe >= 0 ? 0 : CLONE_VM | CLONE_VFORK | CLONE_FILES;
    struct clone_arguments arguments = {
        .flags = (uint64_t)shared | CLONE_CLEAR_SIGHAND,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = size,
    };
    long pid = -ENOSYS;
    state->inherited = ignored_signals();
    if (state->request->cgroup >= 0) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)state->request->cgroup;
        pid = clone_onto_stack(&arguments, child, state);
        arguments.flags &= ~CLONE_INTO_CGROUP;
        arguments.cgroup = 0;
        /* EAGAIN, ENOMEM and EBUSY say that it cannot be now, the others that it cannot be this way. */
        if (pid >= 0 || pid == -EAGAIN || pid == -ENOMEM || pid == -EBUSY) return pid;
        state->enter_cgroup = true;
    }
    pid = clone_onto_stack(&arguments, child, state);
    if (pid != -ENOSYS && pid != -EPERM && pid != -EINVAL) return pid;
    state->inherited = ~(uint64_t)0;
    int plain = clone(child, stack + size, shared | SIGCHLD, state);
    return plain == -1 ? -errno : plain;
}

int clinux_spawn(const struct clinux_spawn *request, struct clinux_spawn_failure *failure) {
    _Alignas(16) char stack[16384];
    struct child_state state = { .request = request, .failure_pipe = request->failure_pipe };
    uint64_t all = ~(uint64_t)0;
    uint64_t before = 0;
    failure->stage = 0;
    failure->error = 0;
    /* No handler of the parent may run in the child, which shares its memory. */
    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, sizeof all, 0);
    long pid = create(&state, stack, sizeof stack);
    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof before, 0);
    if (pid < 0) {
        failure->stage = CLINUX_STAGE_CLONE;
        failure->error = (int32_t)-pid;
        return (int)pid;
    }
    if (state.stage == 0) return (int)pid;
    struct clinux_exit exit;
    clinux_reap((int32_t)pid, true, &exit);
    failure->stage = state.stage;
    failure->error = state.error;
    return -state.error;
}
