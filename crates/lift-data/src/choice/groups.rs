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
use xxhash_rust::xxh3::xxh3_64_with_seed;

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
        let drawn = xxh3_64_with_seed(name.as_bytes(), seed.into());
        (std::cmp::Reverse(size(group)), drawn, *name)
    });
    let mut placed = vec![Counts::new(); shares.len()];
    let of = |counts: &Counts, class: &u32| counts.get(class).copied().unwrap_or(0);
    let mut assigned = Vec::with_capacity(order.len());
    for (name, group) in order {
        // Whether something of every class is left to train on.
        let leaves_all = |side: usize| {
            group.iter().all(|(class, count)| {
                let away = match sides {
                    Sides::HeldOut(_) => placed[1..].iter().map(|held| of(held, class)).sum(),
                    Sides::Folds(_) => of(&placed[side], class),
                };
                away + count < totals[class]
            })
        };
        let is_free = |side: usize| matches!(sides, Sides::HeldOut(_)) && side == 0;
        // What the squared distance from the shares grows by, each class weighing as it has images.
        let cost = |side: usize| -> f64 {
            let grown = group.iter().map(|(class, &count)| {
                let (count, total) = (count as f64, totals[class] as f64);
                let missing = shares[side] * total - of(&placed[side], class) as f64;
                count * (count - 2.0 * missing) / total
            });
            grown.sum()
        };
        let allowed = (0..shares.len()).filter(|&side| is_free(side) || leaves_all(side));
        let side = allowed.min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
        if let Some(side) = side {
            for (class, count) in group {
                *placed[side].entry(*class).or_default() += count;
            }
        }
        assigned.push((name, side));
    }
    assigned
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
                let drawn = xxh3_64_with_seed(item.path.as_bytes(), seed);
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
