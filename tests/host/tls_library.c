// 512 bytes of initial-exec TLS, as OpenGL drivers and OpenMP runtimes have.
static __thread __attribute__((tls_model("initial-exec"))) int counters[128];
int bump(void) { return ++counters[100]; }
