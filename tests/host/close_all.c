// A program that closes everything above 2 and uses the numbers again.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int main(void) {
    churn(1000);
    syscall(SYS_close_range, 3, ~0u, 0);
    for (int fd = 3; fd < 1024; fd++) close(fd);
    int fds[50];
    for (int n = 0; n < 50; n++) {
        char name[20];
        snprintf(name, sizeof name, "file%d", n);
        CHECK((fds[n] = open(name, O_RDWR | O_CREAT | O_EXCL, 0600)) == 3 + n);
    }
    churn(5000);
    for (int n = 0; n < 50; n++) {
        struct stat status;
        CHECK(fstat(fds[n], &status) == 0 && status.st_size == 0);
    }
    close(2);
    int data = open("data", O_RDWR | O_CREAT, 0600);
    CHECK(data == 2);
    churn(5000);
    struct stat status;
    CHECK(fstat(2, &status) == 0 && status.st_size == 0);
    puts("ok");
}
