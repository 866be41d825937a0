// A library opened with RTLD_DEEPBIND binds to libc's free, and frees what the program allocated.
#include "check.h"
#include <dlfcn.h>

int main(void) {
    for (int n = 0; n < 20; n++) {
        void *library = dlopen(PLUGIN, RTLD_NOW | RTLD_DEEPBIND);
        CHECK(library);
        void *(*work)(unsigned) = (void *(*)(unsigned))dlsym(library, "plugin_work");
        void (*give_back)(void *) = (void (*)(void *))dlsym(library, "plugin_free");
        free(work(n * 100));
        give_back(malloc(n * 100));
        give_back(strdup("the program allocates, the library frees"));
        CHECK(dlclose(library) == 0);
    }
    puts("ok");
}
