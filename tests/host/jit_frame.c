// Generated code, which no object and no table describes, calls malloc; and goes while others run.
#include "check.h"
#include <sys/mman.h>

typedef void *(*code)(size_t);

int main(void) {
#if defined(__x86_64__)
    for (int n = 0; n < 300; n++) {
        unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        NEED(page != MAP_FAILED);
        unsigned char *at = page + n % 64;
        *at++ = 0x53;                                       // push rbx
        *at++ = 0x48, *at++ = 0xb8;                         // mov rax, malloc
        void *(*function)(size_t) = malloc;
        memcpy(at, &function, 8), at += 8;
        *at++ = 0xff, *at++ = 0xd0, *at++ = 0x5b, *at++ = 0xc3; // call rax; pop rbx; ret
        void *first = ((code)(page + n % 64))(n), *second = ((code)(page + n % 64))(200000);
        munmap(page, 4096);
        free(first), free(second);
    }
#endif
    puts("ok");
}
