// LD_AUDIT: the auditing library has a namespace with a libc and a malloc of its own, and hears of every object. The
// loader has then laid out static TLS before it sees a preload, and has room for 512 bytes more: an allocator
// with thread caches in TLS (any jemalloc) needs the tunable.
#include "check.h"
#include <dlfcn.h>

int main(int argc, char **argv) {
    if (argc == 1) {
        setenv("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=4096", 1);
        setenv("LD_AUDIT", PLUGIN ".audit.so", 1);
        execl("/proc/self/exe", argv[0], "audited", NULL);
        _exit(9);
    }
    for (int n = 0; n < 10; n++) {
        void *library = dlopen(PLUGIN, RTLD_NOW);
        CHECK(library);
        void *(*work)(unsigned) = (void *(*)(unsigned))dlsym(library, "plugin_work");
        void (*give_back)(void *) = (void (*)(void *))dlsym(library, "plugin_free");
        free(work(n * 100));
        give_back(malloc(n * 100));
        churn(300);
        CHECK(dlclose(library) == 0);
    }
    puts("ok");
}
