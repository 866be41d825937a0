// mlockall: what is mapped now and later stays in memory, within the limits of an unprivileged service.
#include "check.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int inner(const char *limit) {
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return 10;
    for (int n = 0; n < 20; n++) churn(200);
    static void *blocks[20];
    for (int n = 0; n < 20; n++)
        if (!(blocks[n] = malloc(1 << 20))) return 11;
    for (int n = 0; n < 20; n++) free(blocks[n]);
    char line[200];
    long resident = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &resident);
    // All of the address space that the tap reserves would be more than the machine has.
    return resident > 400000 ? 12 : 0;
}

int main(int argc, char **argv) {
    if (argc > 1) return inner(argv[1]);
    rlim_t limits[] = {RLIM_INFINITY, 1u << 30};
    for (int n = 0; n < 2; n++) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit limit = {limits[n], limits[n]};
            if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) _exit(77);
            if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(77);
            execl("/proc/self/exe", argv[0], "inner", NULL);
            _exit(77);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        NEED(WEXITSTATUS(status) != 77);
        if (status) printf("limit %d: inner ended with %d\n", n, WEXITSTATUS(status));
        CHECK(status == 0);
    }
    puts("ok");
}
