// Children of a raw clone run no handler of fork.
#include "check.h"
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int main(void) {
    void *inherited = malloc(1000);
    churn(200);
    for (int n = 0; n < 40; n++) {
        // Some in a pid namespace of their own, where they may have their parent's pid.
        int flags = SIGCHLD | (n % 4 == 3 && getuid() == 0 ? CLONE_NEWPID : 0);
        pid_t child = syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
        if (child < 0 && flags != SIGCHLD) child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
        CHECK(child >= 0);
        if (child == 0) {
            free(inherited);
            churn(500);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    free(inherited);
    puts("ok");
}
