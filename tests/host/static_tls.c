// A library with static TLS of its own is opened late: the tap must not have used the spare room up.
#include "check.h"
#include <dlfcn.h>

int main(void) {
    churn(100);
    void *library = dlopen(PLUGIN ".tls.so", RTLD_NOW);
    if (!library) puts(dlerror());
    CHECK(library);
    int (*bump)(void) = (int (*)(void))dlsym(library, "bump");
    CHECK(bump() == 1 && bump() == 2);
    puts("ok");
}
