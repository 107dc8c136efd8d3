//! A shuffled order for data that is larger than memory, or lies on a slow disk: runs of neighbouring rows in random
//! order, and all that a window of some runs holds in random order.
//!
//! What is read at one time lies in few places, and each place is read to its end. It mixes less than [`Shuffle`]: rows
//! that lie together are drawn together, so shards should be built with `--order shuffled`.
//! Invariant: the order is a function of (rows, window, seed, epoch), any place of it is found at once, and it takes no
//! memory.

use super::{shuffle::Shuffle, streams::window_stream};

/// Rows of a run: of pixels 50 MB at a short side of 256, of JPEG files 10.
const RUN: u64 = 256;

/// The order in which an epoch visits rows, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windowed {
    rows: u64,
    runs: Shuffle,
    /// Runs a window, at least 2.
    window: u64,
    /// Where the first run begins, so that it is not always the same rows that are left over.
    offset: u64,
    seed: u64,
    epoch: usize,
}

impl Windowed {
    /// The order of `rows` rows in `epoch`, with windows of about `window` rows.
    pub(super) fn new(rows: usize, window: usize, seed: u64, epoch: usize) -> Self {
        let rows = rows as u64;
        let places = Shuffle::of_stream(RUN, window_stream(seed, epoch, 0));
        Self {
            rows,
            runs: Shuffle::of_stream(rows / RUN, window_stream(seed, epoch, 1)),
            window: (window as u64).div_ceil(RUN).max(2),
            offset: places.row(0) as u64,
            seed,
            epoch,
        }
    }

    /// The row at `position`, which must be below the number of rows.
    pub(super) fn row(&self, position: usize) -> usize {
        let position = position as u64;
        let in_runs = self.rows / RUN * RUN;
        let number = if position < in_runs {
            let window_rows = self.window * RUN;
            let window = position / window_rows;
            let first = window * window_rows;
            let inside = self.shuffled(window_rows.min(in_runs - first), window);
            let place = first + inside.row((position - first) as usize) as u64;
            self.runs.row((place / RUN) as usize) as u64 * RUN + place % RUN
        } else {
            let left_over = self.shuffled(self.rows - in_runs, u64::MAX - 2);
            in_runs + left_over.row((position - in_runs) as usize) as u64
        };
        ((number + self.offset) % self.rows) as usize
    }

    fn shuffled(&self, rows: u64, window: u64) -> Shuffle {
        Shuffle::of_stream(rows, window_stream(self.seed, self.epoch, window + 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(rows: usize, window: usize, seed: u64, epoch: usize) -> Vec<usize> {
        let windowed = Windowed::new(rows, window, seed, epoch);
        (0..rows).map(|position| windowed.row(position)).collect()
    }

    #[test]
    fn every_row_comes_once() {
        for rows in [0, 1, 2, 255, 256, 257, 511, 512, 2000, 10_000] {
            for window in [0, 1, 512, 700, 1 << 20] {
                let mut order = order(rows, window, 3, 1);
                order.sort_unstable();
                assert!(
                    order.into_iter().eq(0..rows),
                    "{rows} rows, window {window}"
                );
            }
        }
    }

    #[test]
    fn a_window_reads_few_runs_and_mixes_them() {
        let (rows, window) = (100_000, 2048);
        let order = order(rows, window, 0, 0);
        for rows_of_window in order.chunks(window).take(40) {
            let mut runs: Vec<usize> = rows_of_window.iter().map(|row| row / 256).collect();
            // Neighbours come from one run as rarely as chance has it: 1 of 8, of 2047 pairs, deviation 15.
            let same = runs.windows(2).filter(|pair| pair[0] == pair[1]).count();
            assert!(same < 256 + 6 * 15, "{same} pairs");
            runs.sort_unstable();
            runs.dedup();
            // The offset cuts each of 8 runs into at most 2 of the aligned ones.
            assert!(runs.len() <= 16, "{runs:?}");
        }
        // Windows lie anywhere: the mean distance of two of n numbers is n / 3.
        let firsts: Vec<usize> = order.chunks(window).map(|rows| rows[0]).collect();
        let apart = firsts
            .windows(2)
            .map(|pair| pair[0].abs_diff(pair[1]) as f64);
        let mean = apart.sum::<f64>() / (firsts.len() - 1) as f64;
        assert!(
            (mean - rows as f64 / 3.0).abs() < rows as f64 / 6.0,
            "{mean}"
        );
    }

    #[test]
    fn seed_and_epoch_decide() {
        assert_eq!(order(5000, 1024, 0, 0), order(5000, 1024, 0, 0));
        assert_ne!(order(5000, 1024, 0, 0), order(5000, 1024, 1, 0));
        assert_ne!(order(5000, 1024, 0, 0), order(5000, 1024, 0, 1));
        assert_ne!(order(5000, 1024, 0, 0), order(5000, 512, 0, 0));
        let last = |epoch| order(700, 512, 0, epoch)[650];
        assert!(
            (1..9).any(|epoch| last(epoch) != last(0)),
            "the same rows are left over"
        );
    }
}
