#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#define CHECKED(result) ((result) == -1 ? -errno : (result))

/* Operations of one range of ports: two comparisons of two words each, and a jump to the end. */
enum { WORDS_PER_RANGE = 5 };

int clinux_diag_open(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd == -1) return -errno;
    /* The kernel answers from within the receive; nothing else would end a wait that it forgets. */
    struct timeval patience = { .tv_sec = 2 };
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == -1) {
        int result = -errno;
        clinux_close(fd);
        return result;
    }
    return fd;
}

/* The kernel's little language (inet_diag_bc_run): `yes` and `no` are the bytes to go on by, and who goes exactly to
 * the end is taken, who goes four bytes beyond is not. The port stands in the `no` of a second word. */
static void add_range(struct inet_diag_bc_op *code, struct clinux_port_range range, size_t bytes_left) {
    const size_t range_bytes = WORDS_PER_RANGE * sizeof *code;
    /* Past the last range is past the end. */
    size_t next = bytes_left > range_bytes ? range_bytes : range_bytes + sizeof *code;
    code[0] = (struct inet_diag_bc_op){ .code = INET_DIAG_BC_S_GE, .yes = 8, .no = (unsigned short)next };
    code[1] = (struct inet_diag_bc_op){ .no = range.first };
    code[2] = (struct inet_diag_bc_op){ .code = INET_DIAG_BC_S_LE, .yes = 8, .no = (unsigned short)(next - 8) };
    code[3] = (struct inet_diag_bc_op){ .no = range.last };
    code[4] = (struct inet_diag_bc_op){ .code = INET_DIAG_BC_JMP, .yes = 4, .no = (unsigned short)(bytes_left - 16) };
}

int clinux_diag_ask(
    int fd, int family, uint32_t states, const struct clinux_port_range *ranges, size_t count, uint32_t sequence) {
    if (count == 0 || count > CLINUX_MAX_PORT_RANGES) return -EINVAL;
    struct inet_diag_bc_op code[WORDS_PER_RANGE * CLINUX_MAX_PORT_RANGES];
    size_t code_bytes = count * WORDS_PER_RANGE * sizeof *code;
    for (size_t i = 0; i < count; i++) {
        add_range(code + i * WORDS_PER_RANGE, ranges[i], code_bytes - i * WORDS_PER_RANGE * sizeof *code);
    }
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
        struct nlattr filter;
    } message;
    memset(&message, 0, sizeof message);
    message.header.nlmsg_len = (uint32_t)(sizeof message + code_bytes);
    message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.header.nlmsg_seq = sequence;
    message.request.sdiag_family = (uint8_t)family;
    message.request.sdiag_protocol = IPPROTO_TCP;
    message.request.idiag_ext = 1 << (INET_DIAG_INFO - 1);
    message.request.idiag_states = states;
    message.filter.nla_len = (uint16_t)(sizeof message.filter + code_bytes);
    message.filter.nla_type = INET_DIAG_REQ_BYTECODE;
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    struct iovec parts[2] = {
        { .iov_base = &message, .iov_len = sizeof message }, { .iov_base = code, .iov_len = code_bytes },
    };
    struct msghdr raw = { .msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = parts, .msg_iovlen = 2 };
    ssize_t result;
    do {
        result = sendmsg(fd, &raw, 0);
    } while (result == -1 && errno == EINTR);
    return result == -1 ? -errno : 0;
}

ssize_t clinux_diag_receive(int fd, void *buffer, size_t capacity) {
    struct sockaddr_nl sender;
    struct iovec part = { .iov_base = buffer, .iov_len = capacity };
    struct msghdr raw = { .msg_name = &sender, .msg_iov = &part, .msg_iovlen = 1 };
    for (;;) {
        raw.msg_namelen = sizeof sender;
        ssize_t result = recvmsg(fd, &raw, 0);
        if (result == -1 && errno == EINTR) continue;
        if (result == -1) return -errno;
        if (raw.msg_flags & MSG_TRUNC) return -EMSGSIZE;
        /* Any process may send to a netlink socket; only the kernel has no port. */
        if (raw.msg_namelen == sizeof sender && sender.nl_pid == 0) return result;
    }
}

/* What tcp_info tells; an older kernel's is shorter. */
static void take_info(const struct nlattr *attribute, struct clinux_connection *connection) {
    struct tcp_info info;
    size_t size = attribute->nla_len - NLA_HDRLEN;
    if (size < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received) return;
    memset(&info, 0, sizeof info);
    memcpy(&info, (const char *)attribute + NLA_HDRLEN, size < sizeof info ? size : sizeof info);
    connection->has_info = true;
    connection->bytes_received = info.tcpi_bytes_received;
    connection->last_sent_ms = info.tcpi_last_data_sent;
    connection->last_received_ms = info.tcpi_last_data_recv;
    bool tells = size >= offsetof(struct tcp_info, tcpi_data_segs_out) + sizeof info.tcpi_data_segs_out;
    connection->has_sent = !tells || info.tcpi_data_segs_out > 0;
}

static void take_connection(const struct nlmsghdr *header, struct clinux_connection *connection) {
    struct inet_diag_msg message;
    memcpy(&message, NLMSG_DATA(header), sizeof message);
    memset(connection, 0, sizeof *connection);
    connection->interrupted = (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
    connection->identity = (uint64_t)message.id.idiag_cookie[1] << 32 | message.id.idiag_cookie[0];
    connection->state = message.idiag_state;
    connection->local_port = ntohs(message.id.idiag_sport);
    connection->remote_port = ntohs(message.id.idiag_dport);
    connection->receive_queue = message.idiag_rqueue;
    connection->send_queue = message.idiag_wqueue;
    if (message.idiag_family == AF_INET) {
        connection->remote[10] = connection->remote[11] = 0xff;
        memcpy(connection->remote + 12, message.id.idiag_dst, 4);
    } else {
        memcpy(connection->remote, message.id.idiag_dst, 16);
    }
    size_t place = NLMSG_ALIGN(NLMSG_HDRLEN + sizeof message);
    while (place + NLA_HDRLEN <= header->nlmsg_len) {
        const struct nlattr *attribute = (const struct nlattr *)((const char *)header + place);
        if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > header->nlmsg_len - place) return;
        if ((attribute->nla_type & NLA_TYPE_MASK) == INET_DIAG_INFO) take_info(attribute, connection);
        place += NLA_ALIGN(attribute->nla_len);
    }
}

int clinux_diag_next(
    const void *buffer, size_t count, size_t *place, uint32_t sequence, struct clinux_connection *connection) {
    while (*place < count) {
        const struct nlmsghdr *header = (const struct nlmsghdr *)((const char *)buffer + *place);
        size_t left = count - *place;
        if (left < NLMSG_HDRLEN || header->nlmsg_len < NLMSG_HDRLEN || header->nlmsg_len > left) return -EBADMSG;
        *place += NLMSG_ALIGN(header->nlmsg_len);
        if (header->nlmsg_seq != sequence) continue;
        size_t size = header->nlmsg_len - NLMSG_HDRLEN;
        if (header->nlmsg_type == NLMSG_DONE) {
            int32_t error = 0;
            if (size >= sizeof error) memcpy(&error, NLMSG_DATA(header), sizeof error);
            memset(connection, 0, sizeof *connection);
            connection->interrupted = (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            return error < 0 ? error : CLINUX_DIAG_DONE;
        }
        if (header->nlmsg_type == NLMSG_ERROR) {
            struct nlmsgerr error = { .error = 0 };
            if (size >= sizeof error.error) memcpy(&error.error, NLMSG_DATA(header), sizeof error.error);
            return error.error < 0 ? error.error : -EBADMSG;
        }
        if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || size < sizeof(struct inet_diag_msg)) continue;
        take_connection(header, connection);
        return CLINUX_DIAG_CONNECTION;
    }
    return CLINUX_DIAG_END;
}
