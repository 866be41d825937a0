// vfork and posix_spawn: the child shares our memory, and its end is not ours.
#include "check.h"
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;
static volatile int stop;
static void *worker(void *none) {
    while (!stop) churn(50);
    return none;
}

int main(int argc, char **argv) {
    if (argc > 1) return 5;
    pthread_t thread;
    pthread_create(&thread, NULL, worker, NULL);
    for (int n = 0; n < 40; n++) {
        int status;
        pid_t child = vfork();
        if (child == 0) {
            if (n % 3 == 0) _exit(3);
            if (n % 3 == 1) execl("/nowhere", "nowhere", NULL), _exit(3);
            // More than vfork(2) allows, and done all the same.
            free(malloc(n * 100));
            _exit(3);
        }
        CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3);
        char *arguments[] = {argv[0], "inner", NULL};
        CHECK(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0);
        CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 5);
        if (n % 8 == 0) CHECK(WEXITSTATUS(system("exit 4")) == 4);
        churn(20);
    }
    stop = 1;
    pthread_join(thread, NULL);
    puts("ok");
}
