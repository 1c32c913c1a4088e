// Sends probes at a fixed rate, whether or not earlier ones were answered, and measures each from the moment at which
// it was due. A client that waits for an answer before it sends the next leaves out just the probes that would have
// been slow (coordinated omission); this one does not.
//
//   probe PORT PATH RATE SECONDS CONNECTIONS
//
// Prints one line: sent, answered, bad; percentiles 50, 99, 99.9 and the maximum, in microseconds, of the answer's time
// since the probe was due; percentile 99 and the maximum of how late the probe itself was sent; whether it was first.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { most_connections = 512, most_waiting = 4096 };

struct connection {
    int descriptor;
    size_t received;  // bytes of the answer that is arriving
    int64_t due[most_waiting];
    unsigned head, tail;
    int is_bad;
};

static struct connection connections[most_connections];
static struct pollfd entries[most_connections];
static char request[1024];
static size_t request_length, answer_length;
static int64_t *times, *delays;
static size_t answered, sent, bad;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "probe: cannot %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_connection(int port) {
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    int one = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return descriptor;
}

// One exchange, to learn how long an answer is. All are alike while the state does not change.
static void learn_answer(int port) {
    int descriptor = open_connection(port);
    char answer[8192];
    size_t length = 0;
    if (write(descriptor, request, request_length) != (ssize_t)request_length) fail("send");
    while (length < sizeof answer - 1) {
        ssize_t count = read(descriptor, answer + length, sizeof answer - 1 - length);
        if (count <= 0) fail("read an answer");
        length += (size_t)count;
        answer[length] = 0;
        char *end = strstr(answer, "\r\n\r\n"), *field = strcasestr(answer, "\r\nContent-Length: ");
        if (!end || !field) continue;
        answer_length = (size_t)(end + 4 - answer) + strtoul(field + 18, NULL, 10);
        if (length >= answer_length) break;
    }
    if (strncmp(answer, "HTTP/1.1 200 ", 13)) {
        fprintf(stderr, "probe: not 200: %.40s\n", answer);
        exit(1);
    }
    close(descriptor);
}

static void send_probe(struct connection *to, int64_t due) {
    delays[sent++] = now() - due;
    if (to->is_bad || to->tail - to->head == most_waiting) {
        bad++;
        return;
    }
    to->due[to->tail++ % most_waiting] = due;
    if (send(to->descriptor, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) to->is_bad = 1;
}

static void receive(struct connection *from) {
    static char buffer[65536];
    ssize_t count = recv(from->descriptor, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) {
        from->is_bad = 1;
        return;
    }
    int64_t at = now();
    for (size_t place = 0; place < (size_t)count;) {
        if (from->received == 0 && (size_t)count - place >= 12 && strncmp(buffer + place, "HTTP/1.1 200", 12)) bad++;
        size_t left = answer_length - from->received, here = (size_t)count - place;
        size_t taken = here < left ? here : left;
        from->received += taken;
        place += taken;
        if (from->received < answer_length) continue;
        from->received = 0;
        if (from->head != from->tail) times[answered++] = at - from->due[from->head++ % most_waiting];
    }
}

static int compare(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static double percentile(const int64_t *sorted, size_t count, double part) {
    if (count == 0) return 0;
    size_t place = (size_t)((double)count * part);
    return (double)sorted[place < count ? place : count - 1] / 1000;
}

int main(int count, char **words) {
    if (count != 6) {
        fprintf(stderr, "usage: probe PORT PATH RATE SECONDS CONNECTIONS\n");
        return 64;
    }
    int port = atoi(words[1]), number = atoi(words[5]);
    size_t rate = strtoul(words[3], NULL, 10), total = rate * strtoul(words[4], NULL, 10);
    if (number < 1 || number > most_connections || rate < 1 || total < 1) return 64;
    request_length = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: probe\r\n\r\n", words[2]);
    times = calloc(total, sizeof *times);
    delays = calloc(total, sizeof *delays);
    if (!times || !delays) fail("have memory");
    // A real prober has a processor of its own; without the right to this one it competes with the workers.
    struct sched_param priority = {.sched_priority = 10};
    int is_first = sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
    learn_answer(port);
    for (int index = 0; index < number; index++) {
        connections[index].descriptor = open_connection(port);
        entries[index] = (struct pollfd){.fd = connections[index].descriptor, .events = POLLIN};
    }
    int64_t began = now() + 10000000, end = began + (int64_t)(total * 1000000000 / rate) + 5000000000;
    size_t next = 0;
    while ((next < total || answered + bad < sent) && now() < end) {
        int64_t due = began + (int64_t)(next * 1000000000 / rate), wait = next < total ? due - now() : 100000000;
        if (next < total && wait <= 0) {
            send_probe(&connections[next % (size_t)number], due);
            next++;
            continue;
        }
        struct timespec patience = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
        if (ppoll(entries, (nfds_t)number, &patience, NULL) <= 0) continue;
        for (int index = 0; index < number; index++) {
            if (entries[index].revents) receive(&connections[index]);
            if (connections[index].is_bad) entries[index].fd = -1;
        }
    }
    qsort(times, answered, sizeof *times, compare);
    qsort(delays, sent, sizeof *delays, compare);
    printf("%zu %zu %zu %.0f %.0f %.0f %.0f %.0f %.0f %d\n", sent, answered, bad, percentile(times, answered, 0.5),
        percentile(times, answered, 0.99), percentile(times, answered, 0.999), percentile(times, answered, 1),
        percentile(delays, sent, 0.99), percentile(delays, sent, 1), is_first);
    return 0;
}
