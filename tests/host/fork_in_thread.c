// fork in a thread other than main (Python's os.fork in a thread): the child, whose only thread ends by pthread_exit
// after some time, ends; output and exit handler of a process whose main ends so after some time are not lost.
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

static void work(int milliseconds) {
    struct timespec now, begin;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        void *volatile block = malloc(200000);
        free(block);
        usleep(1000);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < milliseconds);
}

static void bye(void) { puts("exit handler"); }

// Ends when helper threads of a profiler sleep, and when they have just begun.
static void *parent(void *milliseconds) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(200);
        dup2(ends[1], 1);
        close(ends[0]), close(ends[1]);
        atexit(bye);
        work((intptr_t)milliseconds);
        puts("result");
        pthread_exit(NULL);
    }
    close(ends[1]);
    char text[64] = "";
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], text + length, sizeof text - 1 - length)) > 0;) length += got;
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(strcmp(text, "result\nexit handler\n") == 0);
    return NULL;
}

int main(void) {
    pthread_t threads[6];
    for (int n = 0; n < 6; n++) pthread_create(&threads[n], NULL, parent, (void *)(intptr_t)(950 + 50 * n));
    for (int n = 0; n < 6; n++) pthread_join(threads[n], NULL);
    churn(500);
    puts("ok");
}
