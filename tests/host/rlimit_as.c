// A limit on address space: allocations fail when it is used up, with ENOMEM, and work again afterwards.
#include "check.h"
#include <sys/resource.h>
#include <sys/wait.h>

static int inner(void) {
    static void *blocks[1000];
    int count = 0;
    while (count < 1000 && (blocks[count] = malloc(10 << 20))) memset(blocks[count++], 1, 100);
    if (count < 20 || count == 1000) return 10;
    if (errno != ENOMEM) return 11;
    for (int n = 0; n < count; n++) free(blocks[n]);
    churn(3000);
    void *block = malloc(5 << 20);
    if (!block) return 12;
    free(block);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) return inner();
    rlim_t limits[] = {400u << 20, 1u << 30, 4ul << 30};
    for (int n = 0; n < 3; n++) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit limit = {limits[n], limits[n]};
            setrlimit(RLIMIT_AS, &limit);
            execl("/proc/self/exe", argv[0], "inner", NULL);
            _exit(9);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        if (status) dprintf(1, "%lu: inner ended with %d\n", limits[n], status);
        CHECK(status == 0);
    }
    puts("ok");
}
