// unbiased SIZE COUNT THREADS: each thread allocates COUNT blocks of SIZE bytes, one after the other freed again.
// What all of them sum up to stands in the cumulative columns of the dump.
#include "check.h"
#include <pthread.h>

static size_t size, count;

__attribute__((noinline)) static void *pairs(void *none) {
    for (size_t n = 0; n < count; n++) {
        char *block = malloc(size);
        CHECK(block);
        __asm__ volatile("" ::"r"(block) : "memory");
        free(block);
    }
    return none;
}

int main(int argc, char **argv) {
    NEED(argc == 4);
    size = strtoul(argv[1], NULL, 10), count = strtoul(argv[2], NULL, 10);
    int threads = atoi(argv[3]);
    pthread_t ids[64];
    for (int n = 0; n < threads; n++) pthread_create(&ids[n], NULL, pairs, NULL);
    for (int n = 0; n < threads; n++) pthread_join(ids[n], NULL);
}
