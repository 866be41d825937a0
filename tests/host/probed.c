// Allocates and frees one block between others, for a debugger that has set its breakpoints when begin is called.
#include "check.h"

__attribute__((noinline)) void begin(void) { __asm__ volatile(""); }

static __attribute__((noinline)) char *gives_block(void) {
    char *block = malloc(12345);
    CHECK(block);
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}

int main(void) {
    free(malloc(10));
    begin();
    char *block = gives_block();
    dprintf(1, "block %p\n", (void *)block);
    free(block);
    churn(20);
    return 0;
}
