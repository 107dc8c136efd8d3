//! How fast a server must send: one that drips is given up like one that is silent.

use std::time::{Duration, Instant};

/// Bytes a second that any line brings.
const SLOWEST: u64 = 1024;

/// Watches an answer while it is read.
#[derive(Debug)]
pub struct Pace {
    patience: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    /// For an answer that begins now; it may be slow for as long as `patience`.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Counts bytes that came.
    ///
    /// # Errors
    /// When less than 1 KiB a second has come for as long as the patience lasts; says how much.
    pub fn count(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes += bytes as u64;
        let time = self.since.elapsed();
        if time < self.patience {
            return Ok(());
        }
        let seconds = time.as_secs_f64();
        if (self.bytes as f64) < SLOWEST as f64 * seconds {
            return Err(format!(
                "the server is too slow: {} bytes in {seconds:.0} s",
                self.bytes
            ));
        }
        *self = Self::new(self.patience);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_is_given_up_and_a_stream_is_not() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(second);
        assert_eq!(pace.count(1), Ok(()), "it has a second");
        pace.since -= second;
        let said = pace.count(1).unwrap_err();
        assert_eq!(said, "the server is too slow: 2 bytes in 1 s");
        let mut pace = Pace::new(second);
        pace.since -= second;
        assert_eq!(pace.count(5000), Ok(()));
        assert_eq!(pace.bytes, 0, "counted anew");
    }
}
