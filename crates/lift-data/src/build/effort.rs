//! Where a build's time goes: thread time by step, and the peak of memory.
//!
//! It measures and decides nothing: the bytes of a build do not depend on it.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Time that threads spent in each step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Effort {
    pub(crate) read: Duration,
    pub(crate) decode: Duration,
    pub(crate) resize: Duration,
    pub(crate) encode: Duration,
    /// Into shards, with their hashes; the writer's thread alone.
    pub(crate) write: Duration,
}

impl AddAssign for Effort {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.decode += other.decode;
        self.resize += other.resize;
        self.encode += other.encode;
        self.write += other.write;
    }
}

/// Each step's share of the time that threads worked; they sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Shares {
    /// Reading source files.
    pub read: f64,
    /// Decoding them.
    pub decode: f64,
    /// Resizing pixels.
    pub resize: f64,
    /// Encoding JPEG or PNG.
    pub encode: f64,
    /// Writing and hashing shards.
    pub write: f64,
}

impl Effort {
    /// The shares; `None` where nothing was done.
    pub(crate) fn shares(self) -> Option<Shares> {
        let steps = [self.read, self.decode, self.resize, self.encode, self.write];
        let total: f64 = steps.iter().map(Duration::as_secs_f64).sum();
        let share = |step: Duration| (step.as_secs_f64() / total * 1e3).round() / 1e3;
        (total > 0.0).then(|| Shares {
            read: share(self.read),
            decode: share(self.decode),
            resize: share(self.resize),
            encode: share(self.encode),
            write: share(self.write),
        })
    }
}

/// Runs `step` and adds its time to `spent`.
pub(crate) fn timed<T>(spent: &mut Duration, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = step();
    *spent += start.elapsed();
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_whole() {
        assert_eq!(Effort::default().shares(), None);
        let mut effort = Effort {
            decode: Duration::from_millis(30),
            ..Effort::default()
        };
        effort += Effort {
            resize: Duration::from_millis(10),
            ..Effort::default()
        };
        let shares = effort.shares().unwrap();
        assert_eq!(
            (shares.decode, shares.resize, shares.write),
            (0.75, 0.25, 0.0)
        );
    }
}
