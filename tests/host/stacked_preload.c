// Two preloads, in both orders.
#include "check.h"
#include <sys/wait.h>

int main(int argc, char **argv) {
    if (argc > 1) {
        churn(2000);
        return 0;
    }
    const char *first = getenv("LD_PRELOAD");
    for (int n = 0; n < 2; n++) {
        pid_t child = fork();
        if (child == 0) {
            char both[8192];
            const char *other = PLUGIN ".stacked.so";
            if (!first) snprintf(both, sizeof both, "%s", other);
            else snprintf(both, sizeof both, "%s:%s", n ? first : other, n ? other : first);
            setenv("LD_PRELOAD", both, 1);
            execl("/proc/self/exe", argv[0], "inner", NULL);
            _exit(9);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    puts("ok");
}
