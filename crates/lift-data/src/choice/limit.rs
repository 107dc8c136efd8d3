//! Fewer images of every split, drawn: a trial run on all classes.

use crate::error::{Error, Result};
use crate::sampling::{self, Purpose};
use crate::source::Source;

/// Leaves at most `limit` images a split: each class its share and, where it has one, at least one image.
pub(super) fn limit(source: &mut Source, limit: u64, seed: u32) -> Result<()> {
    let num_classes = source.class_names.len();
    for list in &mut source.splits {
        let counts = list.class_counts(num_classes);
        let total = list.items.len() as u64;
        if total <= limit {
            continue;
        }
        let classes = counts.iter().filter(|&&count| count > 0).count() as u64;
        if limit < classes {
            return Err(Error::Setting {
                reason: format!(
                    "--limit {limit} leaves no image for some of the {classes} classes of the {} split",
                    list.split
                ),
                hint: "allow one image a class, or choose classes with --where".to_owned(),
            });
        }
        let keep = shares(&counts, limit);
        sampling::keep_drawn(list, &counts, &keep, Purpose::Limit, seed);
    }
    Ok(())
}

/// `limit` images over the classes, which have more: each its share, by largest remainders, and at least one.
fn shares(counts: &[u64], limit: u64) -> Vec<u64> {
    let total: u64 = counts.iter().sum();
    let exact = |class: usize| u128::from(counts[class]) * u128::from(limit);
    let whole = |class: usize| (exact(class) / u128::from(total)) as u64;
    let classes = 0..counts.len();
    let mut keep: Vec<u64> = classes
        .clone()
        .map(|class| whole(class).max(counts[class].min(1)))
        .collect();
    let given: u64 = keep.iter().sum();
    if given < limit {
        let mut by_remainder: Vec<usize> = classes.collect();
        by_remainder.sort_by_key(|&class| std::cmp::Reverse(exact(class) % u128::from(total)));
        let room = |class: &usize| keep[*class] == whole(*class);
        let more: Vec<usize> = by_remainder.into_iter().filter(room).collect();
        more.into_iter()
            .take((limit - given) as usize)
            .for_each(|class| keep[class] += 1);
    }
    // What small classes have beyond their shares is taken from the largest.
    for _ in limit..given {
        let most = (0..keep.len()).max_by_key(|&class| keep[class]);
        keep[most.unwrap_or_default()] -= 1;
    }
    keep
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_keep_their_shares() {
        assert_eq!(shares(&[60, 30, 10], 10), [6, 3, 1]);
        assert_eq!(shares(&[1000, 1, 0, 5], 4), [2, 1, 0, 1]);
        assert_eq!(shares(&[50, 50, 1, 1], 5), [2, 1, 1, 1]);
    }

    proptest! {
        #[test]
        fn every_class_keeps_one_and_none_more_than_it_has(
            counts in prop::collection::vec(0_u64..200, 1..20),
            part in 0.0..1.0,
        ) {
            let total: u64 = counts.iter().sum();
            let classes = counts.iter().filter(|&&count| count > 0).count() as u64;
            prop_assume!(total > classes);
            let limit = classes + (part * (total - classes) as f64) as u64;
            prop_assume!(limit < total);
            let keep = shares(&counts, limit);
            prop_assert_eq!(keep.iter().sum::<u64>(), limit);
            for (kept, count) in keep.iter().zip(&counts) {
                prop_assert!(kept <= count && (*kept > 0) == (*count > 0));
            }
        }
    }
}
