/* Holds memory of each kind when it is told to, and meets limits.

   grow:     48 MiB of malloc, 64 MiB of mmap, and the stacks of 150 threads, 256 KiB each
   second L: 16 MiB of malloc, and 96 MiB of the pool of the library L
   space N:  starts threads until an address space of N MiB does not hold another; then asks for 4 GiB
   threads:  starts threads until it may not start another */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static void *deep(void *unused) {
    volatile char room[256 << 10];
    for (size_t at = 0; at < sizeof room; at += 1024) room[at] = 1;
    pause();
    return unused;
}

static void *idle(void *unused) {
    pause();
    return unused;
}

__attribute__((noinline)) int start_worker(void *(*work)(void *)) {
    pthread_t thread;
    return pthread_create(&thread, NULL, work, NULL);
}

static void *touched(void *block, size_t bytes) {
    if (block && block != MAP_FAILED) memset(block, 1, bytes);
    return block;
}

static void grow(void) {
    size_t mib = 1 << 20;
    for (int n = 0; n < 48; n++) touched(malloc(mib), mib);
    touched(mmap(NULL, 64 * mib, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 64 * mib);
    for (int n = 0; n < 150; n++)
        if (start_worker(deep)) abort();
}

static void second(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    void *(*take)(size_t) = (void *(*)(size_t))dlsym(library, "take_from_pool");
    for (int n = 0; n < 16; n++) touched(malloc(1 << 20), 1 << 20);
    touched(take(96 << 20), 96 << 20);
}

__attribute__((noinline)) void space(size_t mib) {
    size_t bytes = mib << 20;
    struct rlimit limit = {bytes, bytes};
    if (setrlimit(RLIMIT_AS, &limit)) abort();
    while (!start_worker(idle)) {}
    if (malloc((size_t)4 << 30)) abort();
}

int main(int count, char **words) {
    char line[8];
    /* Something is sampled, so that there is a keeper. */
    for (int n = 0; n < 64; n++) touched(malloc(1 << 16), 1 << 16);
    sleep(1);
    touched(malloc(1 << 20), 1 << 20);
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) return 1;
    if (!strcmp(words[1], "grow")) grow();
    else if (!strcmp(words[1], "second") && count > 2) second(words[2]);
    else if (!strcmp(words[1], "space") && count > 2) space(strtoul(words[2], NULL, 10));
    else while (!start_worker(idle)) {}
    puts("done");
    fflush(stdout);
    pause();
    return 0;
}
