// The whole process gives up its system calls: what other threads of it do is deadly, too.
#include "check.h"
#include "seccomp.h"

int main(void) {
    churn(1000);
    usleep(20000);
    CHECK(install_filter(SECCOMP_RET_KILL_PROCESS, SECCOMP_FILTER_FLAG_TSYNC) == 0);
    for (int n = 0; n < 20; n++) churn(500);
    write(1, "ok\n", 3);
    _exit(0);
}
