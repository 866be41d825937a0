// Sixty threads allocate at once, each in an arena of its own, and free all but one block of a page: malloc keeps most
// of what it took. Says what mallinfo2 says, and waits for a line.
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 60, BLOCKS = 4000, EACH = 16 };

static pthread_barrier_t together;
static void *held[THREADS][BLOCKS / EACH];

static void *fragment(void *number) {
    void *blocks[BLOCKS];
    pthread_barrier_wait(&together);
    for (int n = 0; n < BLOCKS; n++) memset(blocks[n] = malloc(600), 1, 600);
    pthread_barrier_wait(&together);
    for (int n = 0; n < BLOCKS; n++) {
        if (n % EACH) free(blocks[n]);
        else held[(long)number][n / EACH] = blocks[n];
    }
    // Nobody ends before all are there: an arena whose thread has ended serves another one.
    pthread_barrier_wait(&together);
    return NULL;
}

int main(void) {
    static pthread_t threads[THREADS];
    // The first sample makes the region; what other threads allocate in that moment goes without one.
    for (int n = 0; n < BLOCKS; n++) free(malloc(600));
    pthread_barrier_init(&together, NULL, THREADS);
    for (long n = 0; n < THREADS; n++) pthread_create(&threads[n], NULL, fragment, (void *)n);
    for (int n = 0; n < THREADS; n++) pthread_join(threads[n], NULL);
    struct mallinfo2 told = mallinfo2();
    printf("%zu %zu\n", told.uordblks + told.hblkhd, told.fordblks);
    fflush(stdout);
    getchar();
    puts(held[0][0] ? "ok" : "lost");
}
