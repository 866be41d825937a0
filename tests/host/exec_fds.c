// Nothing of ours is inherited by what the program executes.
#include "check.h"
#include <fcntl.h>
#include <sys/wait.h>

int main(int argc, char **argv) {
    if (argc > 1) {
        int count = 0;
        for (int fd = 0; fd < 2000; fd++) count += fcntl(fd, F_GETFD) >= 0;
        dprintf(1, "%d open\n", count);
        return 0;
    }
    for (int n = 0; n < 10; n++) {
        churn(500);
        pid_t child = fork();
        if (child == 0) {
            churn(500);
            execl("/proc/self/exe", argv[0], "inner", NULL);
            _exit(9);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    puts("ok");
}
