// Holds memory until it is killed. `holder BYTES [USER [raw]]`: with a user it becomes that one once it has a region, says
// whether it still has that mapped, and holds as much again. Raw: by system calls that libc knows nothing of.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void hold(size_t bytes) {
    for (size_t got = 0; got < bytes; got += 1 << 18) {
        void *volatile block = malloc(1 << 18);
        if (!block) exit(1);
        memset(block, 1, 100);
    }
}

/* Whether a region is mapped that is called so; its path goes to `path`, which may be what is looked for. */
static int has_region(const char *name, char *path) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], *found = NULL;
    while (!found && fgets(line, sizeof line, maps))
        if (strstr(line, name)) found = strcpy(path, strtok(strchr(line, '/'), " \n"));
    fclose(maps);
    return found != NULL;
}

int main(int count, char **words) {
    size_t bytes = strtoull(words[1], NULL, 10);
    hold(bytes);
    if (count > 2) {
        char first[512] = "";
        printf("before: %d\n", has_region(".region", first));
        int user = atoi(words[2]);
        // The helper thread starts with a sample of a process that has lived for a second.
        for (int n = 0; n < 15; n++) usleep(100000), free(malloc(1 << 20));
        if (count > 3 ? syscall(SYS_setresuid, user, user, user) : setuid(user)) return 2;
        // It may have one of its own by now.
        printf("after: %d\n", has_region(first, first));
    }
    for (;;) {
        if (count > 2) hold(bytes), count = 0;
        puts("holding");
        fflush(stdout);
        // Each round a sample: the helper thread starts with one.
        for (int n = 0; n < 10; n++) {
            free(malloc(1 << 20));
            usleep(100000);
        }
    }
}
