// mlockall: what is mapped now and later stays in memory; the tap's address space must not become memory.
#include "check.h"
#include <sys/mman.h>

static long resident(void) {
    char line[200];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &kib);
    if (status) fclose(status);
    return kib;
}

int main(void) {
    churn(200);
    NEED(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    for (int n = 0; n < 20; n++) churn(200);
    for (int round = 0; round < 20; round++) {
        static void *blocks[20];
        for (int n = 0; n < 20; n++) CHECK((blocks[n] = malloc(1 << 20)));
        for (int n = 0; n < 20; n++) free(blocks[n]);
    }
    // Freed memory is given back in time, locked or not; 20 MiB were in use, and the live region is 48 MiB.
    CHECK(resident() < 250000);
    puts("ok");
}
