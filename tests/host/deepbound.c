// Says whose malloc a library reaches that is opened with RTLD_DEEPBIND.
#include "check.h"
#include <dlfcn.h>

int main(void) {
    void *library = dlopen(PLUGIN, RTLD_NOW | RTLD_DEEPBIND);
    CHECK(library);
    void *(*its_malloc)(void) = (void *(*)(void))dlsym(library, "plugin_malloc");
    puts(its_malloc() == dlsym(RTLD_DEFAULT, "malloc") ? "the process's" : "libc's");
}
