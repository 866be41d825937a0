// Memory before anything is initialised: from .preinit_array, when libc has no environment yet.
#include "check.h"

static void *early[10];
static void first(void) {
    for (int n = 0; n < 10; n++) early[n] = realloc(calloc(n + 1, 100), n * 300 + 1);
}
__attribute__((section(".preinit_array"), used)) static void (*const entry)(void) = first;
__attribute__((constructor(101))) static void second(void) {
    for (int n = 0; n < 5; n++) free(early[n]);
}
__attribute__((destructor)) static void last(void) {
    for (int n = 5; n < 10; n++) free(early[n]);
    churn(100);
}

int main(void) {
    churn(100);
    puts("ok");
}
