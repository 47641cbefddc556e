/* Many listeners in one process: connects them, reads what they are sent, checks every frame, and says how it was.
 *
 * The frames are tests.bench.source's: 417 bytes of MP3 with a number in them, so that a missing or repeated one is
 * seen, and how long one took from its moment at the source. Of other streams only bytes are counted. Linux only:
 * epoll, bind before connect.
 *
 * swarm NAME=NUMBER...
 *   port, count          whom to ask, and how many listeners
 *   mounts=1             listener n asks for /mN, N = n modulo this
 *   icy=0                1 asks for titles
 *   stalled=0            so many never read
 *   first=0              so many come first, spread over their ramp; all others then come at once
 *   ramp_us=2000         between two connections
 *   format=0             0: numbered frames; 1: any; 2: Ogg, whose audio begins at the first page with a granule position
 *   warm_ms, measure_ms  how long to wait once all have had audio, and how long to measure then
 *   epoch_ns, frame_ns   monotonic time of frame 0, and how long a frame lasts
 *
 * A line "ready" is printed when the measuring is about to begin, and one JSON object at its end. With first=N it
 * begins before the others come, and their arrival is part of it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 417, BUCKETS = 20000, PER_ADDRESS = 4000 };
enum { NUMBERED, ANY, OGG };

struct ear {
    int fd, headers, metaint, stalled;
    uint32_t matched;       /* bytes of "\r\n\r\n" seen */
    char line[256]; int line_length;
    int until, meta;        /* audio before the next ICY block; bytes left of a block, -1 for its length byte */
    int at; char number[9]; /* in the frame */
    int page_at, page_left, segments; int64_t granule; /* in an Ogg page */
    int64_t last;           /* frame, -1 before the first */
    int64_t begun, connected, first_byte, first_audio, heard, worst_gap;
};

static int format;
static int64_t epoch, frame_ns, measure_from, measure_until;
static uint64_t bytes, frames, missing, repeated, broken, closed_early, delay[BUCKETS];

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void whole_frame(struct ear *e, int64_t now) {
    e->number[8] = 0;
    int64_t number = atoll(e->number);
    int measured = now >= measure_from && now < measure_until;
    if (e->last >= 0 && number != e->last + 1 && measured) {
        if (number > e->last) missing += number - e->last - 1; else repeated++;
    }
    if (measured) {
        frames++;
        int64_t ms = (now - (epoch + number * frame_ns)) / 1000000;
        delay[ms < 0 ? 0 : ms >= BUCKETS ? BUCKETS - 1 : ms]++;
    }
    e->last = number;
}

static void audio(struct ear *e, const char *data, int length, int64_t now) {
    for (int i = 0; i < length;) {
        int need = e->at < 5 ? 5 - e->at : e->at < 13 ? 13 - e->at : FRAME - e->at;
        int take = need < length - i ? need : length - i;
        if (e->at == 0 && (unsigned char)data[i] != 0xff) { /* not at a frame: find one */
            if (e->last >= 0) broken++;
            i++;
            continue;
        }
        if (e->at >= 5 && e->at < 13) memcpy(e->number + e->at - 5, data + i, take);
        e->at += take;
        i += take;
        if (e->at == FRAME) { e->at = 0; whole_frame(e, now); }
    }
}

/* Ogg (RFC 3533): header of 27 bytes with the granule position at 6, the lacing values, the data. */
static void pages(struct ear *e, const char *data, int length, int64_t now) {
    for (int i = 0; i < length && !e->first_audio;) {
        unsigned char c = (unsigned char)data[i];
        if (e->page_left && e->page_at >= 27 + e->segments) {
            int take = e->page_left < length - i ? e->page_left : length - i;
            i += take;
            if (!(e->page_left -= take)) e->page_at = 0;
            continue;
        }
        if (e->page_at == 0) { e->granule = 0; e->page_left = 0; e->segments = 0; }
        if (e->page_at >= 6 && e->page_at < 14) e->granule |= (int64_t)c << 8 * (e->page_at - 6);
        if (e->page_at == 26) e->segments = c;
        if (e->page_at >= 27) e->page_left += c;
        e->page_at++;
        i++;
        if (e->page_at >= 27 && e->page_at == 27 + e->segments) {
            if (e->granule > 0) e->first_audio = now;
            if (!e->page_left) e->page_at = 0;
        }
    }
}

static void stream(struct ear *e, const char *data, int length, int64_t now) {
    if (format == OGG) { if (!e->first_audio) pages(e, data, length, now); return; }
    if (!e->first_audio) e->first_audio = now;
    if (format == NUMBERED) audio(e, data, length, now);
}

static void body(struct ear *e, const char *data, int length, int64_t now) {
    if (!e->metaint) { stream(e, data, length, now); return; }
    for (int i = 0; i < length;) {
        if (e->meta == -1) { e->meta = 16 * (unsigned char)data[i++]; if (!e->meta) e->until = e->metaint; }
        else if (e->meta > 0) {
            int take = e->meta < length - i ? e->meta : length - i;
            i += take;
            if (!(e->meta -= take)) e->until = e->metaint;
        } else {
            int take = e->until < length - i ? e->until : length - i;
            stream(e, data + i, take, now);
            i += take;
            if (!(e->until -= take)) e->meta = -1;
            continue;
        }
    }
}

static void received(struct ear *e, const char *data, int length) {
    int64_t now = now_ns();
    if (!e->first_byte) e->first_byte = now;
    if (now >= measure_from && now < measure_until) {
        bytes += length;
        int64_t since = e->heard > measure_from ? e->heard : measure_from;
        if (now - since > e->worst_gap) e->worst_gap = now - since;
    }
    e->heard = now;
    int i = 0;
    while (!e->headers && i < length) {
        char c = data[i++];
        if (c == '\n') {
            e->line[e->line_length] = 0;
            if (!strncasecmp(e->line, "icy-metaint:", 12)) e->metaint = e->until = atoi(e->line + 12);
            if (e->line_length == 0) e->headers = 1;
            e->line_length = 0;
        } else if (c != '\r' && e->line_length < (int)sizeof e->line - 1) e->line[e->line_length++] = c;
    }
    if (i < length) body(e, data + i, length - i, now);
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void quantiles(const char *name, int64_t *values, int count, const char *after) {
    qsort(values, count, sizeof *values, compare);
    if (!count) { printf("\"%s\": null%s", name, after); return; }
    printf("\"%s\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}%s", name, values[count / 2] / 1e6,
           values[(int)(count * 0.99)] / 1e6, values[count - 1] / 1e6, after);
}

static int64_t option(int argc, char **argv, const char *name, int64_t otherwise) {
    size_t length = strlen(name);
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], name, length) && argv[i][length] == '=') return atoll(argv[i] + length + 1);
    return otherwise;
}

int main(int argc, char **argv) {
    int port = (int)option(argc, argv, "port", 8000), count = (int)option(argc, argv, "count", 1);
    int mounts = (int)option(argc, argv, "mounts", 1), icy = (int)option(argc, argv, "icy", 0);
    int stalled = (int)option(argc, argv, "stalled", 0), first = (int)option(argc, argv, "first", 0);
    int64_t ramp = option(argc, argv, "ramp_us", 400) * 1000, warm = option(argc, argv, "warm_ms", 4000) * 1000000;
    int64_t measure = option(argc, argv, "measure_ms", 10000) * 1000000;
    format = (int)option(argc, argv, "format", NUMBERED);
    epoch = option(argc, argv, "epoch_ns", 0);
    frame_ns = option(argc, argv, "frame_ns", 1);
    measure_from = measure_until = INT64_MAX / 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct ear *ears = calloc(count, sizeof *ears);
    int poll = epoll_create1(0), opened = 0, playing = 0, ready = 0;
    int64_t next = now_ns(), ready_at = 0, deadline = now_ns() + 180000000000LL;
    static char data[262144];
    struct epoll_event events[512];
    for (;;) {
        int64_t now = now_ns();
        int allowed = first && ready < 2 ? first : count;
        while (opened < allowed && now >= next) {
            struct ear *e = &ears[opened];
            struct sockaddr_in here = {.sin_family = AF_INET}, there = {.sin_family = AF_INET, .sin_port = htons(port)};
            int one = 1;
            here.sin_addr.s_addr = htonl(0x7f000100 + opened / PER_ADDRESS);
            there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            e->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            setsockopt(e->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
            e->stalled = opened < stalled;
            if (e->stalled) { int small = 4096; setsockopt(e->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small); }
            e->begun = now_ns();
            e->last = -1;
            if (e->fd < 0 || bind(e->fd, (struct sockaddr *)&here, sizeof here) ||
                (connect(e->fd, (struct sockaddr *)&there, sizeof there) && errno != EINPROGRESS)) {
                perror("connect");
                return 1;
            }
            struct epoll_event event = {.events = EPOLLOUT, .data.ptr = e};
            epoll_ctl(poll, EPOLL_CTL_ADD, e->fd, &event);
            opened++;
            next += opened < first || !first ? ramp : 0;
        }
        if (!ready && opened == allowed && playing >= allowed - stalled) { ready = 1; ready_at = now; }
        if (ready == 1 && now >= ready_at + warm) {
            printf("ready\n");
            fflush(stdout);
            ready = 2;
            next = now + 1000000000; /* the others come a second later, where there are any */
            measure_from = now + 500000000;
            measure_until = measure_from + measure;
        }
        if (now >= measure_until + 200000000 || (ready < 2 && now > deadline)) break;
        int64_t wait = opened < allowed ? (next - now) / 1000000 : 50;
        int found = epoll_wait(poll, events, 512, wait < 0 ? 0 : wait > 50 ? 50 : (int)wait);
        for (int i = 0; i < found; i++) {
            struct ear *e = events[i].data.ptr;
            if (!e->connected) {
                char request[256];
                int error = 0;
                socklen_t size = sizeof error;
                getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &size);
                if (error) { fprintf(stderr, "connect: %s\n", strerror(error)); return 1; }
                e->connected = now_ns();
                int length = snprintf(request, sizeof request, "GET /m%d HTTP/1.0\r\nUser-Agent: swarm\r\n%s\r\n",
                                      (int)(e - ears) % mounts, icy ? "Icy-MetaData: 1\r\n" : "");
                if (write(e->fd, request, length) != length) return 1;
                struct epoll_event event = {.events = e->stalled ? 0 : EPOLLIN, .data.ptr = e};
                epoll_ctl(poll, EPOLL_CTL_MOD, e->fd, &event);
                continue;
            }
            int got = (int)read(e->fd, data, sizeof data);
            if (got > 0) {
                int had = e->first_audio != 0;
                received(e, data, got);
                playing += !had && e->first_audio;
            } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
                if (!e->stalled) closed_early++;
                if (!e->first_audio) playing++;
                epoll_ctl(poll, EPOLL_CTL_DEL, e->fd, NULL);
            }
        }
    }
    uint64_t total = 0, sum = 0;
    int p50 = -1, p99 = -1, worst = 0, heard = 0;
    for (int i = 0; i < BUCKETS; i++) total += delay[i];
    for (int i = 0; i < BUCKETS; i++) {
        sum += delay[i];
        if (p50 < 0 && sum * 2 >= total) p50 = i;
        if (p99 < 0 && sum * 100 >= total * 99) p99 = i;
        if (delay[i]) worst = i;
    }
    int64_t first_gap = 0;
    int64_t *gaps = calloc(count, 8), *connects = calloc(count, 8), *joins = calloc(count, 8);
    for (int i = 0; i < count; i++) {
        struct ear *e = &ears[i];
        if (e->stalled || !e->first_audio) continue;
        if (measure_until - e->heard > e->worst_gap && e->heard > measure_from) e->worst_gap = measure_until - e->heard;
        if (i < first && e->worst_gap > first_gap) first_gap = e->worst_gap;
        gaps[heard] = e->worst_gap;
        connects[heard] = e->connected - e->begun;
        joins[heard++] = e->first_audio - e->begun;
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"heard\": %d, \"bytes\": %llu, \"frames\": %llu, \"missing\": %llu, \"repeated\": %llu, \"broken\": %llu, "
           "\"closed\": %llu, \"delay_ms\": {\"p50\": %d, \"p99\": %d, \"max\": %d}, ",
           heard, (unsigned long long)bytes, (unsigned long long)frames, (unsigned long long)missing,
           (unsigned long long)repeated, (unsigned long long)broken, (unsigned long long)closed_early, p50, p99, worst);
    quantiles("gap_ms", gaps, heard, ", ");
    quantiles("connect_ms", connects, heard, ", ");
    quantiles("join_ms", joins, heard, ", ");
    printf("\"first_gap_ms\": %.3f, \"swarm_cpu_seconds\": %.2f}\n", first_gap / 1e6,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}
