// What the hazards share: a check that names its place, and a way to say "cannot be tried here".
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Ends the program with 1, naming the place, unless the condition holds.
#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            dprintf(1, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);     \
            _exit(1);                                                                        \
        }                                                                                    \
    } while (0)

// Ends the program with 77: this machine or user does not allow what the hazard needs.
#define NEED(condition)                                                                      \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            dprintf(1, "not possible here: %s (errno %d)\n", #condition, errno);             \
            _exit(77);                                                                       \
        }                                                                                    \
    } while (0)

// Allocates and frees blocks of many sizes, keeping some for a while: work for the tap.
__attribute__((unused, noinline)) static void churn(unsigned rounds) {
    void *kept[64] = {0};
    for (unsigned n = 0; n < rounds; n++) {
        void **slot = &kept[n * 7 % 64];
        free(*slot);
        size_t size = n * 2654435761u % 5000;
        *slot = malloc(size);
        CHECK(*slot);
        memset(*slot, 0x5a, size);
    }
    for (int n = 0; n < 64; n++) free(kept[n]);
}
