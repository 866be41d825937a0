// Started without descriptors 0 to 2: what the program opens there is its own, and gets no line of ours.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int inner(void) {
    for (int fd = 0; fd < 3; fd++) CHECK(fcntl(fd, F_GETFD) < 0 && errno == EBADF);
    int data = -1;
    for (int fd = 0; fd < 3; fd++) {
        data = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (data != fd) return 10 + fd;
    }
    for (int n = 0; n < 200; n++) churn(100);
    struct stat status;
    if (fstat(data, &status) != 0 || status.st_size != 0) return 20;
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) return inner();
    for (int n = 0; n < 2; n++) {
        pid_t child = fork();
        if (child == 0) {
            if (n) setenv("MALLOC_CONF", "prof:yes,prof=1", 1);
            for (int fd = 0; fd < 3; fd++) close(fd);
            execl("/proc/self/exe", argv[0], "inner", NULL);
            _exit(9);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        if (status) printf("inner ended with %d\n", WEXITSTATUS(status));
        CHECK(status == 0);
        struct stat data;
        CHECK(stat("data", &data) == 0 && data.st_size == 0);
    }
    puts("ok");
}
