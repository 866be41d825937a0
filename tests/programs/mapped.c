/* Maps memory and starts threads when it is told to, and meets limits.

   grow:   at first 40 MiB of malloc, one range of 1 MiB and 5 threads; then, with each line of its input, 8 ranges of
           1 MiB and 40 threads more, and after the first line 5 of the threads end
   space N: maps until an address space of N MiB does not hold another 16 MiB
   maps:   maps pages until the kernel allows no more mappings
   threads: starts threads until it may not start another
   fill:   takes 136 MiB from malloc; then, with a line of its input, more until it is killed */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static volatile int may_end;

static void *worker(void *is_short) {
    volatile char room[64 << 10];
    for (size_t at = 0; at < sizeof room; at += 1024) room[at] = 1;
    while (!is_short || !may_end) usleep(20000);
    return NULL;
}

__attribute__((noinline)) int start_pool(int threads, int are_short) {
    for (int n = 0; n < threads; n++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, worker, are_short ? &may_end : NULL)) return -1;
    }
    return 0;
}

__attribute__((noinline)) char *map_index(size_t bytes, int protection) {
    char *mapped = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

static void say(const char *word) {
    puts(word);
    fflush(stdout);
}

static void grow(void) {
    for (int n = 0; n < 40; n++) memset(malloc(1 << 20), 1, 1 << 20);
    memset(map_index(1 << 20, PROT_READ | PROT_WRITE), 1, 1 << 20);
    if (start_pool(5, 1)) abort();
    say("ready");
    while (getchar() == '\n') {
        for (int n = 0; n < 8; n++) memset(map_index(1 << 20, PROT_READ | PROT_WRITE), 1, 1 << 20);
        if (start_pool(40, 0)) abort();
        may_end = 1;
        say("done");
    }
}

int main(int count, char **words) {
    if (count < 2) return 2;
    if (!strcmp(words[1], "grow")) return grow(), 0;
    // There is something to sample, and so a live profile.
    for (int n = 0; n < 4; n++) memset(malloc(1 << 20), 1, 1 << 20);
    if (!strcmp(words[1], "space")) {
        rlim_t bytes = (rlim_t)atoi(words[2]) << 20;
        struct rlimit limit = {bytes, bytes};
        if (setrlimit(RLIMIT_AS, &limit)) abort();
        while (map_index(16 << 20, PROT_READ)) {}
    } else if (!strcmp(words[1], "maps")) {
        // Neighbours that differ are not one mapping.
        for (int n = 0; map_index(4096, n % 2 ? PROT_READ : PROT_READ | PROT_WRITE); n++) {}
    } else if (!strcmp(words[1], "fill")) {
        for (int n = 0; n < 132; n++) memset(malloc(1 << 20), 1, 1 << 20);
        say("ready");
        while (getchar() == '\n')
            for (;;) memset(malloc(1 << 20), 1, 1 << 20);
    } else {
        while (!start_pool(1, 0)) {}
    }
    say("ready");
    pause();
}
