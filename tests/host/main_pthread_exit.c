// main ends by pthread_exit: the process ends when the last of the program's threads does.
#include "check.h"
#include <pthread.h>

static void *worker(void *none) {
    usleep(100000);
    churn(2000);
    puts("ok");
    return none;
}

int main(void) {
    churn(2000);
    pthread_t thread;
    pthread_create(&thread, NULL, worker, NULL);
    pthread_detach(thread);
    pthread_exit(NULL);
}
