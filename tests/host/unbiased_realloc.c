// unbiased_realloc FIRST SECOND COUNT THREADS: each thread resizes one block COUNT times to FIRST and to SECOND bytes in turn: what
// all of that sums up to stands in the cumulative columns of the dump. Then many blocks are resized a few times and stay: what
// is live in the end stands in the others.
#include "check.h"
#include <pthread.h>

static size_t first, second, count;
enum { KEPT = 2000 };

__attribute__((noinline)) static void *to_first(void *block) {
    block = realloc(block, first);
    __asm__ volatile("" ::"r"(block) : "memory");
    CHECK(block);
    return block;
}
__attribute__((noinline)) static void *to_second(void *block) {
    block = realloc(block, second);
    __asm__ volatile("" ::"r"(block) : "memory");
    CHECK(block);
    return block;
}
__attribute__((noinline)) static void *to_last(void *block) {
    block = realloc(block, second);
    __asm__ volatile("" ::"r"(block) : "memory");
    CHECK(block);
    return block;
}

static void *turns(void *none) {
    void *block = NULL;
    for (size_t n = 0; n < count; n++) block = to_second(to_first(block));
    free(block);
    return none;
}

int main(int argc, char **argv) {
    NEED(argc == 5);
    first = strtoul(argv[1], NULL, 10), second = strtoul(argv[2], NULL, 10), count = strtoul(argv[3], NULL, 10);
    int threads = atoi(argv[4]);
    pthread_t ids[64];
    for (int n = 0; n < threads; n++) pthread_create(&ids[n], NULL, turns, NULL);
    for (int n = 0; n < threads; n++) pthread_join(ids[n], NULL);
    for (int n = 0; n < KEPT; n++) {
        void *block = malloc(first);
        for (int turn = 0; turn < 4; turn++) block = realloc(realloc(block, second), first);
        __asm__ volatile("" ::"r"(to_last(block)) : "memory");
    }
}
