// Everyday Go with cgo: goroutines that call C, which allocates and calls back; signals of Go's scheduler meanwhile.
package main

/*
#include <stdlib.h>
#include <string.h>

extern int visit(int);

static char *fill(int size) {
    char *block = malloc(size);
    memset(block, size % 251, size);
    return block;
}
static int there_and_back(int n) {
    char *block = calloc(n % 1000 + 1, 3);
    int sum = visit(n) + block[n % 1000];
    free(block);
    return sum;
}
*/
import "C"

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"unsafe"
)

//export visit
func visit(n C.int) C.int {
	return C.int(len(strings.Repeat("x", int(n%100))))
}

func work(worker int) int {
	sum := 0
	for i := 0; i < 2000; i++ {
		block := C.fill(C.int(i%3000 + 1))
		sum += int(*(*byte)(unsafe.Pointer(block)))
		text := C.CString(fmt.Sprint("worker ", worker, " round ", i))
		sum += len(C.GoString(text))
		C.free(unsafe.Pointer(text))
		sum += int(C.there_and_back(C.int(i)))
		C.free(unsafe.Pointer(block))
	}
	return sum
}

func main() {
	var group sync.WaitGroup
	sums := make([]int, 8)
	for worker := range sums {
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			sums[worker] = work(worker)
		}(worker)
	}
	group.Wait()
	fmt.Println(sums)
	out, err := exec.Command("sh", "-c", "echo child").CombinedOutput()
	fmt.Println(strings.TrimSpace(string(out)), err)
}
