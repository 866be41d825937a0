/* What a program of musl allocates, with known totals: by its main thread, by threads on musl's own stacks and on the
 * smallest ones, by musl itself, and by a child of fork. With an argument it then waits for the end of its input. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 1000, BYTES = 4096, SMALLEST = 16384 };

/* Volatile, so that no compiler leaves calls out; of each thread, so that none frees another's block. */
_Thread_local void *volatile kept;

__attribute__((noinline)) void *keep(size_t bytes)
{
    void *block = malloc(bytes);
    memset(block, 1, bytes);
    kept = block;
    return kept;
}

__attribute__((noinline)) void *leak(void *_)
{
    for (int i = 0; i < BLOCKS; i++) {
        keep(BYTES);
        kept = realloc(malloc(30), BYTES / 2);
        free(kept);
        free(strdup("of musl itself"));
        kept = aligned_alloc(64, 256);
        free(kept);
    }
    return (void *)kept;
}

__attribute__((noinline)) void *small(void *_)
{
    leak(_);
    return (void *)kept;
}

int main(int count, char **words)
{
    pthread_t threads[3];
    pthread_attr_t smallest;
    pthread_attr_init(&smallest);
    pthread_attr_setstacksize(&smallest, SMALLEST);
    /* First alone: while a thread opens the live profile, no others are sampled. */
    leak(0);
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], i ? 0 : &smallest, i ? leak : small, 0))
            return 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
    kept = &threads;
    pid_t child = fork();
    if (child == 0) {
        leak(0);
        exit(kept == 0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    printf("%d %s\n", status, getenv("NAME") ? getenv("NAME") : "-");
    fflush(stdout);
    if (count > 1)
        while (getchar() != EOF)
            ;
    return 0;
}
