// SPDX-License-Identifier: Apache-2.0

// What the single-step test steps through in Go: between two breakpoints, on one locked thread, with a
// stack that is large enough from the start.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"time"
)

type shape interface{ area(n int) int }
type square struct{ side int }
type circle struct{ r, pad int }

//go:noinline
func (s square) area(n int) int { return leaf(s.side*s.side + n) }

//go:noinline
func (c *circle) area(n int) int { return leaf(c.r*c.r*3 + n) }

//go:noinline
func leaf(x int) int { return x*31 ^ x>>3 }

//go:noinline
func recurse(n, x int) int {
	var pad [5]int
	pad[n%5] = x
	if n == 0 {
		return leaf(x)
	}
	return recurse(n-1, x+1) + pad[(n+1)%5]
}

//go:noinline
func big(x int) int {
	var box [600]int
	box[x%600] = x
	return leaf(box[(x+1)%600]) + recurse(2, x)
}

//go:noinline
func deferring(x int) (r int) {
	defer func() {
		if e := recover(); e != nil {
			r = recurse(3, x)
		}
	}()
	if x > 0 {
		panic("stepped")
	}
	return leaf(x)
}

//go:noinline
func work() int {
	sum := 0
	for _, s := range []shape{square{3}, &circle{4, 0}} {
		sum += s.area(7)
	}
	sum += recurse(20, 1) + big(5)
	f := func(a int) int { return leaf(a + sum) }
	sum += f(3)
	sum += deferring(0)
	m := map[string]int{}
	for i := 0; i < 6; i++ {
		m[strings.Repeat("k", i)] = i
	}
	v := make([]int, 0)
	for i := 0; i < 20; i++ {
		v = append(v, leaf(i)%17)
	}
	sort.Ints(v)
	sum += len(fmt.Sprintf("%d %s %v", sum, "x", v))
	sum += int(time.Now().UnixNano() & 1)
	os.Getpid()
	return sum
}

//go:noinline
func grow(n int) int {
	var pad [1024]int
	pad[n] = n
	if n == 0 {
		return 0
	}
	return grow(n-1) + pad[n]
}

func init() { runtime.LockOSThread() }

func main() {
	sink := grow(64)
	runtime.Gosched() // its time slice begins anew
	runtime.Breakpoint()
	sink += work()
	runtime.Breakpoint()
	if sink == 42 {
		os.Exit(1)
	}
}
