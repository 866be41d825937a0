// Leaks 300 MiB although something lies right behind the range of sampled blocks, which a limit on address space has made
// short: most of it cannot be followed. Then it waits.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

__attribute__((noinline)) static void leak(size_t bytes) {
    memset(malloc(bytes), 1, bytes);
}

// The end of the last mapping between 32 and 40 TiB.
static unsigned long range_end(void) {
    char line[400];
    unsigned long start, end, found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start >> 40 >= 32 && start >> 40 < 40) found = end;
    fclose(maps);
    return found;
}

int main(void) {
    for (int n = 0; n < 100; n++) leak(10000);
    struct rlimit limit = {1ul << 30, 1ul << 30};
    if (setrlimit(RLIMIT_AS, &limit)) return 1;
    void *wall = (void *)range_end();
    if (mmap(wall, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != wall) return 2;
    for (int n = 0; n < 4800; n++) leak(65536);
    puts("leaked");
    fflush(stdout);
    pause();
}
