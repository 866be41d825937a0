// Entering a namespace of mounts needs a filesystem context that no thread shares: the helper thread gives way.
#include "check.h"
#include <fcntl.h>
#include <sched.h>

int main(void) {
    churn(3000);
    usleep(50000);
    int here = open("/proc/self/ns/mnt", O_RDONLY);
    NEED(here >= 0);
    int result = setns(here, CLONE_NEWNS);
    NEED(result == 0 || errno != EPERM);
    CHECK(result == 0);
    churn(3000);
    usleep(50000);
    CHECK(setns(here, CLONE_NEWNS) == 0);
    errno = 0;
    CHECK(setns(-1, 0) == -1 && errno == EBADF);
    puts("ok");
}
