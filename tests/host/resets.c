// prof.reset again and again, while other threads allocate and free: no address space and no memory is left behind, and
// under a limit on address space the program's own request succeeds afterwards.
#define _GNU_SOURCE
#include "check.h"
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int (*control)(const char *, void *, size_t *, void *, size_t);
static volatile int done;

static long kib(const char *key) {
    char line[200];
    long kib = 0;
    size_t length = strlen(key);
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, key, length)) kib = atol(line + length + 1);
    if (status) fclose(status);
    return kib;
}

static void *churning(void *none) {
    static __thread void *blocks[64];
    for (unsigned n = 0; !done; n++) {
        free(blocks[n % 64]);
        blocks[n % 64] = malloc(1000 + n * 7919 % 30000);
    }
    for (int n = 0; n < 64; n++) free(blocks[n]);
    return none;
}

static void reset(int times) {
    for (int n = 0; n < times && control; n++) {
        if (control("prof.reset", NULL, NULL, NULL, 0)) exit(9);
        void *block = malloc(200000);
        if (!block) exit(8);
        free(block);
    }
}

static int limited(void) {
    churn(500);
    reset(100);
    void *block = malloc(512 << 20);
    return block ? 0 : 12;
}

int main(int argc, char **argv) {
    control = dlsym(RTLD_DEFAULT, "mallctl");
    if (argc > 1) return limited();
    pthread_t threads[2];
    for (int n = 0; n < 2; n++) CHECK(pthread_create(&threads[n], NULL, churning, NULL) == 0);
    reset(20);
    long size = kib("VmSize:");
    reset(500);
    // 500 regions would be 24 GB.
    CHECK(kib("VmSize:") - size < 200000);
    done = 1;
    for (int n = 0; n < 2; n++) pthread_join(threads[n], NULL);
    // A helper thread may start meanwhile, or a dump be written: then once more. What each reset leaves is left always.
    long more = LONG_MAX;
    for (int n = 0; n < 10 && more >= 5000; n++) {
        reset(20);
        size = kib("VmSize:");
        reset(480);
        more = kib("VmSize:") - size;
    }
    CHECK(more < 5000);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {4ul << 30, 4ul << 30};
        setrlimit(RLIMIT_AS, &limit);
        execl("/proc/self/exe", argv[0], "limited", NULL);
        _exit(9);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    puts("ok");
}
