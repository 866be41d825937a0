// A function whose unwind rules are lies calls malloc: whoever believes them reads nowhere.
#include "check.h"

#if defined(__x86_64__)
__asm__(
    ".text\n.globl lying\n.type lying,@function\nlying:\n.cfi_startproc\n"
    "push %rbx\n"
    // CFA = *(a null pointer): def_cfa_expression {lit0 deref}
    ".cfi_escape 0x0f, 2, 0x30, 0x06\n"
    "call malloc\npop %rbx\nret\n.cfi_endproc\n.size lying,.-lying\n"
    ".globl wild\n.type wild,@function\nwild:\n.cfi_startproc\n"
    "push %rbx\nmov $0x123456789abc, %rbx\n"
    // CFA = rbx + 8
    ".cfi_def_cfa rbx, 8\n"
    "call malloc\npop %rbx\nret\n.cfi_endproc\n.size wild,.-wild\n"
    ".globl looping\n.type looping,@function\nlooping:\n.cfi_startproc\n"
    "push %rbx\n"
    // CFA = rsp, return address at CFA + 0: for ever the same frame
    ".cfi_def_cfa rsp, 0\n.cfi_offset rip, 0\n"
    "call malloc\npop %rbx\nret\n.cfi_endproc\n.size looping,.-looping\n");
#else
void *lying(size_t size) { return malloc(size); }
void *wild(size_t size) { return malloc(size); }
void *looping(size_t size) { return malloc(size); }
#endif
void *lying(size_t), *wild(size_t), *looping(size_t);

int main(void) {
    for (int n = 1; n < 500; n++) free(lying(n * 10)), free(wild(n * 10)), free(looping(n * 10));
    for (int n = 0; n < 3; n++) free(lying(3 << 20)), free(wild(3 << 20)), free(looping(3 << 20));
    puts("ok");
}
