// A new user namespace needs a single thread: a helper thread must not be in the way.
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

int main(void) {
    churn(3000);
    usleep(50000);
    int here = open("/proc/self/ns/user", O_RDONLY);
    NEED(here >= 0);
    pid_t child = fork();
    if (child == 0) {
        // What plain processes may not do either is not the tap's fault.
        churn(3000);
        usleep(50000);
        NEED(unshare(CLONE_NEWUSER) == 0 || errno != EPERM);
        CHECK(errno != EINVAL);
        churn(1000);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    NEED(WEXITSTATUS(status) != 77);
    CHECK(status == 0);
    errno = 0;
    CHECK(unshare(CLONE_NEWUSER) == 0);
    churn(3000);
    usleep(50000);
    CHECK(unshare(CLONE_NEWNS) == 0);
    puts("ok");
}
