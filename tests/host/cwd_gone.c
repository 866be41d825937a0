// The working folder is removed under the program, which then goes to /.
#include "check.h"
#include <sys/stat.h>

int main(void) {
    CHECK(mkdir("gone", 0700) == 0 && chdir("gone") == 0 && rmdir("../gone") == 0);
    churn(5000);
    CHECK(getcwd(NULL, 0) == NULL && errno == ENOENT);
    CHECK(chdir("/") == 0);
    churn(5000);
    puts("ok");
}
