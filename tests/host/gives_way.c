// A helper thread gives way to calls that want a single thread or change rights, many times over: what it had made
// serves the next one. Where the program's malloc is a jemalloc, no arena is left behind each time.
#include "check.h"
#include <dlfcn.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

// Without an allocation, which might start the next helper.
static int threads(void) {
    struct stat tasks;
    CHECK(stat("/proc/self/task", &tasks) == 0);
    return tasks.st_nlink - 2;
}

static unsigned arenas(void) {
    int (*mallctl)(const char *, void *, size_t *, void *, size_t) = dlsym(RTLD_DEFAULT, "mallctl");
    unsigned count = 0;
    size_t length = sizeof count;
    if (mallctl) mallctl("arenas.narenas", &count, &length, NULL, 0);
    return count;
}

static void *volatile held;
static void become_large(void) {
    if (!held) held = malloc(100 << 20);
    for (int n = 0; n < 200 && (n < 10 || (threads() < 2 && getenv("LD_PRELOAD"))); n++) {
        void *volatile block = malloc(1 << 20);
        free(block);
        usleep(100);
    }
}

int main(void) {
    unsigned first = 0;
    for (int round = 0; round < 24; round++) {
        become_large();
        if (round == 3) first = arenas();
        if (round == 12) {
            // A child goes on in the same way.
            pid_t child = fork();
            if (child == 0) {
                for (int n = 0; n < 6; n++) {
                    become_large();
                    if (n == 2) first = arenas();
                    CHECK(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0 && threads() == 1);
                }
                CHECK(arenas() == first);
                exit(0);
            }
            int status;
            CHECK(waitpid(child, &status, 0) == child && status == 0);
        }
        CHECK(round % 2 ? prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0 : unshare(CLONE_FS) == 0);
        CHECK(threads() == 1);
    }
    CHECK(arenas() == first);
    puts("ok");
}
