//! The shuffled order of an epoch: a permutation of row numbers that is computed, not stored.
//!
//! A number is laid out on a grid and its column and row are shifted in turn, each by a hash of the other: a Feistel
//! network over a grid that fits the rows (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). What falls on
//! the grid beyond the last row is sent through again. Invariant: the order is a function of (rows, seed, epoch), any place
//! of it is found at once, and it takes no memory.

use rand_chacha::{ChaCha8Rng, rand_core::RngCore};

use super::streams::order_stream;

/// Shifts, eight of each half. A few would do for many rows; of few rows, all orders are about equally frequent only
/// from twelve to sixteen on (see the tests). A row takes about 0.1 us.
const ROUNDS: usize = 16;

/// The order in which an epoch visits rows, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shuffle {
    rows: u64,
    columns: u64,
    lines: u64,
    keys: [u64; ROUNDS],
}

impl Shuffle {
    /// The order of `rows` rows in `epoch`.
    pub fn new(rows: usize, seed: u64, epoch: usize) -> Self {
        Self::of_stream(rows as u64, order_stream(seed, epoch))
    }

    /// The order of `rows` rows that this stream decides.
    pub(super) fn of_stream(rows: u64, mut stream: ChaCha8Rng) -> Self {
        let root = rows.isqrt();
        let side = if root * root < rows { root + 1 } else { root };
        // A square or nearly, so that both halves matter; even, because shifts of odd lines alone never swap two numbers.
        let columns = side.next_multiple_of(2).max(2);
        Self {
            rows,
            columns,
            lines: rows.div_ceil(columns),
            keys: std::array::from_fn(|_| stream.next_u64()),
        }
    }

    /// The row at `position`, which must be below the number of rows.
    pub fn row(&self, position: usize) -> usize {
        let mut number = position as u64;
        assert!(
            number < self.rows,
            "position {number} of {} rows",
            self.rows
        );
        // The grid has less than a line more than there are rows, so this is once, rarely twice.
        loop {
            number = self.shift(number);
            if number < self.rows {
                return number as usize;
            }
        }
    }

    /// All rows in their order.
    pub fn rows(&self) -> impl Iterator<Item = usize> {
        let shuffle = *self;
        (0..self.rows as usize).map(move |position| shuffle.row(position))
    }

    /// One pass through the network: every number of the grid becomes another one of it.
    fn shift(&self, number: u64) -> u64 {
        let (mut column, mut line) = (number % self.columns, number / self.columns);
        for keys in self.keys.as_chunks::<2>().0 {
            column = (column + hash_below(line ^ keys[0], self.columns)) % self.columns;
            line = (line + hash_below(column ^ keys[1], self.lines)) % self.lines;
        }
        line * self.columns + column
    }
}

/// SplitMix64's last steps (Steele et al. 2014), brought to 0..n by multiplication.
fn hash_below(value: u64, n: u64) -> u64 {
    let mut hash = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^= hash >> 31;
    ((u128::from(hash) * u128::from(n)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_row_comes_once() {
        for rows in (0..300).chain([1000, 4095, 4096, 4097, 99_999]) {
            for seed in 0..3 {
                let mut order: Vec<usize> = Shuffle::new(rows, seed, 5).rows().collect();
                order.sort_unstable();
                assert!(order.into_iter().eq(0..rows), "{rows} rows, seed {seed}");
            }
        }
    }

    #[test]
    fn seed_and_epoch_decide() {
        let order = |seed, epoch| Shuffle::new(1000, seed, epoch).rows().collect::<Vec<_>>();
        assert_eq!(order(0, 0), order(0, 0));
        assert_ne!(order(0, 0), order(1, 0));
        assert_ne!(order(0, 0), order(0, 1));
        // Written down once: checkpoints count on it.
        let first: Vec<usize> = Shuffle::new(1000, 7, 3).rows().take(8).collect();
        assert_eq!(first, [671, 577, 879, 871, 692, 827, 422, 916]);
    }

    #[test]
    fn a_dataset_of_any_size_is_ordered_at_once() {
        let shuffle = Shuffle::new(1 << 40, 1, 0);
        let rows: Vec<usize> = (0..4).map(|i| shuffle.row((1 << 40) - 1 - i)).collect();
        assert!(rows.iter().all(|&row| row < 1 << 40), "{rows:?}");
        let mut sorted = rows.clone();
        sorted.dedup();
        assert_eq!(sorted.len(), 4);
    }

    #[test]
    fn all_orders_of_few_rows_are_about_equally_frequent() {
        for (rows, orders) in [(2, 2), (3, 6), (4, 24), (5, 120)] {
            let mut counts = BTreeMap::new();
            for seed in 0..1000 * orders {
                let order: Vec<usize> = Shuffle::new(rows, seed, 0).rows().collect();
                *counts.entry(order).or_insert(0_u64) += 1;
            }
            assert_eq!(counts.len() as u64, orders);
            // 1000 expected, standard deviation 32.
            let (least, most) = (counts.values().min(), counts.values().max());
            let range = *least.unwrap()..=*most.unwrap();
            assert!(*range.start() > 840 && *range.end() < 1160, "{range:?}");
        }
    }

    #[test]
    fn neighbours_are_strangers() {
        let rows = 10_000;
        for epoch in 0..5 {
            let order: Vec<usize> = Shuffle::new(rows, 0, epoch).rows().collect();
            // The mean distance of two of n numbers is n / 3; of 10,000 pairs its deviation is 24.
            let distance = |(a, b): (&usize, &usize)| a.abs_diff(*b) as f64;
            for step in [1, 2, 100] {
                let pairs = order.iter().zip(&order[step..]);
                let mean = pairs.map(distance).sum::<f64>() / (rows - step) as f64;
                assert!((mean - rows as f64 / 3.0).abs() < 150.0, "{step}: {mean}");
            }
            // As many rows of the first half among the first half of the order as chance gives: 2500, deviation 25.
            let early = order[..rows / 2].iter().filter(|&&row| row < rows / 2);
            assert!((2350..2650).contains(&early.count()));
        }
    }
}
