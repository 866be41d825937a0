// A limit on address space that the program sets itself, as Python's resource.setrlimit and bash's ulimit do: what it
// may still map is what is below the limit, whatever the tap has reserved before.
#include "check.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void *churning(void *none) {
    churn(2000);
    return none;
}

static int limited(int way, rlim_t bytes) {
    struct rlimit limit = {bytes, bytes}, old;
    churn(500);
    if (way == 0 && setrlimit(RLIMIT_AS, &limit)) return 9;
    if (way == 1 && prlimit(0, RLIMIT_AS, &limit, &old)) return 9;
    if (way == 2 && prlimit(getpid(), RLIMIT_AS, &limit, NULL)) return 9;
    if (getrlimit(RLIMIT_AS, &old) || old.rlim_cur != bytes) return 8;
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
    // What is free goes back to the system in time; the stack of a thread needs some of it now.
    malloc_trim(0);
    pthread_t thread;
    if (pthread_create(&thread, NULL, churning, NULL)) return 13;
    pthread_join(thread, NULL);
    return 0;
}

int main(void) {
    rlim_t limits[] = {500u << 20, 1u << 30, 4ul << 30};
    for (int n = 0; n < 9; n++) {
        pid_t child = fork();
        if (child == 0) _exit(limited(n % 3, limits[n / 3]));
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        if (status) dprintf(1, "way %d, %lu bytes: ended with %x\n", n % 3, limits[n / 3], status);
        CHECK(status == 0);
    }
    // Without a fork before it.
    CHECK(limited(0, 1u << 30) == 0);
    struct rlimit limit = {1u << 30, 1ul << 40};
    errno = 0;
    CHECK(setrlimit(9999, &limit) == -1 && errno == EINVAL);
    CHECK(prlimit(0, RLIMIT_NOFILE, NULL, &limit) == 0 && limit.rlim_cur > 0);
    puts("ok");
}
