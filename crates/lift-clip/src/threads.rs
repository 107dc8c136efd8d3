//! How many threads libtorch computes with, and how they wait for each other.
//!
//! libtorch's operations are divided among threads of OpenMP, which spin at the end of each until the last is done. On a core
//! that other work wants too, that spinning takes the time which the last one needs: training falls to a tenth.
//! Invariant: a variable that the user has set decides.

use std::{env, num::NonZeroUsize, thread};

/// What says how long a thread of OpenMP spins before it sleeps. libgomp reads them when it is loaded, before `main`.
const WAITING: [&str; 2] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"];
/// Turns of the spinning loop: some microseconds, about as long as the system takes to wake a thread.
const SPIN_COUNT: &str = "1000";
/// What says how many threads libtorch takes.
const COUNTS: [&str; 2] = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"];

/// Prepares this process to compute: starts it once more with a bounded spinning of OpenMP's threads, unless the environment
/// says how they wait; and lets libtorch have the threads that this process may use, unless the environment says how many.
///
/// OpenMP itself counts the cores of the machine, this the share of them that a container was given.
///
/// To be called once, at the start of `main`. Where the process cannot be started again it goes on as it is.
pub fn prepare() {
    #[cfg(target_os = "linux")]
    if !WAITING.into_iter().any(is_set) {
        use std::{os::unix::process::CommandExt, process::Command};
        let mut words = env::args_os();
        let mut again = Command::new("/proc/self/exe");
        if let Some(name) = words.next() {
            again.arg0(name);
        }
        // Comes back only where it fails; then this process goes on, and its threads spin.
        let _error = again.args(words).env("GOMP_SPINCOUNT", SPIN_COUNT).exec();
    }
    compute_with(thread::available_parallelism().map_or(1, NonZeroUsize::get));
}

/// Lets libtorch compute with so many threads, the budget that a program's `--threads` gives it and the loader; 0: no change.
pub fn compute_with(threads: usize) {
    if threads > 0 && !COUNTS.into_iter().any(is_set) {
        tch::set_num_threads(threads as i32);
    }
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_reaches_libtorch_unless_the_environment_says_how_many() {
        let before = tch::get_num_threads();
        compute_with(0);
        assert_eq!(tch::get_num_threads(), before);
        let expected = match COUNTS.into_iter().any(is_set) {
            true => before,
            false => 3,
        };
        compute_with(3);
        assert_eq!(tch::get_num_threads(), expected);
        tch::set_num_threads(before);
    }
}
