// A wild pointer to setrlimit and prlimit: the kernel answers EFAULT, and nothing else happens.
#include "check.h"
#include <sys/resource.h>

int main(void) {
    churn(200);
    struct rlimit *wild = (struct rlimit *)16, before, after;
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    CHECK(setrlimit(RLIMIT_AS, wild) == -1 && errno == EFAULT);
    CHECK(prlimit(0, RLIMIT_AS, wild, NULL) == -1 && errno == EFAULT);
    CHECK(prlimit(0, RLIMIT_NOFILE, wild, NULL) == -1 && errno == EFAULT);
    CHECK(prlimit(0, RLIMIT_AS, NULL, wild) == -1 && errno == EFAULT);
    CHECK(getrlimit(RLIMIT_AS, &after) == 0 && after.rlim_cur == before.rlim_cur);
    // A limit above the hard one is refused, unless one may raise that; then it is no limit here.
    struct rlimit wrong = {2ul << 40, 1ul << 40};
    CHECK(setrlimit(RLIMIT_AS, &wrong) == -1 && errno == EINVAL);
    churn(200);
    // The kernel sets the new limit before it finds that the place for the old one is wild.
    struct rlimit limit = {2ul << 30, before.rlim_max};
    CHECK(prlimit(0, RLIMIT_AS, &limit, wild) == -1 && errno == EFAULT);
    CHECK(getrlimit(RLIMIT_AS, &after) == 0 && after.rlim_cur == limit.rlim_cur);
    void *block = malloc(512 << 20);
    CHECK(block);
    free(block);
    puts("ok");
}
