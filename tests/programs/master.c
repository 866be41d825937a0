// A server's master: takes 2 MiB, listens on loopback, and then never calls malloc again.
//   master                 stays as it is
//   master daemon          goes into the background in a session of its own and forks a worker, as nginx and Apache do
//   master cell DIR UID    confines itself to DIR, becomes UID, and leaks a little there, as HAProxy does
//   master quiet           does not even listen
// Says its pid on stdout when it is so far, and waits to be killed.
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void *volatile kept;

__attribute__((noinline)) static void keep_one(size_t bytes) {
    kept = malloc(bytes);
    memset(kept, 1, bytes);
}

static void say_pid(void) {
    char line[32];
    int length = snprintf(line, sizeof line, "%d\n", (int)getpid());
    if (write(1, line, length) != length) _exit(1);
}

int main(int count, char **arguments) {
    const char *way = count > 1 ? arguments[1] : "";
    for (int i = 0; i < 512; i++) keep_one(4096);
    if (strcmp(way, "quiet")) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8)) return 1;
    }
    if (!strcmp(way, "daemon")) {
        if (fork()) _exit(0);
        setsid();
        if (!fork()) {
            for (;;) pause();
        }
    }
    if (!strcmp(way, "cell") && count > 3) {
        int user = atoi(arguments[3]);
        if (chroot(arguments[2]) || chdir("/") || setgid(user) || setuid(user)) return 1;
        for (int i = 0; i < 512; i++) keep_one(4096);
    }
    say_pid();
    for (;;) pause();
}
