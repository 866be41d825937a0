// A second preloaded library that stands in front of libc's functions and allocates in each of them, before and behind
// the first one. The environment may name another such library: libfaketime, fakechroot.
#include "check.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

static void *work(void *unused) {
    churn(2000);
    for (size_t size = 1; size < 8 << 20; size *= 3) {
        char *block = malloc(size);
        memset(block, 1, size);
        block = realloc(block, size * 2);
        void *aligned;
        CHECK(block[size - 1] == 1 && posix_memalign(&aligned, 4096, size) == 0);
        free(block);
        free(aligned);
        free(calloc(size, 1));
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        work(NULL);
        pthread_t threads[3];
        for (int n = 0; n < 3; n++) CHECK(pthread_create(&threads[n], NULL, work, NULL) == 0);
        for (int n = 0; n < 3; n++) pthread_join(threads[n], NULL);
        struct timespec now;
        CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0 && getpid() > 0 && sysconf(_SC_PAGESIZE) > 0);
        void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(page != MAP_FAILED && madvise(page, 4096, MADV_DONTNEED) == 0 && munmap(page, 4096) == 0);
        pid_t child = fork();
        if (child == 0) {
            work(NULL);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        return 0;
    }
    const char *first = getenv("LD_PRELOAD"), *other = getenv("OTHER_PRELOAD");
    if (!other) other = PLUGIN ".hooks.so";
    for (int n = 0; n < 2; n++) {
        pid_t child = fork();
        if (child == 0) {
            char both[8192];
            if (!first) snprintf(both, sizeof both, "%s", other);
            else snprintf(both, sizeof both, "%s:%s", n ? first : other, n ? other : first);
            setenv("LD_PRELOAD", both, 1);
            execl("/proc/self/exe", argv[0], "inner", NULL);
            _exit(9);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    puts("ok");
}
