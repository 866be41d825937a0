/* mmap and munmap of SIZE bytes: map_pair COUNT [SIZE] */
#include "bench.h"
#include <sys/mman.h>

int main(int argc, char **argv) {
    long count = argument(argc, argv, 1, 100000);
    size_t size = (size_t)argument(argc, argv, 2, 65536);
    /* There is a live profile. */
    free(touched(4 << 20));
    for (long i = 0; i < count; i++) {
        void *range = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (range == MAP_FAILED || munmap(range, size)) return 1;
    }
    return 0;
}
