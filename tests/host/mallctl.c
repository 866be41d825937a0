// The profiler's controls, as programs written for jemalloc use them. Without jemalloc there is nothing to ask.
#include "check.h"
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

extern int mallctl(const char *, void *, size_t *, void *, size_t) __attribute__((weak));
extern int mallctlnametomib(const char *, size_t *, size_t *) __attribute__((weak));
extern int mallctlbymib(const size_t *, size_t, void *, size_t *, void *, size_t) __attribute__((weak));

#define READ(name, type) ({ type value; size_t size = sizeof value; CHECK(mallctl(name, &value, &size, NULL, 0) == 0); value; })
#define WRITE(name, type, new) ({ type value = new; mallctl(name, NULL, NULL, &value, sizeof value); })

static void switches(void) {
    CHECK(READ("config.prof", bool) && READ("opt.prof", bool) && READ("opt.prof_final", bool));
    CHECK(READ("prof.active", bool) && READ("thread.prof.active", bool) && READ("prof.thread_active_init", bool));
    bool off = false, before;
    size_t size = sizeof before;
    CHECK(mallctl("prof.active", &before, &size, &off, sizeof off) == 0 && before);
    CHECK(!READ("prof.active", bool) && WRITE("prof.active", bool, true) == 0 && READ("prof.active", bool));
    CHECK(WRITE("thread.prof.active", bool, false) == 0 && !READ("thread.prof.active", bool));
    CHECK(WRITE("thread.prof.active", bool, true) == 0);
    CHECK(READ("opt.lg_prof_sample", size_t) == READ("prof.lg_sample", size_t));
    CHECK(READ("opt.lg_prof_interval", ssize_t) == 63 - __builtin_clzll(READ("prof.interval", uint64_t)));
    CHECK(!READ("prof.gdump", bool) && !READ("opt.prof_leak", bool) && READ("opt.prof_bt_max", unsigned) > 0);
    CHECK(strstr(READ("opt.prof_prefix", const char *), "jeprof"));
    CHECK(READ("thread.prof.name", const char *)[0] == 0);
    CHECK(WRITE("thread.prof.name", const char *, "worker 7") == 0);
    CHECK(strcmp(READ("thread.prof.name", const char *), "worker 7") == 0);
}

static void refusals(void) {
    uint32_t wrong;
    size_t size = sizeof wrong;
    CHECK(mallctl("prof.lg_sample", &wrong, &size, NULL, 0) == EINVAL && size == 4);
    CHECK(WRITE("prof.active", uint32_t, 1) == EINVAL);
    CHECK(WRITE("opt.prof", bool, true) == EPERM && WRITE("prof.lg_sample", size_t, 3) == EPERM);
    const char *name;
    size = sizeof name;
    CHECK(mallctl("prof.dump", &name, &size, NULL, 0) == EPERM);
    CHECK(WRITE("prof.dump", const char *, "no/such/folder/x.heap") == EFAULT);
    CHECK(mallctl("prof.nonsense", NULL, NULL, NULL, 0) == ENOENT && mallctl("prof", NULL, NULL, NULL, 0) == ENOENT);
}

static long heap_bytes(const char *file, const char *want) {
    FILE *dump = fopen(file, "r");
    CHECK(dump);
    char line[4096];
    long objects = -1, bytes = -1;
    CHECK(fgets(line, sizeof line, dump) && strncmp(line, want, strlen(want)) == 0);
    CHECK(fgets(line, sizeof line, dump) && sscanf(line, "  t*: %ld: %ld", &objects, &bytes) == 2);
    fclose(dump);
    return bytes;
}

static void dumps(void) {
    void *big = malloc(64 << 20);
    CHECK(WRITE("prof.dump", const char *, "named.heap") == 0);
    CHECK(heap_bytes("named.heap", "heap_v2/") >= 63 << 20);
    CHECK(WRITE("prof.dump", const char *, "named.heap") == 0);
    CHECK(WRITE("prof.prefix", const char *, "mine") == 0);
    size_t mib[4], length = 4;
    CHECK(mallctlnametomib("prof.dump", mib, &length) == 0 && length == 2);
    for (int n = 0; n < 3; n++) CHECK(mallctlbymib(mib, length, NULL, NULL, NULL, 0) == 0);
    int found = 0;
    for (int seq = 0; seq < 300; seq++)
        for (int n = 0; n < 3; n++) {
            char file[100];
            snprintf(file, sizeof file, "mine.%d.%d.m%d.heap", getpid(), seq, n);
            found += access(file, R_OK) == 0;
        }
    CHECK(found == 3);
    CHECK(WRITE("prof.reset", size_t, 10) == 0 && READ("prof.lg_sample", size_t) == 10);
    CHECK(WRITE("prof.dump", const char *, "after.heap") == 0);
    CHECK(heap_bytes("after.heap", "heap_v2/1024") < 1 << 20);
    free(big);
    for (int n = 0; n < 10; n++) churn(100);
    big = malloc(32 << 20);
    CHECK(WRITE("prof.dump", const char *, "after.heap") == 0);
    CHECK(heap_bytes("after.heap", "heap_v2/1024") >= 31 << 20 && heap_bytes("after.heap", "heap_v2/1024") < 48 << 20);
    free(big);
}

static void mute(void) {
    CHECK(mallctl("prof.reset", NULL, NULL, NULL, 0) == 0);
    WRITE("thread.prof.active", bool, false);
    void *unseen = malloc(64 << 20);
    CHECK(WRITE("prof.dump", const char *, "muted.heap") == 0);
    CHECK(heap_bytes("muted.heap", "heap_v2/1024") < 1 << 20);
    WRITE("thread.prof.active", bool, true);
    free(unseen);
}

int main(void) {
    if (mallctl) switches(), refusals(), dumps(), mute();
    puts("ok");
}
