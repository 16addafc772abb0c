// SPDX-License-Identifier: Apache-2.0

// Go: goroutines that burn in functions of their own, with a system call and a channel now and then.
package main

import (
	"os"
	"strconv"
	"time"
)

//go:noinline
func leaf(n int) int {
	s := 0
	for i := 0; i < n; i++ {
		s += i ^ (s << 1)
	}
	return s
}

//go:noinline
func middle(n int) int { return leaf(n) + 1 }

//go:noinline
func recurse(d int) int {
	if d == 0 {
		return middle(20000)
	}
	return recurse(d-1) + 1
}

func main() {
	secs := 10
	if len(os.Args) > 1 {
		secs, _ = strconv.Atoi(os.Args[1])
	}
	end := time.Now().Add(time.Duration(secs) * time.Second)
	results := make(chan int)
	work := func() {
		sum := 0
		for time.Now().Before(end) {
			sum += recurse(12)
			os.Getppid()
		}
		results <- sum
	}
	go work()
	go work()
	if <-results+<-results == 1 {
		os.Exit(1)
	}
}
