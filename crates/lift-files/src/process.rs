//! What this process has taken of the machine so far.

use nix::sys::resource::{UsageWho, getrusage};

use crate::memory::bytes_of;

/// User and system time of this process so far, in seconds.
pub fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for its own usage");
    [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
        .iter()
        .sum()
}

/// The most memory that this process has had, in bytes; `None` where the system does not say.
pub fn peak_memory_bytes() -> Option<u64> {
    bytes_of("/proc/self/status", "VmHWM:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_some_memory() {
        assert!(peak_memory_bytes().unwrap() > 1 << 20);
    }
}
