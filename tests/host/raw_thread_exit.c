// Threads that end by the bare system call, which the C library does not notice: the process ends with the last.
#include "check.h"
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void become_large(void) {
    void *volatile held = malloc(100 << 20);
    for (int n = 0; n < 40; n++) {
        void *volatile block = malloc(1 << 20);
        free(block);
    }
    (void)held;
}

static void *ends(void *none) {
    become_large();
    syscall(SYS_exit, 0);
    return none;
}

int main(void) {
    for (int way = 0; way < 3; way++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(200);
            pthread_t thread;
            pthread_create(&thread, NULL, ends, NULL);
            if (way == 0) become_large();
            usleep(50000);
            if (way == 2) syscall(SYS_exit, 0);
            pthread_exit(NULL);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    churn(500);
    puts("ok");
}
