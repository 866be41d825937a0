/* Something for a compiler to do, and for its product to print. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t count_primes(size_t limit)
{
    char *composite = calloc(limit + 1, 1);
    size_t primes = 0;
    for (size_t i = 2; i <= limit; i++) {
        if (composite[i])
            continue;
        primes++;
        for (size_t multiple = i * i; multiple <= limit; multiple += i)
            composite[multiple] = 1;
    }
    free(composite);
    return primes;
}

int main(void)
{
    char *text = strdup("primes");
    for (size_t limit = 10; limit <= 1000000; limit *= 10)
        printf("%s below %zu: %zu\n", text, limit, count_primes(limit));
    text = realloc(text, 4096);
    free(text);
    return 0;
}
