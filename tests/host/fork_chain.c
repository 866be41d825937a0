// Eight generations, each frees what the last one allocated and ends before or after its child.
#include "check.h"
#include <sys/wait.h>

int main(void) {
    void *blocks[100];
    for (int generation = 0; generation < 8; generation++) {
        for (int n = 0; n < 100; n++) blocks[n] = malloc(n * 33 + generation);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child > 0) {
            int status;
            churn(100);
            CHECK(waitpid(child, &status, 0) == child && status == 0);
            if (generation == 0) puts("ok");
            exit(0);
        }
        for (int n = 0; n < 100; n++) free(blocks[n]);
    }
    churn(100);
    return 0;
}
