// Leaks 4 MB, confines itself to an empty directory (HAProxy, Postfix, bind do), and leaks on until it is killed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *volatile kept;

__attribute__((noinline)) static void leak_one(size_t bytes) {
    kept = malloc(bytes);
    memset(kept, 1, bytes);
}

int main(int count, char **arguments) {
    for (int i = 0; i < 1000; i++) leak_one(4096);
    if (chroot(arguments[count - 1]) || chdir("/")) return 1;
    puts("confined");
    fflush(stdout);
    for (;;) {
        for (int k = 0; k < 200; k++) leak_one(4096);
        usleep(100000);
    }
}
