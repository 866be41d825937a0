// Handlers of fork that allocate and free, registered before and after everybody else's.
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>

static void *blocks[3];
static void prepare(void) { free(blocks[0]), blocks[0] = malloc(1001); }
static void parent(void) { free(blocks[1]), blocks[1] = malloc(1003); }
static void child(void) { free(blocks[2]), blocks[2] = malloc(1007), free(blocks[0]), blocks[0] = NULL; }

static void *worker(void *stop) {
    while (!*(volatile int *)stop) churn(100);
    return NULL;
}
__attribute__((constructor(101))) static void early(void) { pthread_atfork(prepare, parent, child); }

int main(void) {
    pthread_atfork(prepare, parent, child);
    volatile int stop = 0;
    pthread_t thread;
    pthread_create(&thread, NULL, worker, (void *)&stop);
    for (int n = 0; n < 50; n++) {
        pid_t pid = fork();
        if (pid == 0) churn(20), _exit(0);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    stop = 1;
    pthread_join(thread, NULL);
    puts("ok");
}
