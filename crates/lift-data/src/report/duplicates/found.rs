//! What a search for near duplicates keeps of the pairs that it finds: counts, groups, and the first pairs.
//!
//! Invariant: memory is bounded by the number of images, whatever the number of pairs is, and the outcome does
//! not depend on the order in which pairs come.

use std::collections::{BinaryHeap, HashMap};

/// Two images, by their places among all; `a` comes before `b`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) a: u32,
    pub(super) b: u32,
    pub(super) distance: u32,
    pub(super) difference: f64,
    pub(super) exact: bool,
}

/// What a pair is worth being shown: less comes first. Across splits, across classes, equal, near.
pub(super) type Rank = (bool, bool, bool, u32, u32, u32);

/// Some images: whether there are any in each split, and which labels the data set's own have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// A bit a split.
    groups: u8,
    /// The smallest and the largest label of the data set's own images, which tell whether there is another
    /// than a given one.
    labels: Option<(u32, u32)>,
}

impl Seen {
    pub(super) const NOTHING: Self = Self {
        groups: 0,
        labels: None,
    };

    pub(super) fn image(group: u8, own_label: Option<u32>) -> Self {
        Self {
            groups: 1 << group,
            labels: own_label.map(|label| (label, label)),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.groups |= other.groups;
        self.labels = match (self.labels, other.labels) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    pub(super) fn is_empty(self) -> bool {
        self.groups == 0
    }

    pub(super) fn has(self, group: u8) -> bool {
        self.groups >> group & 1 == 1
    }

    /// Whether one of the data set's own images has another label.
    pub(super) fn has_other_label(self, label: u32) -> bool {
        self.labels.is_some_and(|labels| labels != (label, label))
    }
}

/// The pairs of a search.
pub(super) struct FoundPairs {
    /// What is near to each image that is the first of its kind.
    pub(super) near: Vec<Seen>,
    /// Which images hang together.
    pub(super) sets: Sets,
    /// How many pairs there are.
    pub(super) pairs: u64,
    first: BinaryHeap<Ranked>,
    most: usize,
}

impl FoundPairs {
    /// Nothing yet, of so many images; no more than `most` pairs are kept.
    pub(super) fn new(images: usize, most: usize) -> Self {
        Self {
            near: vec![Seen::NOTHING; images],
            sets: Sets::new(images),
            pairs: 0,
            first: BinaryHeap::new(),
            most,
        }
    }

    /// Adds a pair.
    pub(super) fn add(&mut self, rank: Rank, edge: Edge) {
        self.pairs += 1;
        self.sets.join(edge.a, edge.b);
        let ranked = Ranked { rank, edge };
        if self.first.len() < self.most {
            self.first.push(ranked);
        } else if self.first.peek().is_some_and(|last| ranked < *last) {
            self.first.pop();
            self.first.push(ranked);
        }
    }

    /// The first pairs, in their order.
    pub(super) fn take_first(&mut self) -> Vec<Edge> {
        let ranked = std::mem::take(&mut self.first).into_sorted_vec();
        ranked.into_iter().map(|ranked| ranked.edge).collect()
    }
}

struct Ranked {
    rank: Rank,
    edge: Edge,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

/// Which images hang together (union-find with path halving).
pub(super) struct Sets {
    parents: Vec<u32>,
}

impl Sets {
    fn new(len: usize) -> Self {
        Self {
            parents: (0..len as u32).collect(),
        }
    }

    fn root(&mut self, mut at: u32) -> u32 {
        while self.parents[at as usize] != at {
            let above = self.parents[at as usize];
            self.parents[at as usize] = self.parents[above as usize];
            at = self.parents[at as usize];
        }
        at
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    /// How many sets have more than one image, and the size of the largest of them.
    pub(super) fn sizes(&mut self) -> (u64, u64) {
        let mut sizes: HashMap<u32, u64> = HashMap::new();
        for at in 0..self.parents.len() as u32 {
            *sizes.entry(self.root(at)).or_default() += 1;
        }
        let groups = sizes.values().filter(|&&size| size > 1);
        (
            groups.clone().count() as u64,
            groups.max().copied().unwrap_or(0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_pairs_are_kept_and_all_are_counted() {
        let mut found = FoundPairs::new(1000, 5);
        let order: Vec<u32> = (0..999).map(|i| i * 7 % 999).collect();
        for a in order {
            let edge = Edge {
                a,
                b: a + 1,
                distance: a % 10,
                difference: 0.0,
                exact: false,
            };
            found.add((true, true, true, edge.distance, a, a + 1), edge);
        }
        assert_eq!(found.pairs, 999);
        assert_eq!(found.sets.sizes(), (1, 1000));
        let first: Vec<u32> = found.take_first().iter().map(|edge| edge.a).collect();
        assert_eq!(first, [0, 10, 20, 30, 40]);
    }

    #[test]
    fn labels_tell_whether_there_is_another() {
        let mut seen = Seen::image(3, None);
        assert!(seen.has(3) && !seen.has(0) && !seen.has_other_label(1));
        seen.add(Seen::image(0, Some(4)));
        assert!(seen.has(0) && seen.has_other_label(1) && !seen.has_other_label(4));
        seen.add(Seen::image(0, Some(2)));
        assert!(seen.has_other_label(4) && seen.has_other_label(2));
    }
}
