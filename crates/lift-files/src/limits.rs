//! How much of a machine a program may be asked for: threads, and seconds of measuring.
//!
//! Invariant: a number that passes here can be served; more threads than this take minutes to start and do nothing.

use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::Deserialize;

/// More than any machine has cores.
pub const MOST_THREADS: usize = 1024;

/// A day.
pub const MOST_SECONDS: f64 = 86_400.0;

/// A number of threads, from 1 to [`MOST_THREADS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct Threads(NonZeroUsize);

impl Threads {
    /// One a core.
    pub fn all_cores() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self(NonZeroUsize::new(cores.min(MOST_THREADS)).unwrap_or(NonZeroUsize::MIN))
    }

    /// The number.
    pub fn number(self) -> NonZeroUsize {
        self.0
    }
}

impl TryFrom<usize> for Threads {
    type Error = String;

    fn try_from(number: usize) -> Result<Self, String> {
        match NonZeroUsize::new(number) {
            Some(threads) if number <= MOST_THREADS => Ok(Self(threads)),
            _ => Err(format!("threads are a number from 1 to {MOST_THREADS}")),
        }
    }
}

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What is no number is none from 1 on either.
        text.parse().unwrap_or(0).try_into()
    }
}

/// A typed number of seconds, from 0 to [`MOST_SECONDS`].
///
/// # Errors
/// When it is another number, or none.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=MOST_SECONDS).contains(&seconds) => Ok(seconds),
        _ => Err(format!("seconds are a number from 0 to {MOST_SECONDS}")),
    }
}
