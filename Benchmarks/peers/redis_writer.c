/* How fast a program in C fills Redis: SET key value EX 604800, so many commands a batch.
 * batch:  a batch is formatted and sent, then its replies are waited for.
 * window: four batches are under way; the oldest one's replies are waited for before the next is made.
 * redis_writer SOCKET LISTS ENTRIES BATCH batch|window: prints lists a second and the bytes of a value.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static char *number(char *at, long value) {
    char digits[20];
    int count = 0;
    do digits[count++] = '0' + value % 10; while (value /= 10);
    while (count) *at++ = digits[--count];
    return at;
}

/* ["1000042",...]: distinct ids of seven digits. */
static char *list(char *at, long user, int entries) {
    long step = user % (100000 / entries) | 1, item = user * 7919 % 100000;
    *at++ = '[';
    for (int i = 0; i < entries; i++, item = (item + step) % 100000) {
        if (i) *at++ = ',';
        *at++ = '"';
        at = number(at, 1000000 + item);
        *at++ = '"';
    }
    *at++ = ']';
    return at;
}

static char *argument(char *at, const char *bytes, long count) {
    *at++ = '$';
    at = number(at, count);
    memcpy(at, "\r\n", 2), at += 2;
    memcpy(at, bytes, count), at += count;
    memcpy(at, "\r\n", 2);
    return at + 2;
}

static void must(int is, const char *what) {
    if (!is) fprintf(stderr, "%s\n", what), exit(1);
}

static void send_all(int fd, const char *bytes, long count) {
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        must(sent > 0, "send failed");
        bytes += sent, count -= sent;
    }
}

/* Every reply must be +OK: five bytes. */
static void take(int fd, long replies) {
    static char bytes[65536];
    long left = 5 * replies, place = 0;
    while (left > 0) {
        ssize_t got = recv(fd, bytes, left < 65536 ? left : 65536, 0);
        must(got > 0, "recv failed");
        for (ssize_t i = 0; i < got; i++) must(bytes[i] == "+OK\r\n"[place++ % 5], "an error came back");
        left -= got;
    }
}

int main(int count, char **words) {
    must(count == 6, "usage: redis_writer SOCKET LISTS ENTRIES BATCH batch|window");
    long lists = atol(words[2]), batch = atol(words[4]), bytes = 0;
    int entries = atoi(words[3]), under_way = strcmp(words[5], "window") ? 1 : 4;
    redisContext *redis = redisConnectUnix(words[1]);
    must(redis && !redis->err, "cannot connect");
    char *buffer = malloc(batch * (entries * 10 + 120)), value[65536], key[64];
    long waiting[4] = {0};
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long user = 0, turn = 0; user < lists; turn++) {
        char *at = buffer;
        long last = user + batch < lists ? user + batch : lists, made = last - user;
        for (; user < last; user++) {
            char *key_end = number(key + sprintf(key, "rec:bench:1:u"), user);
            char *value_end = list(value, user, entries);
            bytes += value_end - value;
            memcpy(at, "*5\r\n$3\r\nSET\r\n", 13), at += 13;
            at = argument(at, key, key_end - key);
            at = argument(at, value, value_end - value);
            memcpy(at, "$2\r\nEX\r\n$6\r\n604800\r\n", 20), at += 20;
        }
        take(redis->fd, waiting[turn % under_way]);
        send_all(redis->fd, buffer, at - buffer);
        waiting[turn % under_way] = made;
        if (under_way == 1) take(redis->fd, made), waiting[0] = 0;
    }
    for (int i = 0; i < under_way; i++) take(redis->fd, waiting[i]);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) * 1e-9;
    printf("{\"rate\": %.0f, \"value\": %.1f, \"processor\": %.3f}\n", lists / seconds,
           (double)bytes / lists, (double)clock() / CLOCKS_PER_SEC / lists * 1e6);
}
