#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECKED(result) ((result) == -1 ? -errno : (result))

/* The signals of a mask that libc lets us name: it keeps 32 and 33 to itself. */
static void set_of(uint64_t mask, sigset_t *set) {
    sigemptyset(set);
    for (int number = 1; number <= 64; number++) {
        if (mask >> (number - 1) & 1) sigaddset(set, number);
    }
}

static int change_mask(int how, uint64_t mask) {
    sigset_t set;
    set_of(mask, &set);
    return -pthread_sigmask(how, &set, NULL);
}

int clinux_signals_block(uint64_t mask) {
    return change_mask(SIG_BLOCK, mask);
}

int clinux_signals_unblock(uint64_t mask) {
    return change_mask(SIG_UNBLOCK, mask);
}

static int set_disposition(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    int result = sigaction(number, &action, NULL);
    clinux_dispositions_changed();
    return CHECKED(result);
}

int clinux_signal_ignore(int number) {
    return set_disposition(number, SIG_IGN);
}

int clinux_signal_default(int number) {
    return set_disposition(number, SIG_DFL);
}

int clinux_signalfd(uint64_t mask) {
    sigset_t set;
    set_of(mask, &set);
    int result = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return CHECKED(result);
}

int clinux_signalfd_read(int fd, struct clinux_signal *signal) {
    struct signalfd_siginfo info;
    ssize_t size = clinux_read(fd, &info, sizeof info);
    if (size < 0) return (int)size;
    if (size != sizeof info) return -EIO;
    signal->number = (int32_t)info.ssi_signo;
    signal->pid = (int32_t)info.ssi_pid;
    signal->uid = info.ssi_uid;
    return 0;
}

int clinux_kill(int32_t pid, int number) {
    int result = kill(pid, number);
    return CHECKED(result);
}

static int64_t microseconds(struct timeval time) {
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

int clinux_reap(int32_t pid, bool wait, struct clinux_exit *exit) {
    siginfo_t info;
    struct rusage usage;
    long result;
    memset(&info, 0, sizeof info);
    memset(&usage, 0, sizeof usage);
    do {
        /* The library's waitid does not hand the rusage out; the system call does. */
        result = syscall(
            SYS_waitid, pid > 0 ? P_PID : P_ALL, pid > 0 ? pid : 0, &info, WEXITED | (wait ? 0 : WNOHANG), &usage);
    } while (result == -1 && errno == EINTR);
    if (result == -1) return -errno;
    if (info.si_pid == 0) return 0;
    exit->pid = info.si_pid;
    exit->code = info.si_code;
    exit->status = info.si_status;
    exit->user_us = microseconds(usage.ru_utime);
    exit->system_us = microseconds(usage.ru_stime);
    exit->maximum_resident_kib = usage.ru_maxrss;
    return 1;
}

int clinux_pidfd_open(int32_t pid) {
#ifdef SYS_pidfd_open
    int result = (int)syscall(SYS_pidfd_open, pid, 0);
    return CHECKED(result);
#else
    return -ENOSYS;
#endif
}

int clinux_set_subreaper(void) {
    int result = prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    return CHECKED(result);
}

int clinux_set_name(const char *name) {
    int result = prctl(PR_SET_NAME, name, 0, 0, 0);
    return CHECKED(result);
}

int clinux_new_session(void) {
    int result = setsid();
    return result == -1 ? -errno : 0;
}

int clinux_get_priority(int *value) {
    errno = 0;
    int result = getpriority(PRIO_PROCESS, 0);
    if (result == -1 && errno != 0) return -errno;
    *value = result;
    return 0;
}

int clinux_set_priority(int value) {
    int result = setpriority(PRIO_PROCESS, 0, value);
    return CHECKED(result);
}

int clinux_get_limit(int resource, uint64_t *soft, uint64_t *hard) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) == -1) return -errno;
    *soft = limit.rlim_cur;
    *hard = limit.rlim_max;
    return 0;
}

int clinux_set_limit(int resource, uint64_t soft, uint64_t hard) {
    struct rlimit limit = { .rlim_cur = soft, .rlim_max = hard };
    int result = setrlimit(resource, &limit);
    return CHECKED(result);
}

int64_t clinux_clock(int clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) == -1) return -errno;
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
