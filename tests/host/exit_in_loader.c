// _exit and quick_exit end a process whatever its other threads hold: the lock of the loader's list (a thread sits in a
// callback of dl_iterate_phdr, or a collector has stopped it there), locks of malloc and of stdio.
#include "check.h"
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static volatile int inside;

static int stay(struct dl_phdr_info *info, size_t size, void *none) {
    inside = 1;
    for (;;) pause();
}

static void *list(void *none) {
    dl_iterate_phdr(stay, NULL);
    return none;
}

static void stop(int signal) {
    __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    for (;;) pause();
}

static void *allocate(void *none) {
    for (;;) churn(100);
}

static void *print(void *none) {
    for (FILE *sink = fopen("/dev/null", "w");;) fprintf(sink, "%d %s\n", 1, "line"), fflush(NULL);
}

// A thread that is stopped somewhere in its work.
static void stopped(void *(*work)(void *)) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
    usleep(3000 + rand() % 3000);
    int before = inside;
    pthread_kill(thread, SIGUSR2);
    while (inside == before) usleep(100);
}

static void in_list(void) {
    pthread_t thread;
    inside = 0;
    CHECK(pthread_create(&thread, NULL, list, NULL) == 0);
    while (!inside) usleep(100);
}

static void child_ends(int how) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        srand(how);
        free(malloc(5000));
        if (how % 4 == 0) in_list(), _exit(0);
        if (how % 4 == 1) in_list(), quick_exit(0);
        if (how % 4 == 2) stopped(allocate), stopped(allocate), _exit(0);
        stopped(print), stopped(allocate), _exit(0);
    }
    for (int waited = 0, status; waited < 20000; waited++) {
        if (waitpid(child, &status, WNOHANG) == child) {
            CHECK(status == 0);
            return;
        }
        usleep(10000);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    dprintf(1, "way %d: it does not end\n", how % 4);
    _exit(1);
}

int main(void) {
    signal(SIGUSR2, stop);
    for (int how = 0; how < 12; how++) child_ends(how);
    churn(200);
    in_list();
    dprintf(1, "ok\n");
    _exit(0);
}
