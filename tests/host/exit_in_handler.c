// exit is called by a signal handler that interrupted the program anywhere, inside malloc for example.
#include "check.h"
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

static void handler(int signal) { exit(signal == SIGALRM ? 7 : 8); }

int main(void) {
    for (int n = 0; n < 60; n++) {
        pid_t child = fork();
        if (child == 0) {
            signal(SIGALRM, handler);
            struct itimerval timer = {{0, 0}, {0, 200 + n * 97}};
            setitimer(ITIMER_REAL, &timer, NULL);
            static void *blocks[5000];
            for (unsigned at = 0;; at = (at * 5 + 7) % 5000) {
                free(blocks[at]);
                blocks[at] = malloc(at % 600 + (at % 100 ? 0 : 100000));
            }
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
    puts("ok");
}
