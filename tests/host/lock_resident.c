// mlockall(MCL_CURRENT) makes all memory resident that may be touched, as Elasticsearch's bootstrap.memory_lock does: the
// tap's tables must not become a multiple of the program. By the library's call and by the kernel's.
#include "check.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static long resident(void) {
    char line[200];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &kib);
    if (status) fclose(status);
    return kib;
}

static int locked(int raw) {
    for (int n = 0; n < 200; n++) if (!malloc(10000)) return 10;
    if (raw ? syscall(SYS_mlockall, MCL_CURRENT) : mlockall(MCL_CURRENT)) return 77;
    long kib = resident();
    // Without the tap it is some 5,000; the tap's libraries and arenas come to it, not 48 MiB of tables.
    if (kib >= 50000) dprintf(1, "%ld KiB resident\n", kib);
    return kib >= 50000;
}

int main(void) {
    churn(200);
    for (int raw = 0; raw < 2; raw++) {
        pid_t child = fork();
        if (child == 0) _exit(locked(raw));
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        NEED(WEXITSTATUS(status) != 77);
        CHECK(status == 0);
    }
    int result = locked(0);
    NEED(result != 77);
    CHECK(result == 0);
    puts("ok");
}
