/* A large block that realloc lets grow by small steps, by a quarter each time, or not at all: regrow KIND START END STEP
   KIND: steps, from START to END MiB by STEP KiB; geometric, from START to END MiB; same, END times at START MiB.
   Prints the nanoseconds of a call. New bytes are touched, as by a program that appends to a buffer. */
#include "bench.h"
#include <string.h>

static const char *kind;

static size_t next_size(size_t size, size_t step) {
    return *kind == 's' && kind[1] == 't' ? size + step : size + size / 4;
}

static uint64_t grow(size_t size, size_t end, size_t step, long *calls) {
    char *block = malloc(size);
    memset(block, 1, size);
    uint64_t start = now_ns();
    for (; size < end; ++*calls) {
        size_t next = next_size(size, step);
        block = realloc(block, next);
        memset(block + size, 1, next - size);
        size = next;
    }
    uint64_t took = now_ns() - start;
    free(block);
    return took;
}

static uint64_t keep(size_t size, long count) {
    char *block = malloc(size);
    memset(block, 1, size);
    uint64_t start = now_ns();
    for (long n = 0; n < count; n++) block = realloc(block, size - (size_t)(n & 1));
    uint64_t took = now_ns() - start;
    free(block);
    return took;
}

int main(int argc, char **argv) {
    kind = argc > 1 ? argv[1] : "steps";
    size_t start = (size_t)argument(argc, argv, 2, 8) << 20;
    long end = argument(argc, argv, 3, 64), calls = 0;
    size_t step = (size_t)argument(argc, argv, 4, 16) << 10;
    int is_same = !strcmp(kind, "same");
    uint64_t took = is_same ? keep(start, end) : grow(start, (size_t)end << 20, step, &calls);
    printf("%.1f\n", (double)took / (double)(is_same ? end : calls));
    return 0;
}
