// Courses of memory whose truth is known, one a mode, each through a function of its own name. Lives until it is
// killed, or for so many seconds: courses MODE SECONDS.
//   leak    a cache of 200 MiB at the start, then 1 MiB a second through the same function, never freed
//   stops   1 MiB a second for a third of the time, then nothing
//   steady  a table of 100 MiB; 64 KiB buffers, 10 MiB in flight, each freed after half a second
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FUNCTION __attribute__((noinline)) static
// Twentieths of a second that a buffer lives, and buffers of a twentieth.
enum { LIFETIME = 10, BUFFERS = 16, TURNS_A_SECOND = 20 };

static void *volatile kept;
static void *flying[LIFETIME][BUFFERS];

FUNCTION void cache_put(size_t bytes) {
  kept = malloc(bytes);
  memset(kept, 1, bytes);
}

FUNCTION void session_open(size_t bytes) {
  kept = malloc(bytes);
  memset(kept, 1, bytes);
}

FUNCTION void load_table(size_t bytes) {
  kept = malloc(bytes);
  memset(kept, 1, bytes);
}

FUNCTION void handle_requests(int turn) {
  for (int n = 0; n < BUFFERS; n++) {
    void **place = &flying[turn % LIFETIME][n];
    free(*place);
    *place = malloc(64 << 10);
    memset(*place, 1, 64 << 10);
  }
}

int main(int count, char **arguments) {
  const char *mode = count > 1 ? arguments[1] : "leak";
  int turns = TURNS_A_SECOND * (count > 2 ? atoi(arguments[2]) : 1000000);
  int is_leak = !strcmp(mode, "leak"), is_stops = !strcmp(mode, "stops");
  for (int n = 0; is_leak && n < 200 << 8; n++) cache_put(4096);
  for (int n = 0; !is_leak && !is_stops && n < 100 << 8; n++) load_table(4096);
  struct timespec nap = {0, 1000000000 / TURNS_A_SECOND};
  for (int turn = 0; turn < turns; turn++) {
    for (int n = 0; is_leak && n < 13; n++) cache_put(4096);
    for (int n = 0; is_stops && turn < turns / 3 && n < 26; n++) session_open(2048);
    if (!is_leak && !is_stops) handle_requests(turn);
    nanosleep(&nap, NULL);
  }
  return 0;
}
