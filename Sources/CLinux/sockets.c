#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CHECKED(result) ((result) == -1 ? -errno : (result))

int clinux_unix_socket(int type, bool nonblocking) {
    int result = socket(AF_UNIX, type | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
    return CHECKED(result);
}

/* Fills in the address; its length, or -ENAMETOOLONG. */
static int unix_address(const char *path, struct sockaddr_un *address) {
    size_t length = strlen(path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (length == 0) return -EINVAL;
    if (length >= sizeof address->sun_path) return -ENAMETOOLONG;
    memcpy(address->sun_path, path, length);
    if (path[0] == '@') {
        address->sun_path[0] = 0;
        return (int)(offsetof(struct sockaddr_un, sun_path) + length);
    }
    return (int)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}

int clinux_unix_bind(int fd, const char *path, unsigned mode) {
    struct sockaddr_un address;
    int length = unix_address(path, &address);
    if (length < 0) return length;
    /* The file is made with the socket's own mode less the umask: set before, so that nobody slips in between. */
    if (fchmod(fd, mode) == -1) return -errno;
    if (bind(fd, (struct sockaddr *)&address, (socklen_t)length) == -1) return -errno;
    if (path[0] != '@' && chmod(path, mode) == -1) return -errno;
    return 0;
}

int clinux_unix_connect(int fd, const char *path) {
    struct sockaddr_un address;
    int length = unix_address(path, &address);
    if (length < 0) return length;
    int result;
    do {
        result = connect(fd, (struct sockaddr *)&address, (socklen_t)length);
    } while (result == -1 && errno == EINTR);
    return CHECKED(result);
}

int clinux_socket_pair(int type, int ends[2]) {
    int result = socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends);
    return CHECKED(result);
}

int clinux_listen(int fd, int backlog) {
    int result = listen(fd, backlog);
    return CHECKED(result);
}

int clinux_accept(int fd, bool nonblocking) {
    int result;
    do {
        result = accept4(fd, NULL, NULL, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));
    } while (result == -1 && (errno == EINTR || errno == ECONNABORTED));
    return CHECKED(result);
}

int clinux_shutdown(int fd, bool reading, bool writing) {
    int how = reading ? (writing ? SHUT_RDWR : SHUT_RD) : SHUT_WR;
    int result = shutdown(fd, how);
    return CHECKED(result);
}

int clinux_pass_credentials(int fd) {
    int on = 1;
    int result = setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    return CHECKED(result);
}

/* Beyond the host's limit where we may, else up to it. */
static int set_buffer(int fd, int force, int plain, int bytes) {
    if (bytes <= 0) return 0;
    if (setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof bytes) == 0) return 0;
    int result = setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof bytes);
    return CHECKED(result);
}

int clinux_set_buffers(int fd, int send_bytes, int receive_bytes) {
    int result = set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, send_bytes);
    return result < 0 ? result : set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, receive_bytes);
}

int clinux_peer_credentials(int fd, int32_t *pid, uint32_t *uid, uint32_t *gid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == -1) return -errno;
    *pid = peer.pid;
    *uid = peer.uid;
    *gid = peer.gid;
    return 0;
}

ssize_t clinux_send(
    int fd, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count, const char *path,
    bool nonblocking) {
    if (descriptor_count > CLINUX_MAX_DESCRIPTORS) return -EINVAL;
    union {
        char bytes[CMSG_SPACE(sizeof(int) * CLINUX_MAX_DESCRIPTORS)];
        struct cmsghdr alignment;
    } control;
    struct sockaddr_un address;
    struct iovec part = { .iov_base = (void *)bytes, .iov_len = count };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (path) {
        int length = unix_address(path, &address);
        if (length < 0) return length;
        message.msg_name = &address;
        message.msg_namelen = (socklen_t)length;
    }
    if (descriptor_count > 0) {
        size_t size = sizeof(int) * descriptor_count;
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(header), descriptors, size);
    }
    ssize_t result;
    do {
        result = sendmsg(fd, &message, MSG_NOSIGNAL | (nonblocking ? MSG_DONTWAIT : 0));
    } while (result == -1 && errno == EINTR);
    return CHECKED(result);
}

/* Takes descriptors and credentials out of the control part. */
static void take_control(struct msghdr *raw, struct clinux_message *message) {
    for (struct cmsghdr *header = CMSG_FIRSTHDR(raw); header; header = CMSG_NXTHDR(raw, header)) {
        if (header->cmsg_level != SOL_SOCKET) continue;
        if (header->cmsg_type == SCM_CREDENTIALS && header->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
            struct ucred sender;
            memcpy(&sender, CMSG_DATA(header), sizeof sender);
            message->has_credentials = true;
            message->pid = sender.pid;
            message->uid = sender.uid;
            message->gid = sender.gid;
        }
        if (header->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            if (message->descriptor_count < CLINUX_MAX_DESCRIPTORS) {
                message->descriptors[message->descriptor_count++] = fd;
            } else {
                close(fd);
                message->descriptors_lost = true;
            }
        }
    }
}

ssize_t clinux_receive(
    int fd, void *buffer, size_t capacity, struct clinux_message *message, bool peek, bool nonblocking) {
    union {
        char bytes[CMSG_SPACE(sizeof(int) * CLINUX_MAX_DESCRIPTORS) + CMSG_SPACE(sizeof(struct ucred)) + 64];
        struct cmsghdr alignment;
    } control;
    struct iovec part = { .iov_base = buffer, .iov_len = capacity };
    struct msghdr raw = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes,
    };
    message->truncated = false;
    message->descriptors_lost = false;
    message->has_credentials = false;
    message->descriptor_count = 0;
    ssize_t result;
    bool reset_seen = false;
    for (;;) {
        result = recvmsg(fd, &raw, MSG_CMSG_CLOEXEC | (peek ? MSG_PEEK : 0) | (nonblocking ? MSG_DONTWAIT : 0));
        if (result != -1) break;
        /* A peer that died with unread messages leaves ECONNRESET in front of those that it had sent; it is said once,
         * and what was sent can be read after it. */
        bool reset = errno == ECONNRESET && !reset_seen;
        if (reset) reset_seen = true;
        if (errno != EINTR && !reset) return -errno;
    }
    take_control(&raw, message);
    message->truncated = (raw.msg_flags & MSG_TRUNC) != 0;
    if (raw.msg_flags & MSG_CTRUNC) message->descriptors_lost = true;
    if (peek) {
        for (int32_t i = 0; i < message->descriptor_count; i++) close(message->descriptors[i]);
        message->descriptor_count = 0;
    }
    return result;
}

int clinux_tcp_listen(
    const char *host, int port, int backlog, bool nonblocking, bool v6_only, const char **failed) {
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    *failed = "read the address";
    if (getaddrinfo(*host ? host : NULL, service, &hints, &found) != 0 || !found) return -EINVAL;
    int on = 1;
    int result = 0;
    *failed = "create a socket for";
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
    if (fd == -1) {
        result = -errno;
        freeaddrinfo(found);
        return result;
    }
    *failed = "set the options of the socket for";
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1) result = -errno;
    if (result == 0 && v6_only && found->ai_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == -1) result = -errno;
    if (result == 0) {
        *failed = "bind to";
        if (bind(fd, found->ai_addr, found->ai_addrlen) == -1) result = -errno;
    }
    if (result == 0) {
        *failed = "listen on";
        if (listen(fd, backlog) == -1) result = -errno;
    }
    freeaddrinfo(found);
    if (result == 0) return fd;
    close(fd);
    return result;
}

int clinux_socket_port(int fd) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) == -1) return -errno;
    if (address.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return -EAFNOSUPPORT;
}
