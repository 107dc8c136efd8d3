//! Cross-validation: the training split in parts, one of which becomes the test split.
//!
//! Invariant: the parts do not depend on which of them is asked for, every image is in at most one, and no class
//! loses its last training image: what is the only one of its class is in none.

use std::fmt;

use lift_shards::split::Split;

use crate::sampling::{self, Purpose};
use crate::source::SplitList;

/// One of several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fold {
    index: u32,
    of: u32,
}

impl Fold {
    /// Part `index`, from 0, of `of` parts.
    ///
    /// # Errors
    /// What is wrong with the numbers.
    pub fn new(index: u32, of: u32) -> std::result::Result<Self, String> {
        if !(2..=1000).contains(&of) {
            return Err(format!("--folds {of}: there are 2 to 1000"));
        }
        if index >= of {
            return Err(format!(
                "--fold {index}: the {of} folds are 0 to {}",
                of - 1
            ));
        }
        Ok(Self { index, of })
    }

    pub(super) fn of(self) -> usize {
        self.of as usize
    }

    pub(super) fn is(self, fold: Option<usize>) -> bool {
        fold == Some(self.index as usize)
    }

    /// Parts a training list: each class over all folds as evenly as it goes.
    pub(crate) fn part(
        self,
        train: SplitList,
        num_classes: usize,
        seed: u32,
    ) -> (SplitList, Vec<SplitList>) {
        let counts = train.class_counts(num_classes);
        let ranks = sampling::draw_ranks(&train.items, &counts, Purpose::Fold, seed);
        // A class begins where the one before has ended, so that small classes do not all fall to the first folds.
        let starts = counts.iter().scan(0, |start, count| {
            let here = *start;
            *start += count;
            Some(here)
        });
        let starts: Vec<u64> = starts.collect();
        let split = |(item, rank): (&crate::source::Item, u32)| {
            let class = item.label as usize;
            let fold = (starts[class] + u64::from(rank)) % u64::from(self.of);
            let fold = (counts[class] > 1).then_some(fold as usize);
            if self.is(fold) {
                Split::Test
            } else {
                Split::Train
            }
        };
        let splits: Vec<Split> = train.items.iter().zip(ranks).map(split).collect();
        sampling::part(train, &splits, &[Split::Test])
    }
}

impl fmt::Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::sampling::tests::list;

    proptest! {
        #[test]
        fn folds_part_every_class(
            counts in prop::collection::vec(0_u64..40, 1..8),
            of in 2_u32..7,
            seed: u32,
        ) {
            let all = list(&counts);
            let mut tested = BTreeSet::new();
            for index in 0..of {
                let fold = Fold::new(index, of).unwrap();
                let (train, made) = fold.part(all.clone(), counts.len(), seed);
                let [test] = made.as_slice() else { panic!("one split is made") };
                prop_assert_eq!(train.items.len() + test.items.len(), all.items.len());
                for (class, &n) in counts.iter().enumerate() {
                    let tested = test.class_counts(counts.len())[class];
                    let even = n / u64::from(of);
                    prop_assert!(n < 2 && tested == 0 || (even..=even + 1).contains(&tested));
                    prop_assert!(n == 0 || train.class_counts(counts.len())[class] > 0);
                }
                for item in &test.items {
                    prop_assert!(tested.insert(item.path.clone()), "{} is tested twice", item.path);
                }
            }
            let single = counts.iter().filter(|&&n| n == 1).count();
            prop_assert_eq!(tested.len() + single, all.items.len());
        }
    }

    #[test]
    fn folds_are_numbered() {
        assert_eq!(Fold::new(4, 5).unwrap().to_string(), "4/5");
        assert!(Fold::new(5, 5).is_err() && Fold::new(0, 1).is_err());
    }
}
