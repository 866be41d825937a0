/* calloc and free of 16 to 512 bytes: zeroed COUNT */
#include "bench.h"

int main(int argc, char **argv) {
    long count = argument(argc, argv, 1, 1000000);
    uint64_t random = 88172645463325252u;
    for (long i = 0; i < count; i++) {
        void *volatile block = calloc(1, 16 + next_random(&random) % 497);
        free(block);
    }
    return 0;
}
