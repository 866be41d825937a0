/* Keeps MEBIBYTES of blocks of 16 to 512 bytes, all written to: prints the resident set in KiB: leak MEBIBYTES */
#include "bench.h"
#include <string.h>

static long resident_kib(void) {
    long kib = 0;
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        if (sscanf(line, "VmRSS: %ld", &kib) == 1) {
            break;
        }
    }
    return kib;
}

int main(int argc, char **argv) {
    size_t left = (size_t)argument(argc, argv, 1, 400) << 20;
    uint64_t random = 88172645463325252u;
    void **last = NULL;
    while (left > 512) {
        size_t size = 16 + next_random(&random) % 497;
        void **block = malloc(size);
        memset(block, 1, size);
        *block = last;
        last = block;
        left -= size;
    }
    printf("%ld\n", resident_kib());
    return last == NULL;
}
