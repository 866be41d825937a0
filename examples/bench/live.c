/* Pairs that are all sampled (lg_prof_sample:0) while LIVE other samples exist: live COUNT LIVE [THREADS]
 * Prints the CPU nanoseconds of one pair, the median of ten parts. It begins after a second: a profiler may look more
 * closely at a process that has just started. */
#include "bench.h"
#include <pthread.h>
#include <unistd.h>

#define PARTS 10

static long count;
static double parts[64][PARTS];

static double thread_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void *work(void *number) {
    for (int part = 0; part < PARTS; part++) {
        double start = thread_ns();
        for (long i = 0; i < count / PARTS; i++) {
            free(touched(40));
        }
        parts[(long)number][part] = (thread_ns() - start) / (double)(count / PARTS);
    }
    return NULL;
}

static int by_size(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

int main(int argc, char **argv) {
    count = argument(argc, argv, 1, 1000000);
    for (long i = argument(argc, argv, 2, 0); i > 0; i--) {
        touched(40);
    }
    for (uint64_t start = now_ns(); now_ns() - start < 1200000000u;) {
        usleep(10000);
        free(touched(40));
    }
    long threads = argument(argc, argv, 3, 1);
    pthread_t others[64];
    for (long i = 1; i < threads && i < 64; i++) {
        pthread_create(&others[i], NULL, work, (void *)i);
    }
    work(NULL);
    for (long i = 1; i < threads && i < 64; i++) {
        pthread_join(others[i], NULL);
    }
    qsort(parts, (size_t)threads * PARTS, sizeof parts[0][0], by_size);
    printf("%.1f\n", parts[0][threads * PARTS / 2]);
    return 0;
}
