// A library that waits for another thread while it is opened: `wait_for_worker` is the program's.
extern void wait_for_worker(void);

__attribute__((constructor)) static void open_slowly(void) { wait_for_worker(); }
