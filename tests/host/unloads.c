// Libraries that libc opens and closes by itself (iconv's converters), and others at the same addresses afterwards:
// what the unwinder remembers of code that is gone must not be believed.
#include "check.h"
#include <dlfcn.h>
#include <iconv.h>
#include <pthread.h>

static volatile int stop;

static void *churning(void *none) {
    while (!stop) churn(100);
    return none;
}

int main(void) {
    const char *sets[] = {"EUC-JP", "BIG5", "KOI8-R", "GB18030", "SHIFT_JIS", "ISO-8859-7", "CP1251", "EUC-KR"};
    pthread_t thread;
    pthread_create(&thread, NULL, churning, NULL);
    int opened = 0;
    for (int round = 0; round < 60; round++) {
        for (int n = 0; n < 8; n++) {
            iconv_t converter = iconv_open("UTF-8", sets[(n * 3 + round) % 8]);
            if (converter == (iconv_t)-1) continue;
            opened++;
            char in[] = "plain text", out[100], *from = in, *to = out;
            size_t left = sizeof in, room = sizeof out;
            CHECK(iconv(converter, &from, &left, &to, &room) == 0 && strcmp(out, in) == 0);
            CHECK(iconv_close(converter) == 0);
            // Lands where a converter was, and allocates from there.
            void *library = dlopen(PLUGIN, RTLD_NOW);
            CHECK(library);
            void *(*work)(unsigned) = (void *(*)(unsigned))dlsym(library, "plugin_work");
            for (int at = 0; at < 5; at++) free(work(round * 10));
            CHECK(dlclose(library) == 0);
        }
    }
    stop = 1;
    pthread_join(thread, NULL);
    NEED(opened > 0);
    puts("ok");
}
