//! Hold-outs and folds that keep a column's values together: a camera, a patient, a site is on one side.
//!
//! The largest groups are placed first, each where it brings the classes' shares closest to what is asked for.
//! Invariant: no group is parted, and no class loses its last training image: a group that holds the only images
//! of a class stays with training.

use std::collections::BTreeMap;
use std::path::Path;

use lift_page::progress::Reporting;
use lift_shards::split::Split;
use polars::prelude::{DataType, StringChunked};
use twox_hash::XxHash3_64;

use super::Fold;
use crate::error::{Error, Result};
use crate::sampling::{self, Holdout};
use crate::source::SplitList;

/// Images of each class.
type Counts = BTreeMap<u32, u64>;

/// What a group may be placed into.
enum Sides {
    /// Training first, then what is held out of it.
    HeldOut(Vec<f64>),
    /// Parts of one size, of which one is tested with and the others are trained on.
    Folds(usize),
}

/// As [`sampling::hold_out`] for groups.
pub(crate) fn hold_out_groups(
    train: SplitList,
    column: &str,
    holdout: &Holdout,
    seed: u32,
    reporting: Reporting,
) -> Result<(SplitList, Vec<SplitList>)> {
    let made = holdout.shares();
    let held: f64 = made.iter().map(|(_, share)| share).sum();
    let shares = std::iter::once(1.0 - held).chain(made.iter().map(|(_, share)| *share));
    let made: Vec<Split> = made.iter().map(|(split, _)| *split).collect();
    let split_of = |side: Option<usize>| match side {
        None | Some(0) => Split::Train,
        Some(side) => made[side - 1],
    };
    place(
        train,
        column,
        Sides::HeldOut(shares.collect()),
        seed,
        split_of,
        &made,
        reporting,
    )
}

impl Fold {
    /// As [`Fold::part`] for groups.
    pub(crate) fn part_groups(
        self,
        train: SplitList,
        column: &str,
        seed: u32,
        reporting: Reporting,
    ) -> Result<(SplitList, Vec<SplitList>)> {
        let split_of = |side| {
            if self.is(side) {
                Split::Test
            } else {
                Split::Train
            }
        };
        place(
            train,
            column,
            Sides::Folds(self.of()),
            seed,
            split_of,
            &[Split::Test],
            reporting,
        )
    }
}

fn place(
    train: SplitList,
    column: &str,
    sides: Sides,
    seed: u32,
    split_of: impl Fn(Option<usize>) -> Split,
    made: &[Split],
    reporting: Reporting,
) -> Result<(SplitList, Vec<SplitList>)> {
    let values = values(&train, column)?;
    let mut groups: BTreeMap<&str, Counts> = BTreeMap::new();
    for (value, item) in values.iter().zip(&train.items) {
        let group = groups.entry(value.unwrap_or_default()).or_default();
        *group.entry(item.label).or_default() += 1;
    }
    let placed: BTreeMap<&str, Split> = assign(&groups, &sides, seed)
        .into_iter()
        .map(|(group, side)| (group, split_of(side)))
        .collect();
    let splits: Vec<Split> = values
        .iter()
        .map(|value| placed[value.unwrap_or_default()])
        .collect();
    for split in made {
        let images = splits.iter().filter(|other| *other == split).count();
        let of_groups = placed.values().filter(|other| *other == split).count();
        reporting.note(&format!(
            "{split}: {:.1} % of the images, {of_groups} of {} values of `{column}`{}",
            100.0 * images as f64 / splits.len().max(1) as f64,
            placed.len(),
            class_shares(&train, &splits, *split)
        ));
    }
    Ok(sampling::part(train, &splits, made))
}

/// How far the classes' shares are apart.
fn class_shares(train: &SplitList, splits: &[Split], split: Split) -> String {
    let mut counts: BTreeMap<u32, [u64; 2]> = BTreeMap::new();
    for (item, of) in train.items.iter().zip(splits) {
        let [held, all] = counts.entry(item.label).or_default();
        *held += u64::from(*of == split);
        *all += 1;
    }
    let shares = counts
        .values()
        .map(|[held, all]| 100.0 * *held as f64 / *all as f64);
    let (least, most) = shares.fold((f64::MAX, 0.0_f64), |(least, most), share| {
        (least.min(share), most.max(share))
    });
    if counts.is_empty() {
        return String::new();
    }
    format!("; of a class {least:.1} to {most:.1} %")
}

fn values(train: &SplitList, column: &str) -> Result<StringChunked> {
    let found = train.columns.column(column).map_err(|_| {
        let columns = train.columns.columns();
        let there: Vec<&str> = columns
            .iter()
            .map(|column| column.name().as_str())
            .collect();
        Error::Setting {
            reason: format!("--group-by: the images have no column `{column}`"),
            hint: match there.as_slice() {
                [] => "columns come from the source's table or from --join".to_owned(),
                there => format!("there are {}", there.join(", ")),
            },
        }
    })?;
    let values = found.cast(&DataType::String);
    let values = values.and_then(|values| values.str().cloned());
    let values = values.expect("every column of a table can be text");
    let without = values.iter().position(|value| value.is_none());
    match without {
        None => Ok(values),
        Some(row) => Err(Error::Source {
            path: train.root.join(Path::new(&train.items[row].path)),
            reason: format!("it has no `{column}`, so that its group is not known"),
            hint: format!("leave such images out with --where \"{column} is not null\""),
        }),
    }
}

/// How often all groups are gone through in search of a better side.
const PASSES: usize = 10;

/// The most groups of which each two are tried on each other's sides.
const MOST_SWAPPED: usize = 300;

/// Groups on their way to a side.
struct Placing<'a> {
    sides: &'a Sides,
    shares: Vec<f64>,
    /// The images of each class in all.
    totals: Counts,
    /// And on each side.
    placed: Vec<Counts>,
}

fn of(counts: &Counts, class: &u32) -> u64 {
    counts.get(class).copied().unwrap_or(0)
}

impl Placing<'_> {
    /// Whether something of every class is left to train on with the group on this side.
    fn may(&self, group: &Counts, side: usize) -> bool {
        let is_trained = matches!(self.sides, Sides::HeldOut(_)) && side == 0;
        is_trained
            || group.iter().all(|(class, count)| {
                let away = match self.sides {
                    Sides::HeldOut(_) => self.placed[1..].iter().map(|held| of(held, class)).sum(),
                    Sides::Folds(_) => of(&self.placed[side], class),
                };
                away + count < self.totals[class]
            })
    }

    /// What the squared distance from the shares grows by with the group on this side, each class weighing as it has images.
    fn cost(&self, group: &Counts, side: usize) -> f64 {
        let grown = group.iter().map(|(class, &count)| {
            let (count, total) = (count as f64, self.totals[class] as f64);
            let missing = self.shares[side] * total - of(&self.placed[side], class) as f64;
            count * (count - 2.0 * missing) / total
        });
        grown.sum()
    }

    /// The best side that the group may be on.
    fn best(&self, group: &Counts) -> Option<usize> {
        let allowed = (0..self.shares.len()).filter(|&side| self.may(group, side));
        allowed.min_by(|&a, &b| self.cost(group, a).total_cmp(&self.cost(group, b)))
    }

    fn put(&mut self, group: &Counts, side: Option<usize>) {
        let Some(side) = side else { return };
        for (class, count) in group {
            *self.placed[side].entry(*class).or_default() += count;
        }
    }

    fn take(&mut self, group: &Counts, side: Option<usize>) {
        let Some(side) = side else { return };
        for (class, count) in group {
            *self.placed[side].entry(*class).or_default() -= count;
        }
    }

    /// Lets two groups change sides where that comes closer; whether it did.
    fn swap(&mut self, [a, b]: [&Counts; 2], sides: [usize; 2]) -> bool {
        let [from, to] = sides;
        let before = {
            self.take(a, Some(from));
            self.take(b, Some(to));
            self.cost(a, from) + self.cost_after(b, to, a, from)
        };
        let may = self.may(a, to);
        let cost = self.cost(a, to) + self.cost_after(b, from, a, to);
        self.put(a, Some(to));
        let closer = may && self.may(b, from) && cost < before - 1e-9;
        if closer {
            self.put(b, Some(from));
        } else {
            self.take(a, Some(to));
            self.put(a, Some(from));
            self.put(b, Some(to));
        }
        closer
    }

    /// The cost of a group once another is on a side.
    fn cost_after(
        &mut self,
        group: &Counts,
        side: usize,
        other: &Counts,
        others_side: usize,
    ) -> f64 {
        self.put(other, Some(others_side));
        let cost = self.cost(group, side);
        self.take(other, Some(others_side));
        cost
    }
}

/// The side of each group; `None`: it must be trained on whatever is tested with.
fn assign<'a>(
    groups: &BTreeMap<&'a str, Counts>,
    sides: &Sides,
    seed: u32,
) -> Vec<(&'a str, Option<usize>)> {
    let mut totals = Counts::new();
    for group in groups.values() {
        for (class, count) in group {
            *totals.entry(*class).or_default() += count;
        }
    }
    let shares = match sides {
        Sides::HeldOut(shares) => shares.clone(),
        Sides::Folds(folds) => vec![1.0 / *folds as f64; *folds],
    };
    let mut order: Vec<(&str, &Counts)> =
        groups.iter().map(|(name, group)| (*name, group)).collect();
    let size = |group: &Counts| group.values().sum::<u64>();
    order.sort_by_cached_key(|(name, group)| {
        let drawn = XxHash3_64::oneshot_with_seed(seed.into(), name.as_bytes());
        (std::cmp::Reverse(size(group)), drawn, *name)
    });
    let mut placing = Placing {
        sides,
        placed: vec![Counts::new(); shares.len()],
        shares,
        totals,
    };
    let mut assigned = Vec::with_capacity(order.len());
    for (_, group) in &order {
        let side = placing.best(group);
        placing.put(group, side);
        assigned.push(side);
    }
    // Large groups were placed when nothing was known of the small ones.
    for _ in 0..PASSES {
        let mut moved = false;
        for (nth, (_, group)) in order.iter().enumerate() {
            placing.take(group, assigned[nth]);
            let here = assigned[nth].map(|side| placing.cost(group, side));
            let best = placing.best(group);
            let there = best.map(|side| placing.cost(group, side));
            if there
                .zip(here)
                .is_some_and(|(there, here)| there < here - 1e-9)
            {
                assigned[nth] = best;
                moved = true;
            }
            placing.put(group, assigned[nth]);
        }
        if order.len() <= MOST_SWAPPED {
            for a in 0..order.len() {
                for b in a + 1..order.len() {
                    let (Some(from), Some(to)) = (assigned[a], assigned[b]) else {
                        continue;
                    };
                    if from != to && placing.swap([order[a].1, order[b].1], [from, to]) {
                        assigned.swap(a, b);
                        moved = true;
                    }
                }
            }
        }
        if !moved {
            break;
        }
    }
    order
        .into_iter()
        .map(|(name, _)| name)
        .zip(assigned)
        .collect()
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Column, DataFrame};
    use proptest::prelude::*;

    use super::*;
    use crate::sampling::tests::list;

    /// A list whose images are of groups drawn by their place.
    fn grouped(counts: &[u64], groups: usize, seed: u64) -> SplitList {
        let mut list = list(counts);
        let values: Vec<String> = list
            .items
            .iter()
            .map(|item| {
                let drawn = XxHash3_64::oneshot_with_seed(seed, item.path.as_bytes());
                format!("site {}", drawn as usize % groups)
            })
            .collect();
        let column = Column::new("site".into(), values);
        list.columns = DataFrame::new(list.items.len(), vec![column]).unwrap();
        list
    }

    fn sites(list: &SplitList) -> std::collections::BTreeSet<String> {
        let values = values(list, "site").unwrap();
        values.iter().flatten().map(str::to_owned).collect()
    }

    proptest! {
        #[test]
        fn no_group_is_parted_and_no_class_lost(
            counts in prop::collection::vec(0_u64..60, 1..6),
            groups in 1_usize..30,
            drawn: u64,
            seed: u32,
            of in 2_u32..5,
        ) {
            let all = grouped(&counts, groups, drawn);
            let holdout: Holdout = "val=0.1,test=0.2".parse().unwrap();
            let mut parted = vec![
                hold_out_groups(all.clone(), "site", &holdout, seed, Reporting::Silent).unwrap(),
            ];
            for index in 0..of {
                let fold = Fold::new(index, of).unwrap();
                parted.push(fold.part_groups(all.clone(), "site", seed, Reporting::Silent).unwrap());
            }
            for (train, made) in parted {
                let left = train.class_counts(counts.len());
                for (class, &n) in counts.iter().enumerate() {
                    prop_assert_eq!(left[class] == 0, n == 0);
                }
                let mut images = train.items.len();
                for list in &made {
                    prop_assert!(sites(list).is_disjoint(&sites(&train)));
                    images += list.items.len();
                }
                prop_assert_eq!(images, all.items.len());
            }
        }
    }

    /// Ten cameras of one large class and some of the small ones: two of the large class alone are 20 % of it and of nothing else.
    #[test]
    fn small_classes_have_their_share_too() {
        let cameras: Vec<Counts> = [
            (5, 0),
            (3, 0),
            (3, 0),
            (3, 0),
            (3, 0),
            (3, 3),
            (3, 0),
            (3, 3),
            (2, 4),
            (2, 0),
        ]
        .into_iter()
        .map(|(cats, dogs)| {
            [(0, cats), (1, dogs)]
                .into_iter()
                .filter(|(_, n)| *n > 0)
                .collect()
        })
        .collect();
        let names: Vec<String> = (0..10).map(|camera| format!("camera {camera}")).collect();
        let groups = names
            .iter()
            .map(String::as_str)
            .zip(cameras.clone())
            .collect();
        for seed in 0..5 {
            let placed = assign(&groups, &Sides::HeldOut(vec![0.8, 0.2]), seed);
            let held = placed.iter().filter(|(_, side)| *side == Some(1));
            let held: Vec<&Counts> = held.map(|(name, _)| &groups[name]).collect();
            let count = |class: u32| held.iter().map(|group| of(group, &class)).sum::<u64>();
            // A fifth is six cats and two dogs.
            assert!(
                (4..=7).contains(&count(0)) && (2..=4).contains(&count(1)),
                "{held:?}"
            );
        }
    }

    #[test]
    fn shares_are_reached_where_groups_are_many() {
        let all = grouped(&[2000, 500, 300], 200, 3);
        let holdout: Holdout = "0.2".parse().unwrap();
        let (_, made) = hold_out_groups(all, "site", &holdout, 1, Reporting::Silent).unwrap();
        for (class, (&held, n)) in made[0]
            .class_counts(3)
            .iter()
            .zip([2000.0, 500.0, 300.0])
            .enumerate()
        {
            let share = held as f64 / n;
            assert!((share - 0.2).abs() < 0.02, "class {class}: {share}");
        }
    }
}
