/* One thread allocates, another frees, through a ring: exchange COUNT */
#include "bench.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define RING 4096

static long count;
static void *ring[RING];
static _Alignas(64) atomic_long written;
static _Alignas(64) atomic_long taken;

static void *consume(void *unused) {
    for (long i = 0; i < count; i++) {
        while (atomic_load_explicit(&written, memory_order_acquire) <= i) {
            sched_yield();
        }
        free(ring[i % RING]);
        atomic_store_explicit(&taken, i + 1, memory_order_release);
    }
    return unused;
}

int main(int argc, char **argv) {
    count = argument(argc, argv, 1, 1000000);
    pthread_t consumer;
    pthread_create(&consumer, NULL, consume, NULL);
    uint64_t random = 88172645463325252u;
    for (long i = 0; i < count; i++) {
        while (i - atomic_load_explicit(&taken, memory_order_acquire) >= RING) {
            sched_yield();
        }
        ring[i % RING] = touched(16 + next_random(&random) % 497);
        atomic_store_explicit(&written, i + 1, memory_order_release);
    }
    pthread_join(consumer, NULL);
    return 0;
}
