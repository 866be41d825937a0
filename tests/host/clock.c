// A library that puts a wall clock that jumps into the kernel's place: the tap asks the kernel for the time, through the
// image that the auxiliary vector points at. This one's constructor runs before the tap's where the tap is preloaded
// first.
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int jumping_clock(clockid_t clock, struct timespec *at) {
    static long jumps;
    int status = syscall(SYS_clock_gettime, clock, at);
    if (clock == CLOCK_REALTIME) at->tv_sec += jumps++ % 2 ? 86400 * 365 : -86400 * 365;
    return status;
}

// A copy of the image whose symbol of that function leads here.
static char *fake(const char *image) {
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(image + header->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    size_t bytes = 0, symbols = 0, names = 0;
    for (int n = 0; n < header->e_phnum; n++) {
        if (segments[n].p_type == PT_LOAD) bytes = segments[n].p_memsz;
        if (segments[n].p_type == PT_DYNAMIC) dynamic = (const Elf64_Dyn *)(image + segments[n].p_offset);
    }
    for (; dynamic->d_tag; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB) symbols = dynamic->d_un.d_ptr;
        if (dynamic->d_tag == DT_STRTAB) names = dynamic->d_un.d_ptr;
    }
    char *copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(copy, image, bytes);
    for (Elf64_Sym *symbol = (Elf64_Sym *)(copy + symbols); (char *)symbol < copy + names; symbol++) {
        const char *name = copy + names + symbol->st_name;
        if (!strcmp(name, "__vdso_clock_gettime") || !strcmp(name, "__kernel_clock_gettime"))
            symbol->st_value = (char *)jumping_clock - copy;
    }
    return copy;
}

__attribute__((constructor)) static void replace(void) {
    char **end = environ;
    while (*end) end++;
    for (ElfW(auxv_t) *entry = (ElfW(auxv_t) *)(end + 1); entry->a_type; entry++)
        if (entry->a_type == AT_SYSINFO_EHDR) entry->a_un.a_val = (uintptr_t)fake((const char *)entry->a_un.a_val);
}
