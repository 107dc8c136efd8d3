//! What libtorch computes with: how many threads, how they wait for each other, and how the C library keeps memory for them.
//!
//! libtorch's operations are divided among threads of OpenMP, which spin at the end of each until the last is done. On a core
//! that other work wants too, that spinning takes the time which the last one needs: training falls to a tenth. And each batch
//! asks for the same tens of megabytes, which glibc gives back to the system at the end of each and clears anew for the next:
//! a sixth of the time of a frozen tower.
//! In which order sums are added, so that weights do not follow the number of threads, is set where libtorch is linked (`cpp/shim.cpp`).
//! Invariant: a variable that the user has set decides.

use std::{env, num::NonZeroUsize, thread};

/// Read by libgomp and glibc when they are loaded, before `main`: a variable, our value, and the variables that say the user has
/// decided. Turns of libgomp's spinning loop: some tens of microseconds, no less than the system takes to wake a thread. Bytes:
/// 32 MiB is the most that every glibc takes; without it a fixed threshold would leave the other at 128 KiB.
const SETTINGS: [(&str, &str, &[&str]); 3] = [
    (
        "GOMP_SPINCOUNT",
        "10000",
        &["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"],
    ),
    ("MALLOC_MMAP_THRESHOLD_", "33554432", MALLOC),
    ("MALLOC_TRIM_THRESHOLD_", "1073741824", MALLOC),
];
const MALLOC: &[&str] = &[
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "GLIBC_TUNABLES",
];
/// What says how many threads libtorch takes.
const COUNTS: [&str; 2] = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"];

/// Prepares this process to compute: starts it once more with the settings that the environment leaves open, and lets libtorch
/// have the threads that this process may use, unless the environment says how many.
///
/// OpenMP itself counts the cores of the machine, this the share of them that a container was given.
///
/// To be called once, at the start of `main`. Where the process cannot be started again it goes on as it is.
pub fn prepare() {
    let open = SETTINGS.into_iter();
    let open = open.filter(|(_, _, decided)| !decided.iter().any(|name| is_set(name)));
    let open: Vec<_> = open.map(|(name, value, _)| (name, value)).collect();
    if !open.is_empty() {
        lift_files::restart_with(open);
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
        let expected = if COUNTS.into_iter().any(is_set) {
            before
        } else {
            3
        };
        compute_with(3);
        assert_eq!(tch::get_num_threads(), expected);
        tch::set_num_threads(before);
    }
}
