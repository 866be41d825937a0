// A limit on file sizes whose signal ends the program: files of ours must not raise it.
#include "check.h"
#include <sys/resource.h>

int main(void) {
    struct rlimit limit = {2000, 2000};
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int n = 0; n < 100; n++) churn(300);
    puts("ok");
}
