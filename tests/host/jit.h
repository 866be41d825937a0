// Code that no object and no table describes: a function in a page of its own that calls malloc.
#pragma once
#include <sys/mman.h>

typedef void *(*generated)(size_t size, void *(*allocate)(size_t));

// The function, or null where none can be made.
__attribute__((unused)) static generated generate(void) {
#if defined(__x86_64__)
    // push rbp; mov rbp, rsp; call rsi; pop rbp; ret
    static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd6, 0x5d, 0xc3};
#elif defined(__aarch64__)
    // stp x29, x30, [sp, #-16]!; mov x29, sp; blr x1; ldp x29, x30, [sp], #16; ret
    static const unsigned int code[] = {0xa9bf7bfd, 0x910003fd, 0xd63f0020, 0xa8c17bfd, 0xd65f03c0};
#endif
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return NULL;
    memcpy(page, code, sizeof code);
    __builtin___clear_cache(page, page + sizeof code);
    return (generated)page;
}
