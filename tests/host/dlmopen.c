// A second namespace has a libc and a malloc of its own, beside ours.
#include "check.h"
#include <dlfcn.h>
#include <gnu/lib-names.h>

int main(void) {
    for (int n = 0; n < 3; n++) {
        void *library = dlmopen(LM_ID_NEWLM, PLUGIN, RTLD_NOW);
        if (!library) puts(dlerror());
        CHECK(library);
        void *(*work)(unsigned) = (void *(*)(unsigned))dlsym(library, "plugin_work");
        void (*give_back)(void *) = (void (*)(void *))dlsym(library, "plugin_free");
        for (int round = 0; round < 200; round++) give_back(work(round));
        churn(200);
        CHECK(dlclose(library) == 0);
    }
    puts("ok");
}
