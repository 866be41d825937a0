// Code without unwind rules and with garbage in the frame pointer calls malloc.
#include "check.h"

#if defined(__x86_64__)
__asm__(
    ".text\n.globl bare\n.type bare,@function\nbare:\n"
    "push %rbp\nmov %rsi, %rbp\ncall malloc\npop %rbp\nret\n.size bare,.-bare\n");
void *bare(size_t, uintptr_t);
#else
void *bare(size_t size, uintptr_t rbp) { return malloc(size); }
#endif

int main(void) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t wild[] = {0, 1, 8, 0x123456789abc, here + 1, here - 8, here + (1 << 20), ~(uintptr_t)0, (uintptr_t)main,
                        (uintptr_t)1 << 63, here & ~(uintptr_t)4095};
    for (int n = 0; n < 2000; n++) free(bare(n, wild[n % 11]));
    for (int n = 0; n < 11; n++) free(bare(3 << 20, wild[n]));
    puts("ok");
}
