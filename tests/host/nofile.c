// All descriptors are taken.
#include "check.h"
#include <fcntl.h>
#include <sys/resource.h>

int main(void) {
    struct rlimit limit = {20, 20};
    setrlimit(RLIMIT_NOFILE, &limit);
    while (open("/dev/null", O_RDONLY) >= 0) continue;
    CHECK(errno == EMFILE);
    for (int n = 0; n < 20; n++) churn(500);
    puts("ok");
}
