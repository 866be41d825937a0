// The next free descriptor is the program's: 3 after the start, and none appears meanwhile.
#include "check.h"
#include <dirent.h>
#include <fcntl.h>

static int open_now(void) {
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

int main(void) {
    // Compared with the plain run: what the starter left open is not the tap's.
    int open_first = open_now(), first = open("/dev/null", O_RDONLY);
    printf("%d open, next is %d\n", open_first, first);
    close(first);
    for (int n = 0; n < 300; n++) {
        churn(100);
        int fd = open("/dev/null", O_RDONLY);
        CHECK(fd == first);
        close(fd);
        CHECK(open_now() == open_first);
    }
    puts("ok");
}
