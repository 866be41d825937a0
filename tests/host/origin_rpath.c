// dlopen looks a bare name up in the RUNPATH of the caller, $ORIGIN included: the caller must stay the program.
#include "check.h"
#include <dlfcn.h>

int main(void) {
    CHECK(dlerror() == NULL);
    void *library = dlopen("libhidden.so", RTLD_NOW);
    if (!library) puts(dlerror());
    CHECK(library && dlsym(library, "plugin_work"));
    CHECK(dlopen("libabsent.so", RTLD_NOW) == NULL);
    CHECK(strstr(dlerror(), "libabsent.so: cannot open shared object file"));
    CHECK(dlopen(NULL, RTLD_NOW));
    puts("ok");
}
