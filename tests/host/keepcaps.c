// Rights that only the calling thread keeps: with them it may change its groups afterwards, and libc makes every
// thread do the same and aborts if one may not. The helper thread must have them, too, or not be there.
#include "check.h"
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

extern int capset(void *, void *);

static void live(void) {
    // A process that lives for a second gets its helper thread with the next sample.
    usleep(20000);
    for (int n = 0; n < 20; n++) churn(300);
    usleep(20000);
}

static void keep_only(unsigned capabilities, int raw) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2] = {{0}};
    sets[0].effective = sets[0].permitted = capabilities;
    CHECK((raw ? syscall(SYS_capset, &header, sets) : capset(&header, sets)) == 0);
}

int main(void) {
    NEED(geteuid() == 0);
    churn(1000);
    usleep(1050000);
    live();
    CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
    live();
    CHECK(setresuid(65534, 65534, 65534) == 0);
    live();
    keep_only(1u << CAP_SETGID | 1u << CAP_SETUID, 0);
    live();
    CHECK(setresgid(65534, 65534, 65534) == 0);
    live();
    keep_only(1u << CAP_SETUID, 1);
    live();
    CHECK(setgid(0) == -1 && errno == EPERM);
    CHECK(setuid(65533) == 0);
    live();
    keep_only(0, 0);
    live();
    CHECK(setuid(0) == -1 && errno == EPERM);
    puts("ok");
}
