// A server that calls mlockall at its start without the right to, as Elasticsearch does with bootstrap.memory_lock and
// Cassandra always, and then leaks so many MiB in blocks of so many bytes.
#define _GNU_SOURCE
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

// An exec gives root all that the bounding set has.
static void give_up_the_right(void) {
    prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2];
    if (syscall(SYS_capget, &header, sets)) return;
    for (int n = 0; n < 2; n++) sets[n].inheritable = 0;
    sets[0].effective &= ~(1u << CAP_IPC_LOCK), sets[0].permitted &= ~(1u << CAP_IPC_LOCK);
    syscall(SYS_capset, &header, sets);
}

__attribute__((noinline)) static void leak(size_t bytes) {
    void *block = malloc(bytes);
    memset(block, 1, 100);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        struct rlimit limit = {65536, 65536};
        setrlimit(RLIMIT_MEMLOCK, &limit);
        give_up_the_right();
        execl("/proc/self/exe", argv[0], argv[1], argv[2], "limited", NULL);
        return 1;
    }
    size_t all = atol(argv[1]) << 20, bytes = atol(argv[2]);
    puts(mlockall(MCL_CURRENT) ? "refused" : "locked");
    for (size_t leaked = 0; leaked < all; leaked += bytes) leak(bytes);
    return 0;
}
