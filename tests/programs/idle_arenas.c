// How many arenas there are; and how much stays resident when threads that have used and freed much do nothing any more.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *busy_then_idle(void *none) {
    static __thread void *blocks[200];
    for (int n = 0; n < 200; n++) memset(blocks[n] = malloc(100000), 1, 100000);
    for (int n = 0; n < 200; n++) free(blocks[n]);
    pause();
    return none;
}

static long resident_mib(void) {
    char line[200];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &kib);
    fclose(status);
    return kib >> 10;
}

int main(int argc, char **argv) {
    int (*control)(const char *, void *, size_t *, void *, size_t) = dlsym(RTLD_DEFAULT, "mallctl");
    unsigned arenas = 0;
    size_t size = sizeof arenas;
    free(malloc(10));
    control("opt.narenas", &arenas, &size, NULL, 0);
    printf("%u arenas\n", arenas);
    if (argc < 2) return 0;
    pthread_t thread;
    for (int n = 0; n < 4; n++) pthread_create(&thread, NULL, busy_then_idle, NULL);
    // The keeper starts with the first sample after a second, and looks after the arenas every two seconds.
    int waited = 0;
    usleep(1500000);
    for (; waited < 9000 && resident_mib() > 40; waited++) {
        free(malloc(1000000));
        usleep(20000);
    }
    puts(waited < 9000 ? "given back" : "still there");
    fflush(stdout);
    _exit(0);
}
