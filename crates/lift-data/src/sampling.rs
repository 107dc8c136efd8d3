//! Which images a split keeps: hold-outs and long tails of a source's training list.
//!
//! It draws by a hash of the seed and the image's path, so the choice depends neither on the order of
//! the list nor on the machine. CIFAR's long tail is not drawn here (see [`lift_shards::longtail`]).
//! Invariant: every kept list stays in source order, and no class that had a training image loses its
//! last one.

use std::str::FromStr;

use twox_hash::XxHash3_64;

use crate::error::{Error, Result};
use crate::profile::LongTail;
use crate::source::{Item, SplitList};
use crate::table::take;
use lift_shards::classes::ClassNames;
use lift_shards::split::Split;

/// The shares of each class that become a validation and a test split; the default holds out none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Holdout {
    val: f64,
    test: f64,
}

impl Holdout {
    /// Shares from 0 (no such split) to below 1 in all.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(val: f64, test: f64) -> std::result::Result<Self, String> {
        let sound = |share: f64| (0.0..1.0).contains(&share);
        if !(sound(val) && sound(test) && val + test < 1.0) {
            return Err(format!(
                "shares of {val} (val) and {test} (test) do not leave a training split: each is from 0 to below 1, and so is their sum"
            ));
        }
        Ok(Self { val, test })
    }

    /// The splits that are made.
    pub fn splits(&self) -> Vec<Split> {
        self.shares().into_iter().map(|(split, _)| split).collect()
    }

    /// The splits that are made, with their shares.
    pub(crate) fn shares(&self) -> Vec<(Split, f64)> {
        let shares = [(Split::Val, self.val), (Split::Test, self.test)];
        shares
            .into_iter()
            .filter(|(_, share)| *share > 0.0)
            .collect()
    }

    /// Whether no split is made.
    pub fn is_none(&self) -> bool {
        self.splits().is_empty()
    }

    /// What a class of `n` images gives to validation and to test: its share, rounded half up, but one
    /// image less (of the larger gift, of validation's where they are equal) as long as none would be
    /// left.
    fn gifts(&self, n: u64) -> (u64, u64) {
        let rounded = |share: f64| (n as f64 * share + 0.5).floor() as u64;
        let (mut val, mut test) = (rounded(self.val), rounded(self.test));
        while n > 0 && val + test >= n {
            if val >= test {
                val -= 1;
            } else {
                test -= 1;
            }
        }
        (val, test)
    }
}

impl FromStr for Holdout {
    type Err = String;

    /// `0.1` (a test split), or `val=0.1`, `test=0.2`, `val=0.1,test=0.2`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |text: &str| {
            let share: f64 = text
                .trim()
                .parse()
                .map_err(|_| format!("`{text}` is not a share such as 0.1"))?;
            if share > 0.0 {
                Ok(share)
            } else {
                Err(format!("a share of {share} holds nothing out"))
            }
        };
        if !text.contains('=') {
            return Self::new(0.0, number(text)?);
        }
        let (mut val, mut test) = (0.0, 0.0);
        for part in text.split(',') {
            let (split, share) = part.split_once('=').unwrap_or((part, ""));
            let place = match split.trim() {
                "val" => &mut val,
                "test" => &mut test,
                other => return Err(format!("`{other}` is not val or test")),
            };
            if *place > 0.0 {
                return Err(format!("{} is there twice", split.trim()));
            }
            *place = number(share)?;
        }
        Self::new(val, test)
    }
}

/// Moves shares of `train` into new splits: what is left, and the new lists.
pub fn hold_out(
    train: SplitList,
    num_classes: usize,
    holdout: &Holdout,
    seed: u32,
) -> (SplitList, Vec<SplitList>) {
    let counts = train.class_counts(num_classes);
    let gifts: Vec<(u64, u64)> = counts.iter().map(|&n| holdout.gifts(n)).collect();
    let ranks = draw_ranks(&train.items, &counts, Purpose::HoldOut, seed);
    let split_of = |(item, rank): (&Item, u32)| {
        // Test takes the first, so that it stays the same when validation changes.
        let (val, test) = gifts[item.label as usize];
        match u64::from(rank) {
            rank if rank < test => Split::Test,
            rank if rank < test + val => Split::Val,
            _ => Split::Train,
        }
    };
    let splits: Vec<Split> = train.items.iter().zip(ranks).map(split_of).collect();
    part(train, &splits, &holdout.splits())
}

/// Parts a training list by the split that each image goes to: what stays, and the lists of `made`.
pub(crate) fn part(
    train: SplitList,
    splits: &[Split],
    made: &[Split],
) -> (SplitList, Vec<SplitList>) {
    let mut lists = Split::ALL.map(|split| {
        let places = (0_u32..).zip(splits).filter(|(_, of)| **of == split);
        let places: Vec<u32> = places.map(|(place, _)| place).collect();
        SplitList {
            split,
            root: train.root.clone(),
            bounds: train.bounds.clone(),
            items: Vec::with_capacity(places.len()),
            columns: take(&train.columns, &places),
            // A list that was cut before (CIFAR's is, while it is read) stays one of that ratio.
            imbalance_ratio: train.imbalance_ratio.filter(|_| split == Split::Train),
        }
    });
    for (item, split) in train.items.into_iter().zip(splits) {
        lists[*split as usize].items.push(item);
    }
    let [train, val, test] = lists;
    let made = [val, test]
        .into_iter()
        .filter(|list| made.contains(&list.split));
    (train, made.collect())
}

/// Cuts a training list to a long tail.
///
/// # Errors
/// See [`LongTail::counts_without_gaps`].
pub fn cut(
    list: &mut SplitList,
    class_names: &ClassNames,
    long_tail: &LongTail,
    seed: u32,
) -> Result<()> {
    let available = list.class_counts(class_names.len());
    let keep = long_tail
        .counts_without_gaps(&available)
        .map_err(|err| match err {
            Error::Setting { reason, hint } => Error::Source {
                path: list.root.clone(),
                reason,
                hint,
            },
            other => other,
        })?;
    keep_drawn(list, &available, &keep, Purpose::LongTail, seed);
    list.imbalance_ratio = long_tail.imbalance_ratio();
    Ok(())
}

/// Leaves so many images of each class, which are drawn.
pub(crate) fn keep_drawn(
    list: &mut SplitList,
    counts: &[u64],
    keep: &[u64],
    purpose: Purpose,
    seed: u32,
) {
    let ranks = draw_ranks(&list.items, counts, purpose, seed);
    let kept = (0_u32..).zip(&list.items).zip(ranks);
    let kept = kept.filter(|((_, item), rank)| u64::from(*rank) < keep[item.label as usize]);
    let kept: Vec<u32> = kept.map(|((place, _), _)| place).collect();
    list.keep(&kept);
}

/// What is drawn, so that two draws with one seed are independent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    HoldOut = 1,
    LongTail = 2,
    Limit = 3,
    Fold = 4,
}

/// The place of each item among those of its class, in an order drawn by `seed`.
pub(crate) fn draw_ranks(items: &[Item], counts: &[u64], purpose: Purpose, seed: u32) -> Vec<u32> {
    let seed = (purpose as u64) << 32 | u64::from(seed);
    let hash = |item: &Item| XxHash3_64::oneshot_with_seed(seed, item.path.as_bytes());
    // The path and then the position decide between equal hashes: a list may name an image twice.
    let mut order: Vec<(u64, u32)> = items.iter().map(hash).zip(0..).collect();
    order.sort_unstable_by(|a, b| {
        let path = |index: u32| &items[index as usize].path;
        a.0.cmp(&b.0)
            .then_with(|| path(a.1).cmp(path(b.1)))
            .then(a.1.cmp(&b.1))
    });
    let mut next = vec![0; counts.len()];
    let mut ranks = vec![0; items.len()];
    for (_, index) in order {
        let next = &mut next[items[index as usize].label as usize];
        ranks[index as usize] = *next;
        *next += 1;
    }
    ranks
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use polars::prelude::DataFrame;
    use proptest::prelude::*;

    use super::*;
    use crate::profile::{Rounding, Tail};
    use crate::source::{Bounds, Content};

    pub(crate) fn list(counts: &[u64]) -> SplitList {
        let items = (0_u32..).zip(counts).flat_map(|(label, &count)| {
            (0..count).map(move |i| Item {
                path: format!("{label}/{i}.jpg"),
                label,
                content: Content::File,
            })
        });
        SplitList {
            split: Split::Train,
            root: PathBuf::from("photos"),
            bounds: Bounds::default(),
            items: items.collect(),
            columns: DataFrame::default(),
            imbalance_ratio: None,
        }
    }

    fn paths(list: &SplitList) -> Vec<&str> {
        list.items.iter().map(|item| item.path.as_str()).collect()
    }

    fn set(list: &SplitList) -> BTreeSet<&str> {
        paths(list).into_iter().collect()
    }

    proptest! {
        #[test]
        fn a_holdout_parts_every_class(
            counts in prop::collection::vec(0_u64..60, 1..12),
            val in 0.0..0.6,
            test in 0.0..0.39,
            seed: u32,
        ) {
            let holdout = Holdout::new(val, test).unwrap();
            let all = list(&counts);
            let (train, made) = hold_out(all.clone(), counts.len(), &holdout, seed);
            let mut together = set(&train);
            for list in &made {
                for path in set(list) {
                    prop_assert!(together.insert(path), "{path} is in two splits");
                }
            }
            prop_assert_eq!(together, set(&all));
            let left = train.class_counts(counts.len());
            for (class, &n) in counts.iter().enumerate() {
                prop_assert_eq!(left[class] == 0, n == 0);
                for list in &made {
                    let share = if list.split == Split::Val { val } else { test };
                    let given = list.class_counts(counts.len())[class] as f64;
                    prop_assert!((given - n as f64 * share).abs() <= 1.5, "{given} of {n}");
                }
            }
        }

        #[test]
        fn the_choice_does_not_depend_on_the_order(seed: u32, rotate in 0_usize..40) {
            let counts = [20, 3, 17];
            let names = ClassNames::new(vec!["a".into(), "b".into(), "c".into()]).unwrap();
            let long_tail = LongTail { tail: Some(Tail::exp(5.0)), ..LongTail::default() };
            let mut one = list(&counts);
            let mut other = list(&counts);
            other.items.rotate_left(rotate);
            other.items.reverse();
            let holdout = Holdout::new(0.1, 0.2).unwrap();
            let (a, b) = (
                hold_out(one.clone(), 3, &holdout, seed),
                hold_out(other.clone(), 3, &holdout, seed),
            );
            prop_assert_eq!(set(&a.1[0]), set(&b.1[0]));
            prop_assert_eq!(set(&a.1[1]), set(&b.1[1]));
            cut(&mut one, &names, &long_tail, seed).unwrap();
            cut(&mut other, &names, &long_tail, seed).unwrap();
            prop_assert_eq!(set(&one), set(&other));
            prop_assert_eq!(one.class_counts(3), long_tail.counts(&counts, Rounding::Nearest).unwrap());
            // Source order.
            let all = list(&counts);
            let kept: Vec<_> = paths(&all).into_iter().filter(|path| set(&one).contains(path)).collect();
            prop_assert_eq!(paths(&one), kept);
        }
    }

    #[test]
    fn small_classes_give_little_and_never_all() {
        let gifts = |text: &str, n| text.parse::<Holdout>().unwrap().gifts(n);
        assert_eq!(
            [1, 4, 5, 14, 15].map(|n| gifts("0.1", n).1),
            [0, 0, 1, 1, 2]
        );
        assert_eq!([1, 2, 3].map(|n| gifts("0.9", n).1), [0, 1, 2]);
        assert_eq!(gifts("val=0.45,test=0.45", 2), (0, 1));
        assert_eq!(gifts("val=0.5,test=0.4", 3), (1, 1));
        assert_eq!(gifts("0.5", 0), (0, 0));
    }

    #[test]
    fn a_larger_share_holds_the_smaller_one() {
        let test = |share: f64| {
            let holdout = Holdout::new(0.0, share).unwrap();
            hold_out(list(&[50, 20]), 2, &holdout, 7).1.remove(0)
        };
        let (small, large) = (test(0.1), test(0.3));
        assert!(set(&small).is_subset(&set(&large)));
        let other_seed = hold_out(list(&[50, 20]), 2, &Holdout::new(0.0, 0.1).unwrap(), 8);
        assert_ne!(set(&small), set(&other_seed.1[0]));
    }

    #[test]
    fn shares_are_read_and_bounded() {
        let parse = |text: &str| text.parse::<Holdout>();
        assert_eq!(parse("0.25"), Holdout::new(0.0, 0.25));
        assert_eq!(parse("test=0.2, val=0.1"), Holdout::new(0.1, 0.2));
        for wrong in [
            "",
            "0",
            "1",
            "-0.1",
            "nan",
            "val",
            "val=",
            "dev=0.1",
            "val=0.1,val=0.2",
            "val=0.5,test=0.5",
            "inf",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
