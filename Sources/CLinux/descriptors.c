#define _GNU_SOURCE
#include "clinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Repeats a call while a signal interrupts it. */
#define RETRY(result, call) \
    do { \
        (result) = (call); \
    } while ((result) == -1 && errno == EINTR)

/* -errno for -1. */
#define CHECKED(result) ((result) == -1 ? -errno : (result))

const char *clinux_error_text(int number) {
    return strerrordesc_np(number);
}

const char *clinux_error_name(int number) {
    return strerrorname_np(number);
}

int clinux_close(int fd) {
    /* Linux frees the descriptor even when it answers EINTR: never repeat. */
    int result = close(fd);
    return result == -1 && errno != EINTR ? -errno : 0;
}

ssize_t clinux_read(int fd, void *buffer, size_t capacity) {
    ssize_t result;
    RETRY(result, read(fd, buffer, capacity));
    return CHECKED(result);
}

ssize_t clinux_pread(int fd, void *buffer, size_t capacity, int64_t offset) {
    ssize_t result;
    RETRY(result, pread(fd, buffer, capacity, offset));
    return CHECKED(result);
}

ssize_t clinux_write(int fd, const void *bytes, size_t count) {
    ssize_t result;
    RETRY(result, write(fd, bytes, count));
    return CHECKED(result);
}

int clinux_open(const char *path, int flags, unsigned mode) {
    return clinux_openat(AT_FDCWD, path, flags, mode);
}

int clinux_openat(int directory, const char *path, int flags, unsigned mode) {
    int result;
    RETRY(result, openat(directory, path, flags | O_CLOEXEC, mode));
    return CHECKED(result);
}

int clinux_pipe(int ends[2], bool nonblocking) {
    int result = pipe2(ends, O_CLOEXEC | (nonblocking ? O_NONBLOCK : 0));
    return CHECKED(result);
}

int clinux_eventfd(void) {
    int result = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return CHECKED(result);
}

int clinux_eventfd_signal(int fd) {
    uint64_t one = 1;
    ssize_t result = clinux_write(fd, &one, sizeof one);
    /* A full counter is a pending signal already. */
    return result < 0 && result != -EAGAIN ? (int)result : 0;
}

int clinux_eventfd_clear(int fd) {
    uint64_t count;
    ssize_t result = clinux_read(fd, &count, sizeof count);
    return result < 0 && result != -EAGAIN ? (int)result : 0;
}

int clinux_duplicate(int fd, int at_least) {
    int result = fcntl(fd, F_DUPFD_CLOEXEC, at_least);
    return CHECKED(result);
}

int clinux_set_nonblocking(int fd, bool on) {
    int flags = fcntl(fd, F_GETFL);
    if (flags == -1) return -errno;
    int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    if (wanted == flags) return 0;
    int result = fcntl(fd, F_SETFL, wanted);
    return CHECKED(result);
}

int clinux_set_close_on_exec(int fd, bool on) {
    int result = fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
    return CHECKED(result);
}

int clinux_identity(int fd, uint64_t *device, uint64_t *inode) {
    struct stat status;
    if (fstat(fd, &status) == -1) return -errno;
    *device = status.st_dev;
    *inode = status.st_ino;
    return 0;
}

int clinux_identity_at(int directory, const char *path, uint64_t *device, uint64_t *inode) {
    struct stat status;
    if (fstatat(directory < 0 ? AT_FDCWD : directory, path, &status, 0) == -1) return -errno;
    *device = status.st_dev;
    *inode = status.st_ino;
    return 0;
}

int clinux_lock(int fd) {
    int result;
    RETRY(result, flock(fd, LOCK_EX | LOCK_NB));
    return CHECKED(result);
}

int clinux_truncate(int fd, int64_t size) {
    int result;
    RETRY(result, ftruncate(fd, size));
    return CHECKED(result);
}

int clinux_unlink(const char *path) {
    int result = unlink(path);
    return CHECKED(result);
}

int clinux_mkdir(const char *path, unsigned mode) {
    int result = mkdir(path, mode);
    return CHECKED(result);
}

int clinux_rmdir(const char *path) {
    int result = rmdir(path);
    return CHECKED(result);
}

int clinux_chmod(const char *path, unsigned mode) {
    int result = chmod(path, mode);
    return CHECKED(result);
}

ssize_t clinux_readlink(const char *path, char *buffer, size_t capacity) {
    return clinux_readlinkat(AT_FDCWD, path, buffer, capacity);
}

ssize_t clinux_readlinkat(int directory, const char *path, char *buffer, size_t capacity) {
    ssize_t result = readlinkat(directory, path, buffer, capacity);
    return CHECKED(result);
}

/* The number that a directory entry's name is; 0 when it is none. */
static int32_t number_of(const char *name) {
    int64_t value = 0;
    for (; *name; name++) {
        if (*name < '0' || *name > '9') return 0;
        value = value * 10 + (*name - '0');
        if (value > INT32_MAX) return 0;
    }
    return (int32_t)value;
}

ssize_t clinux_list_numbers(const char *path, int32_t *numbers, size_t capacity) {
    int fd = clinux_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return fd;
    _Alignas(struct dirent64) char buffer[16384];
    size_t count = 0;
    ssize_t result = 0;
    for (;;) {
        long size = syscall(SYS_getdents64, fd, buffer, sizeof buffer);
        if (size == -1) result = -errno;
        if (size <= 0) break;
        for (long offset = 0; offset < size;) {
            const struct dirent64 *entry = (const struct dirent64 *)(buffer + offset);
            int32_t number = number_of(entry->d_name);
            if (number > 0 && count == capacity) {
                clinux_close(fd);
                return -ENOSPC;
            }
            if (number > 0) numbers[count++] = number;
            offset += entry->d_reclen;
        }
    }
    clinux_close(fd);
    return result < 0 ? result : (ssize_t)count;
}

int clinux_epoll_create(void) {
    int result = epoll_create1(EPOLL_CLOEXEC);
    return CHECKED(result);
}

int clinux_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = { .events = events, .data.u64 = data };
    int result = epoll_ctl(epoll, operation, fd, &event);
    return CHECKED(result);
}

int clinux_epoll_wait(int epoll, struct clinux_event *events, size_t capacity, int64_t timeout_ns) {
    struct epoll_event raw[128];
    int limit = capacity > 128 ? 128 : (int)capacity;
    int count = -1;
    errno = ENOSYS;
#ifdef SYS_epoll_pwait2
    struct timespec timeout = { .tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000 };
    count = (int)syscall(SYS_epoll_pwait2, epoll, raw, limit, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
#endif
    if (count == -1 && (errno == ENOSYS || errno == EPERM)) {
        /* Linux before 5.11: whole milliseconds, rounded up so that nobody spins. */
        int64_t ms = timeout_ns < 0 ? -1 : timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
        count = epoll_wait(epoll, raw, limit, ms > INT32_MAX ? INT32_MAX : (int)ms);
    }
    if (count == -1) return -errno;
    for (int i = 0; i < count; i++) {
        events[i].data = raw[i].data.u64;
        events[i].events = raw[i].events;
    }
    return count;
}

ssize_t clinux_tee(int from, int to, size_t count) {
    ssize_t result;
    do result = tee(from, to, count, SPLICE_F_NONBLOCK);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}
