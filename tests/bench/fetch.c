/* Many clients that ask for small things again and again: each on one connection that is kept, its next request when it
 * has the whole reply to the one before. Linux only: epoll.
 *
 * fetch PORT CONNECTIONS MILLISECONDS FOLLOW GZIP TARGET
 *   FOLLOW   1: TARGET is a media playlist, and each client asks for the next part that the last one hinted at
 *   GZIP     1: take gzip (not with FOLLOW, which reads the playlist)
 *   TARGET   path and query; "%d" in it is the client's number
 *
 * Prints one JSON object: replies with status 200, others, bytes, and the seconds from a client's request to the last
 * byte of its reply, p50 and p99.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REPLY = 1 << 20, BUCKETS = 200000 };

struct client {
    int fd, number, have, need; /* bytes of the reply that are there; of all of it, 0 before its head is */
    int64_t asked;
    char *reply;
};

static const char *target;
static int follow, takes_gzip;
static uint64_t good, bad, bytes, took[BUCKETS]; /* by 0.1 ms */

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void ask(struct client *c, const char *more) {
    char path[1000], request[2000];
    snprintf(path, sizeof path, target, c->number);
    int length = snprintf(request, sizeof request,
        "GET %s%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: fetch/%d\r\nAccept: */*\r\n%s\r\n",
        path, more, c->number, takes_gzip ? "Accept-Encoding: gzip, deflate, br\r\n" : "");
    if (send(c->fd, request, length, MSG_NOSIGNAL) != length) { perror("send"); exit(1); }
    c->have = c->need = 0;
    c->asked = now_ns();
}

static void ask_next(struct client *c) {
    char more[100] = "";
    if (follow) {
        char *hint = strstr(c->reply, "#EXT-X-PRELOAD-HINT:"), *dash = hint ? strchr(strstr(hint, "URI="), '-') : NULL;
        long number; int part;
        if (!dash || sscanf(dash + 1, "%ld.%d", &number, &part) != 2) { fprintf(stderr, "no hint: %s\n", c->reply); exit(1); }
        snprintf(more, sizeof more, "%c_HLS_msn=%ld&_HLS_part=%d", strchr(target, '?') ? '&' : '?', number, part);
    }
    ask(c, more);
}

static void whole(struct client *c) {
    int64_t bucket = (now_ns() - c->asked) / 100000;
    took[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    bytes += c->need;
    c->reply[c->need] = 0;
    if (strncmp(c->reply + 9, "200", 3) == 0) good++; else bad++;
    ask_next(c);
}

static void receive(struct client *c) {
    int got = recv(c->fd, c->reply + c->have, REPLY - 1 - c->have, MSG_DONTWAIT);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN) return;
        fprintf(stderr, "a connection ended\n");
        exit(1);
    }
    c->have += got;
    c->reply[c->have] = 0;
    if (!c->need) {
        char *end = strstr(c->reply, "\r\n\r\n"), *length = strcasestr(c->reply, "content-length:");
        if (!end) return;
        if (!length || length > end) { fprintf(stderr, "no length: %s\n", c->reply); exit(1); }
        c->need = end + 4 - c->reply + atoi(length + 15);
    }
    if (c->have >= c->need) whole(c);
}

static double percentile(double share) {
    uint64_t all = good + bad, reached = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((reached += took[i]) >= share * all) return i / 1e4;
    return BUCKETS / 1e4;
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    int port = atoi(argv[1]), count = atoi(argv[2]);
    int64_t until = now_ns() + atoll(argv[3]) * 1000000;
    follow = atoi(argv[4]);
    takes_gzip = atoi(argv[5]);
    target = argv[6];
    int poll = epoll_create1(0);
    for (int n = 0; n < count; n++) {
        struct client *c = calloc(1, sizeof *c);
        c->reply = malloc(REPLY);
        c->number = n;
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) { perror("connect"); return 1; }
        int on = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event);
        ask(c, "");
    }
    struct epoll_event events[256];
    while (now_ns() < until) {
        int ready = epoll_wait(poll, events, 256, 50);
        for (int i = 0; i < ready; i++) receive(events[i].data.ptr);
    }
    printf("{\"good\": %lu, \"bad\": %lu, \"bytes\": %lu, \"p50\": %.4f, \"p99\": %.4f}\n",
        good, bad, bytes, percentile(0.5), percentile(0.99));
    return 0;
}
