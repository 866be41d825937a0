// Handles of 200 bytes that are never closed, each of which keeps a piece of a cache; and others that are closed. Says
// "ready" after some seconds and waits for the end of its input.
#include "check.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct handle {
    char options[192];
    char *pinned;
};

__attribute__((noinline)) static struct handle *open_handle(void) { return malloc(sizeof(struct handle)); }
__attribute__((noinline)) static char *cache_block(void) { return malloc(40000); }
__attribute__((noinline)) static char *temporary(void) { return malloc(200); }

int main(void) {
    static struct handle *opened[90 * 180];
    int count = 0;
    for (int tick = 0; tick < 90; tick++) {
        for (int i = 0; i < 180; i++) {
            struct handle *handle = opened[count++] = open_handle();
            handle->pinned = i % 18 == 0 ? cache_block() : NULL;
            if (handle->pinned) memset(handle->pinned, 1, 40000);
            for (int j = 0; j < 4; j++) {
                char *volatile closed = temporary();
                free(closed);
            }
        }
        struct timespec pause = {0, 100000000};
        nanosleep(&pause, NULL);
    }
    CHECK(write(1, "ready\n", 6) == 6);
    char byte;
    while (read(0, &byte, 1) > 0) {}
    return count == 0;
}
