/* Replaces random blocks of a working set: working_set COUNT [THREADS] (COUNT for each thread) */
#include "bench.h"
#include <pthread.h>

#define SLOTS 10000

static long count;

/* 1.6 % of up to 32 KiB, the rest of 16 to 512 bytes: 526 bytes on average. */
static size_t some_size(uint64_t random) {
    return (random & 63) == 0 ? 16 + (random >> 8) % 32753 : 16 + (random >> 8) % 497;
}

static void *work(void *seed) {
    uint64_t random = 88172645463325252u + (uint64_t)(uintptr_t)seed * 7919;
    void **slots = calloc(SLOTS, sizeof *slots);
    for (long i = 0; i < count; i++) {
        void **slot = &slots[next_random(&random) % SLOTS];
        free(*slot);
        *slot = touched(some_size(next_random(&random)));
    }
    for (long i = 0; i < SLOTS; i++) {
        free(slots[i]);
    }
    free(slots);
    return NULL;
}

int main(int argc, char **argv) {
    count = argument(argc, argv, 1, 1000000);
    long threads = argument(argc, argv, 2, 1);
    pthread_t others[64];
    for (long i = 1; i < threads && i < 64; i++) {
        pthread_create(&others[i], NULL, work, (void *)i);
    }
    work(NULL);
    for (long i = 1; i < threads && i < 64; i++) {
        pthread_join(others[i], NULL);
    }
    return 0;
}
