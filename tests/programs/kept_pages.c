// How long the arenas of sampled blocks keep unused pages, milliseconds: those that no thread is given.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

int main(void) {
    int (*control)(const char *, void *, size_t *, void *, size_t) = dlsym(RTLD_DEFAULT, "mallctl");
    unsigned threads = 0, all = 0;
    ssize_t kept;
    size_t size = sizeof threads, kept_size = sizeof kept;
    free(malloc(100000)); // sampled, and so is the next, of the arena of large blocks
    free(malloc(10 << 20));
    control("opt.narenas", &threads, &size, NULL, 0);
    control("arenas.narenas", &all, &size, NULL, 0);
    for (unsigned n = 0; n < all; n++) {
        char name[60];
        snprintf(name, sizeof name, "arena.%u.dirty_decay_ms", n);
        if ((n == 0 || n >= threads) && control(name, &kept, &kept_size, NULL, 0) == 0) printf("%zd\n", kept);
    }
    return 0;
}
