//! The draws of an epoch by their position, and which of them are one process's.
//!
//! It draws nothing itself. Invariant: at a batch size of all processes together, step n is the same draws in the same
//! order however many processes share it, and wherever the run began.

use std::{ops::Range, sync::Arc};

use super::{shuffle::Shuffle, window::Windowed};

/// An image that an epoch draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Its row in the shards.
    pub row: usize,
    /// How often this epoch drew it before; such draws are augmented differently.
    pub repeat: u32,
}

impl Draw {
    /// The first draw of a row.
    pub fn first(row: usize) -> Self {
        Self { row, repeat: 0 }
    }
}

/// What an epoch draws, from some position on.
#[derive(Clone, Debug)]
pub struct Draws {
    order: Order,
    /// Positions of the order.
    range: Range<usize>,
    rank: usize,
    ranks: usize,
}

#[derive(Clone, Debug)]
enum Order {
    /// Rows as they lie.
    Rows,
    Shuffled(Shuffle),
    Windowed(Windowed),
    Listed(Arc<[Draw]>),
}

impl Draws {
    /// The rows `0..rows` as they lie.
    pub fn in_order(rows: usize) -> Self {
        Self::new(Order::Rows, rows)
    }

    /// Each of `rows` rows once, in the order of an epoch.
    pub fn shuffled(rows: usize, seed: u64, epoch: usize) -> Self {
        Self::new(Order::Shuffled(Shuffle::new(rows, seed, epoch)), rows)
    }

    /// Each of `rows` rows once, in an order that reads a window of about `window` rows at a time: runs of neighbouring
    /// rows, shuffled together. For data that is larger than memory.
    pub fn windowed(rows: usize, window: usize, seed: u64, epoch: usize) -> Self {
        let order = Windowed::new(rows, window, seed, epoch);
        Self::new(Order::Windowed(order), rows)
    }

    /// These.
    pub fn listed(draws: Vec<Draw>) -> Self {
        let count = draws.len();
        Self::new(Order::Listed(draws.into()), count)
    }

    fn new(order: Order, count: usize) -> Self {
        Self {
            order,
            range: 0..count,
            rank: 0,
            ranks: 1,
        }
    }

    /// Without the first `count`, of all processes together.
    pub fn skip(mut self, count: usize) -> Self {
        self.range.start = self.range.end.min(self.range.start + count);
        self
    }

    /// The first `count` of them, of all processes together.
    pub fn take(mut self, count: usize) -> Self {
        self.range.end = self.range.end.min(self.range.start.saturating_add(count));
        self
    }

    /// What process `rank` of `ranks` takes of each batch: the batch is cut into as many runs of one length, or nearly so
    /// where that does not divide it.
    pub fn of_rank(mut self, rank: usize, ranks: usize) -> Self {
        assert!(rank < ranks, "rank {rank} of {ranks}");
        (self.rank, self.ranks) = (rank, ranks);
        self
    }

    /// How many there are, of all processes together.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// All draws, of all processes together.
    pub fn iter(&self) -> impl Iterator<Item = Draw> {
        self.range.clone().map(|position| self.at(position))
    }

    /// This process's draws of batch number `number`, where a batch has `batch_size` draws of all processes together and
    /// the last one what is left.
    pub fn batch(&self, number: usize, batch_size: usize) -> impl Iterator<Item = Draw> {
        let end = self.range.end;
        let start = number.saturating_mul(batch_size);
        let start = end.min(self.range.start.saturating_add(start));
        let images = batch_size.min(end - start);
        let cut = |rank: usize| start + images * rank / self.ranks;
        (cut(self.rank)..cut(self.rank + 1)).map(|position| self.at(position))
    }

    fn at(&self, position: usize) -> Draw {
        match &self.order {
            Order::Rows => Draw::first(position),
            Order::Shuffled(shuffle) => Draw::first(shuffle.row(position)),
            Order::Windowed(windowed) => Draw::first(windowed.row(position)),
            Order::Listed(draws) => draws[position],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> [Draws; 4] {
        let draw = |i: usize| Draw {
            row: i * 7 % 10,
            repeat: i as u32 / 10,
        };
        [
            Draws::in_order(103),
            Draws::shuffled(103, 5, 1),
            Draws::windowed(103, 10, 5, 1),
            Draws::listed((0..103).map(draw).collect()),
        ]
    }

    #[test]
    fn beginning_anywhere_is_skipping() {
        for draws in kinds() {
            let all: Vec<Draw> = draws.iter().collect();
            for start in [0, 1, 8, 64, 102, 103, 200] {
                let rest = draws.clone().skip(start);
                assert_eq!(rest.len(), 103_usize.saturating_sub(start));
                assert!(rest.iter().eq(all.iter().copied().skip(start)));
                let third = rest.batch(3, 8);
                assert!(third.eq(all.iter().copied().skip(start + 24).take(8)));
            }
            let twice = draws.clone().skip(10).skip(20);
            assert!(twice.iter().eq(draws.clone().skip(30).iter()));
            for count in [0, 1, 50, 93, 200] {
                let some = draws.clone().skip(10).take(count);
                assert!(some.iter().eq(all.iter().copied().skip(10).take(count)));
            }
        }
    }

    #[test]
    fn ranks_share_each_batch_of_all_whatever_their_number() {
        for draws in kinds() {
            let all: Vec<Draw> = draws.iter().collect();
            for (start, batch_size) in [(0, 16), (0, 13), (40, 16), (3, 1)] {
                let whole = &all[start..];
                for ranks in [1, 2, 3, 4, 8] {
                    let shares: Vec<Draws> = (0..ranks)
                        .map(|rank| draws.clone().skip(start).of_rank(rank, ranks))
                        .collect();
                    for (number, batch) in whole.chunks(batch_size).enumerate() {
                        let parts = shares
                            .iter()
                            .flat_map(|share| share.batch(number, batch_size));
                        assert!(parts.eq(batch.iter().copied()), "{ranks} ranks");
                        let sizes = shares.iter().map(|s| s.batch(number, batch_size).count());
                        let (least, most) = (sizes.clone().min(), sizes.max());
                        assert!(most.unwrap() - least.unwrap() <= 1);
                    }
                    let beyond = whole.len().div_ceil(batch_size);
                    assert!(
                        shares
                            .iter()
                            .all(|s| s.batch(beyond, batch_size).count() == 0)
                    );
                }
            }
        }
    }
}
