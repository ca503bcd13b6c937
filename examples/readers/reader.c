/* One list of a feed by the function rec_get, which larder leaves in Redis 7: one round trip, and the
 * answer names its release, arm, source and format. cc reader.c -lhiredis; docs/cache.md has the bytes.
 */
#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Prints the ids of a packed list, a line each. */
static void print_packed(const unsigned char *list)
{
    size_t size = (size_t[]){4, 8, 2}[list[1] & 3];
    unsigned count = list[2] | list[3] << 8;

    for (list += 4; count--; list += size) {
        uint64_t number = 0;
        for (size_t byte = size; byte--;) number = number << 8 | list[byte];
        if (size == 2) { /* the length of a text */
            printf("%.*s\n", (int)number, list + size);
            list += number;
        } else
            printf("%llu\n", (unsigned long long)number);
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) return fprintf(stderr, "usage: reader SOCKET FEED ID [K [SEGMENT [CATEGORY]]]\n"), 64;
    redisContext *redis = redisConnectUnix(argv[1]);
    if (!redis || redis->err) return fprintf(stderr, "error: %s\n", redis ? redis->errstr : "no memory"), 69;
    redisReply *answer = redisCommand(redis, "FCALL_RO rec_get 1 rec:%s:live %s %s %s %s", argv[2], argv[3],
                                      argc > 4 ? argv[4] : "", argc > 5 ? argv[5] : "", argc > 6 ? argv[6] : "");
    if (!answer || answer->type != REDIS_REPLY_ARRAY)
        return fprintf(stderr, "error: %s\n", answer && answer->str ? answer->str : "no live release"), 1;
    redisReply **part = answer->element;
    printf("release %s arm %s source %s\n", part[0]->str, part[1]->str, part[2]->str);
    if (strncmp(part[3]->str, "packed", 6)) puts(part[4]->str);
    else print_packed((const unsigned char *)part[4]->str);
}
