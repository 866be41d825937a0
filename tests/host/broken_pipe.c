// stderr is a pipe that nobody reads: a line of ours must not end the program by SIGPIPE.
#include "check.h"

int main(int argc, char **argv) {
    int ends[2];
    if (argc > 1) {
        churn(5000);
        puts("ok");
        return 0;
    }
    CHECK(pipe(ends) == 0);
    close(ends[0]), dup2(ends[1], 2), close(ends[1]);
    setenv("HEAPTAP_CONF", "prof_log:true,prof_bt_max:x", 1);
    execl("/proc/self/exe", argv[0], "inner", NULL);
}
