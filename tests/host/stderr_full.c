// stderr is a pipe that is full and that nobody reads: a process that says nothing is not stopped by what we say.
#include "check.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

int main(int count, char **words) {
    if (count > 1) {
        // No file can be written from now on, which is worth a line.
        struct rlimit nothing = {0, 0};
        CHECK(setrlimit(RLIMIT_FSIZE, &nothing) == 0);
        signal(SIGXFSZ, SIG_IGN);
        churn(1000);
        _exit(0);
    }
    int ends[2];
    CHECK(pipe(ends) == 0);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], "x", 1) == 1) continue;
    fcntl(ends[1], F_SETFL, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], 2);
        execl("/proc/self/exe", words[0], "child", NULL);
        _exit(2);
    }
    for (int waited = 0, status; waited < 20000; waited++) {
        if (waitpid(child, &status, WNOHANG) == child) {
            CHECK(status == 0);
            dprintf(1, "ok\n");
            return 0;
        }
        usleep(10000);
    }
    kill(child, SIGKILL);
    dprintf(1, "it does not end\n");
    return 1;
}
