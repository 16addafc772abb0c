// SPDX-License-Identifier: Apache-2.0

// Rust: generics, a trait object and a closure.
use std::time::{Duration, Instant};

trait Work {
    fn run(&self, n: u64) -> u64;
}

struct Mixer {
    seed: u64,
}

impl Work for Mixer {
    #[inline(never)]
    fn run(&self, n: u64) -> u64 {
        let mut s = self.seed;
        for i in 0..n {
            s = std::hint::black_box(s ^ (i << 1));
        }
        s
    }
}

#[inline(never)]
fn apply<F: Fn(u64) -> u64>(f: F, n: u64) -> u64 {
    f(n).wrapping_add(1)
}

fn main() {
    let secs: u64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(10);
    let end = Instant::now() + Duration::from_secs(secs.min(120));
    let worker: Box<dyn Work> = Box::new(Mixer { seed: 3 });
    let mut sum = 0u64;
    while Instant::now() < end {
        sum = sum.wrapping_add(apply(|n| worker.run(n), 20000));
    }
    std::process::exit((sum == 1) as i32);
}
