/* What the workloads share: arguments, random numbers, a clock. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOINLINE __attribute__((noinline))

/* The argument at `index`, or `otherwise`. */
static inline long argument(int argc, char **argv, int index, long otherwise) {
    return index < argc ? atol(argv[index]) : otherwise;
}

/* xorshift64: the same sequence in every run. */
static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* malloc that the compiler cannot take out together with its free; the block is touched. */
static inline void *touched(size_t size) {
    char *volatile block = malloc(size);
    *block = 1;
    return block;
}
