// Listens to the probes otel_memory:alloc and :free as a tracer does: the note says where they are and what to count
// up, both are written through /proc/self/mem, and the breakpoint's signal tells the arguments. Then blocks come and go
// in every way, and each that was told of must have ended once, before its address came again.
//   probes heard|silent    whether prof_usdt is on
//   probes weights         how many bytes the samples stand for, of 40 million that are allocated
#include "check.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/ucontext.h>
#include <sys/wait.h>

struct probe {
    uint64_t at, semaphore;
    char arguments[64];
};

static struct probe probe_alloc, probe_free;
static int memory;

// ---- The note, and what a tracer writes.

// Where the library lies, and its path.
static uint64_t find_library(char *path, size_t size) {
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    char line[4096];
    uint64_t start = 0;
    while (!start && fgets(line, sizeof line, maps)) {
        char *name = strchr(line, '/');
        if (!name || !strstr(name, "libheaptap")) continue;
        CHECK(sscanf(line, "%" SCNx64, &start) == 1);
        snprintf(path, size, "%.*s", (int)strcspn(name, "\n"), name);
    }
    fclose(maps);
    CHECK(start);
    return start;
}

// Whether the address lies in a segment of the file with these flags, within what the file has of it.
static bool in_segment(const uint8_t *file, uint64_t address, unsigned flags) {
    const Elf64_Ehdr *header = (const void *)file;
    const Elf64_Phdr *segment = (const void *)(file + header->e_phoff);
    for (int n = 0; n < header->e_phnum; n++) {
        const Elf64_Phdr *at = &segment[n];
        // What the loader makes read-only is no place for a counter.
        if (at->p_type == PT_GNU_RELRO && (flags & PF_W) && address - at->p_vaddr < at->p_memsz) return false;
    }
    for (int n = 0; n < header->e_phnum; n++) {
        const Elf64_Phdr *at = &segment[n];
        if (at->p_type == PT_LOAD && (at->p_flags & flags) == flags && address - at->p_vaddr < at->p_filesz) return true;
    }
    return false;
}

static const Elf64_Shdr *section(const uint8_t *file, const char *name) {
    const Elf64_Ehdr *header = (const void *)file;
    const Elf64_Shdr *sections = (const void *)(file + header->e_shoff);
    const char *names = (const char *)file + sections[header->e_shstrndx].sh_offset;
    for (int n = 0; n < header->e_shnum; n++)
        if (!strcmp(names + sections[n].sh_name, name)) return &sections[n];
    return NULL;
}

static void read_notes(void) {
    char path[4096];
    uint64_t base = find_library(path, sizeof path);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    CHECK(descriptor >= 0 && !fstat(descriptor, &about));
    const uint8_t *file = mmap(NULL, about.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    CHECK(file != MAP_FAILED);
    close(descriptor);
    const Elf64_Shdr *notes = section(file, ".note.stapsdt"), *anchor = section(file, ".stapsdt.base");
    CHECK(notes && notes->sh_type == SHT_NOTE && anchor && anchor->sh_addr);
    const uint8_t *at = file + notes->sh_offset, *end = at + notes->sh_size;
    while (at < end) {
        const Elf64_Nhdr *note = (const void *)at;
        const uint8_t *text = at + sizeof *note + ((note->n_namesz + 3) & ~3u);
        CHECK(note->n_type == 3 && !strcmp((const char *)(note + 1), "stapsdt"));
        uint64_t addresses[3];
        memcpy(addresses, text, sizeof addresses);
        const char *provider = (const char *)text + 24, *name = provider + strlen(provider) + 1;
        const char *arguments = name + strlen(name) + 1;
        CHECK(arguments + strlen(arguments) < (const char *)text + note->n_descsz);
        CHECK(!strcmp(provider, "otel_memory"));
        struct probe *probe = !strcmp(name, "alloc") ? &probe_alloc : &probe_free;
        CHECK(probe == &probe_alloc || !strcmp(name, "free"));
        CHECK(!probe->at);
        CHECK(addresses[1] == anchor->sh_addr);
        CHECK(in_segment(file, addresses[0], PF_X) && in_segment(file, addresses[2], PF_W));
        probe->at = base + addresses[0], probe->semaphore = base + addresses[2];
        snprintf(probe->arguments, sizeof probe->arguments, "%s", arguments);
        at = text + ((note->n_descsz + 3) & ~3u);
    }
    CHECK(probe_alloc.at && probe_free.at);
    munmap((void *)file, about.st_size);
}

static void count(const struct probe *probe, int by) {
    uint16_t listeners;
    CHECK(pread(memory, &listeners, sizeof listeners, probe->semaphore) == sizeof listeners);
    listeners += by;
    CHECK(pwrite(memory, &listeners, sizeof listeners, probe->semaphore) == sizeof listeners);
}

static void set_breakpoint(const struct probe *probe) {
#if defined(__x86_64__)
    uint8_t nop, trap = 0xcc;
    const uint8_t expected = 0x90;
#else
    uint32_t nop, trap = 0xd4200000;
    const uint32_t expected = 0xd503201f;
#endif
    CHECK(pread(memory, &nop, sizeof nop, probe->at) == sizeof nop && nop == expected);
    CHECK(pwrite(memory, &trap, sizeof trap, probe->at) == sizeof trap);
}

// ---- What is heard.

struct event {
    uint64_t pointer, size, weight;
    bool is_free;
};

#define MOST (1 << 20)
static struct event events[MOST];
static atomic_uint heard;

static void on_breakpoint(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    mcontext_t *at = &((ucontext_t *)context)->uc_mcontext;
#if defined(__x86_64__)
    uint64_t pc = at->gregs[REG_RIP] - 1;
    uint64_t arguments[] = {at->gregs[REG_RDI], at->gregs[REG_RSI], at->gregs[REG_RDX]};
#else
    uint64_t pc = at->pc;
    uint64_t arguments[] = {at->regs[0], at->regs[1], at->regs[2]};
    at->pc += 4;
#endif
    unsigned number = atomic_fetch_add(&heard, 1);
    if (number >= MOST) abort();
    events[number] = (struct event){arguments[0], arguments[1], arguments[2], pc == probe_free.at};
    if (pc != probe_free.at && pc != probe_alloc.at) abort();
}

// What a tracer believes of an address after so many events: 1 live, 0 not, and whether all was in turn.
static int believed(void *pointer) {
    int live = 0;
    for (unsigned n = 0; n < heard; n++) {
        if (events[n].pointer != (uint64_t)pointer) continue;
        CHECK(live == events[n].is_free);
        live = !events[n].is_free;
    }
    return live;
}

static unsigned told(bool is_free) {
    unsigned sum = 0;
    for (unsigned n = 0; n < heard; n++) sum += events[n].is_free == is_free;
    return sum;
}

// The size that the newest `alloc` of a block had.
static uint64_t size_of(void *pointer) {
    for (unsigned n = heard; n-- > 0;)
        if (events[n].pointer == (uint64_t)pointer && !events[n].is_free) return events[n].size;
    CHECK(!"told of");
    return 0;
}

// ---- The program.

static void *volatile escaped;

static void *kept(void *block) {
    CHECK(block);
    return escaped = block;
}

static void lives(void *block, uint64_t size) {
    CHECK(believed(block) == 1);
    CHECK(size_of(block) == size);
}

static void *frees(void *block) {
    free(block);
    return NULL;
}

static __thread void *of_thread;
static pthread_key_t key;
static void *gone[2];

static void *ends(void *unused) {
    (void)unused;
    of_thread = gone[0] = kept(malloc(3000));
    pthread_setspecific(key, gone[1] = kept(malloc(4000)));
    free(of_thread);
    return NULL;
}

static void *churns(void *unused) {
    (void)unused;
    churn(3000);
    return NULL;
}

static void each_way(void) {
    void *block = kept(malloc(123));
    lives(block, 123);
    free(block);
    CHECK(believed(block) == 0);
    block = kept(calloc(10, 77));
    lives(block, 770);
    free(block);
    CHECK(believed(block) == 0);
    CHECK(!posix_memalign(&block, 4096, 5000));
    lives(kept(block), 5000);
    free(block);
    CHECK(believed(block) == 0);

    // Resizes: within a size class, to another place, of large blocks.
    static const size_t sizes[] = {100, 101, 5000, 20000, 90000, 400000, 400001, 3000000, 30000, 10};
    block = NULL;
    for (unsigned n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        void *before = block;
        block = kept(realloc(block, sizes[n]));
        lives(block, sizes[n]);
        CHECK(block == before || !before || believed(before) == 0);
    }
    block = realloc(block, 0);
    CHECK(!block || believed(block) == 1);
    free(block);

    // By another thread, and at the ends of threads.
    pthread_t thread;
    block = kept(malloc(2000));
    CHECK(!pthread_create(&thread, NULL, frees, block) && !pthread_join(thread, NULL));
    CHECK(believed(block) == 0);
    CHECK(!pthread_key_create(&key, free));
    CHECK(!pthread_create(&thread, NULL, ends, NULL) && !pthread_join(thread, NULL));
    CHECK(believed(gone[0]) == 0 && believed(gone[1]) == 0);

    // What a child frees lives on in its parent.
    block = kept(malloc(1000));
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        free(block);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    lives(block, 1000);
    free(block);
    CHECK(believed(block) == 0);

    // Several at once: each address is live and not in turn, whoever has it.
    pthread_t threads[4];
    for (int n = 0; n < 4; n++) CHECK(!pthread_create(&threads[n], NULL, churns, NULL));
    for (int n = 0; n < 4; n++) CHECK(!pthread_join(threads[n], NULL));
}

static int by_address(const void *left, const void *right) {
    const struct event *a = left, *b = right;
    if (a->pointer != b->pointer) return a->pointer < b->pointer ? -1 : 1;
    return a->weight < b->weight ? -1 : a->weight > b->weight;
}

// Every address in turn, of all events.
static void check_turns(void) {
    unsigned all = heard;
    // Sorted by address and time: the weight is not wanted any more.
    for (unsigned n = 0; n < all; n++) events[n].weight = n;
    qsort(events, all, sizeof *events, by_address);
    for (unsigned n = 0; n < all; n++) {
        bool is_first = !n || events[n].pointer != events[n - 1].pointer;
        // A free before the first alloc: of a block from before.
        CHECK(is_first || events[n].is_free != events[n - 1].is_free);
    }
}

static void weigh(void) {
    uint64_t wanted = 0, sum = 0;
    for (unsigned n = 0; n < 200000; n++) {
        size_t size = 1 + n * 2654435761u % 400;
        wanted += size;
        free(kept(malloc(size)));
    }
    for (unsigned n = 0; n < heard; n++) sum += events[n].is_free ? 0 : events[n].weight;
    printf("%" PRIu64 " %" PRIu64 " %u %u\n", wanted, sum, told(false), told(true));
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 2);
    if (!getenv("LD_PRELOAD")) return 0;
    read_notes();
    memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    NEED(memory >= 0);
    struct sigaction action = {.sa_sigaction = on_breakpoint, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(!sigaction(SIGTRAP, &action, NULL));
    set_breakpoint(&probe_alloc);
    set_breakpoint(&probe_free);
    void *before = kept(malloc(500));
    churn(100);
    // Nobody listens.
    CHECK(heard == 0);

    count(&probe_alloc, 1);
    count(&probe_free, 1);
    if (!strcmp(arguments[1], "weights")) {
        weigh();
        return 0;
    }
    bool is_heard = !strcmp(arguments[1], "heard");
    if (is_heard) {
        each_way();
        free(before);
    } else {
        churn(1000);
    }
    // One of two goes: the other still hears.
    count(&probe_alloc, 1);
    count(&probe_alloc, -1);
    unsigned until_now = heard;
    free(kept(malloc(50)));
    CHECK(heard == until_now + (is_heard ? 2 : 0));
    count(&probe_alloc, -1);
    count(&probe_free, -1);
    until_now = heard;
    churn(100);
    CHECK(heard == until_now);
    if (is_heard) {
        // glibc keeps the stacks of threads that ended, and what belongs to them.
        CHECK(told(false) > 1000 && told(true) + 20 > told(false));
        check_turns();
    } else {
        CHECK(heard == 0);
    }
    printf("alloc %s, free %s\n", probe_alloc.arguments, probe_free.arguments);
    return 0;
}
