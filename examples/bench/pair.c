/* malloc and free of 16 to 512 bytes: pair COUNT [SIZE] */
#include "bench.h"

int main(int argc, char **argv) {
    long count = argument(argc, argv, 1, 1000000);
    long size = argument(argc, argv, 2, 0);
    uint64_t random = 88172645463325252u;
    for (long i = 0; i < count; i++) {
        free(touched(size ? (size_t)size : 16 + next_random(&random) % 497));
    }
    return 0;
}
