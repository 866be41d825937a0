/* Two threads time each of their mallocs while dumps of many stacks are written: stall STACKS SECONDS BYTES
 * A third one allocates BYTES (the interval of dumps, or 0) after the first second, so that one dump is due then.
 * Prints p50, p99.9 and the longest call in nanoseconds, of both measuring threads together. */
#include "bench.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define BINS 4096
/* Large enough that nearly every one is sampled at lg_prof_sample:17; never touched. */
#define SAMPLED_BYTES (512 << 10)

static atomic_int ended;
static uint64_t bins[2][BINS];
static uint64_t longest[2];

static NOINLINE long left(long path, int levels);

/* A path of LEVELS bits through two functions is a stack of its own. */
static NOINLINE long right(long path, int levels) {
    if (levels == 0) {
        void *volatile block = malloc(SAMPLED_BYTES);
        return block != NULL;
    }
    return (path & 1 ? right(path >> 1, levels - 1) : left(path >> 1, levels - 1)) + 1;
}

static NOINLINE long left(long path, int levels) {
    if (levels == 0) {
        void *volatile block = malloc(SAMPLED_BYTES);
        return block != NULL;
    }
    return (path & 1 ? right(path >> 1, levels - 1) : left(path >> 1, levels - 1)) + 2;
}

static void *measure(void *number) {
    uint64_t random = 88172645463325252u + (uint64_t)(uintptr_t)number;
    uint64_t *own = bins[(long)number];
    while (!atomic_load_explicit(&ended, memory_order_relaxed)) {
        uint64_t start = now_ns();
        void *block = touched(16 + next_random(&random) % 497);
        uint64_t took = now_ns() - start;
        free(block);
        own[took < BINS * 8 ? took / 8 : BINS - 1]++;
        longest[(long)number] = took > longest[(long)number] ? took : longest[(long)number];
    }
    return NULL;
}

static uint64_t percentile(double share) {
    uint64_t all = 0, seen = 0;
    for (int bin = 0; bin < BINS; bin++) {
        all += bins[0][bin] + bins[1][bin];
    }
    for (int bin = 0; bin < BINS; bin++) {
        seen += bins[0][bin] + bins[1][bin];
        if ((double)seen >= share * (double)all) {
            return (uint64_t)bin * 8;
        }
    }
    return BINS * 8;
}

int main(int argc, char **argv) {
    long stacks = argument(argc, argv, 1, 100000);
    long seconds = argument(argc, argv, 2, 4);
    long bytes = argument(argc, argv, 3, 0);
    for (long path = 0; path < stacks; path++) {
        right(path, 17);
    }
    pthread_t threads[2];
    for (long i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, measure, (void *)i);
    }
    sleep(1);
    while (bytes > 0) {
        free(touched(1 << 20));
        bytes -= 1 << 20;
    }
    sleep((unsigned)seconds);
    atomic_store(&ended, 1);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%lu %lu %lu\n", percentile(0.5), percentile(0.999), longest[0] > longest[1] ? longest[0] : longest[1]);
    return 0;
}
