// The embedded jemalloc takes its options from the tap alone: neither a variable nor a link in /etc that its build would
// read ends the process.
#include "check.h"
#include <sched.h>
#include <sys/mount.h>

int main(int argc, char **argv) {
    if (argc > 1) {
        churn(2000);
        puts("ok");
        return 0;
    }
    const char *conf = "abort_conf:true,no_such_option:1";
    NEED(unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) == 0);
    NEED(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("none", "/etc", "tmpfs", 0, NULL) == 0);
    CHECK(symlink(conf, "/etc/_rjem_malloc.conf") == 0 && setenv("_RJEM_MALLOC_CONF", conf, 1) == 0);
    execl("/proc/self/exe", argv[0], "inner", NULL);
    return 9;
}
