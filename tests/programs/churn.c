// Four threads allocate and free at random, and each leaks a block of 1,000 bytes now and then. The exact
// number of leaked blocks stands at all times in the file named by the first argument (8 bytes, mapped).
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { THREADS = 4, SLOTS = 2000, LEAK = 1000 };
static _Atomic uint64_t *leaked;
static void *volatile last_leak[THREADS];

__attribute__((noinline)) static void leak_one(long thread) {
    void **block = malloc(LEAK);
    memset(block, 1, LEAK);
    *block = last_leak[thread];
    last_leak[thread] = block;
    (*leaked)++;
}

static void *churn(void *argument) {
    long thread = (long)argument;
    void **slots = calloc(SLOTS, sizeof *slots);
    uint64_t state = 88172645463325252ull + thread;
    for (uint64_t round = 0;; round++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        void **slot = &slots[state % SLOTS];
        free(*slot);
        *slot = malloc(16 + (state >> 20) % 2000);
        if (round % 16 == 0) leak_one(thread);
        if (*leaked > 200000) usleep(1000);
    }
}

int main(int count, char **arguments) {
    int file = open(arguments[count - 1], O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, sizeof *leaked)) return 1;
    leaked = mmap(NULL, sizeof *leaked, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    for (long thread = 0; thread < THREADS; thread++) {
        pthread_t id;
        pthread_create(&id, NULL, churn, (void *)thread);
    }
    puts("running"), fflush(stdout);
    pause();
    return 0;
}
