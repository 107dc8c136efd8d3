//! Which class gets how many images, and which pairs pre-training never sees. Draws nothing.
//!
//! Invariant: every ten ranks in a row starting at a multiple of ten hold each colour and each
//! shape once, so that neither decides how frequent a class is.

use super::dice::{Dice, Purpose};
use super::{Colour, Pair, Shape};
use lift_shards::Result;
use lift_shards::longtail::exponential_counts;

const HELD_OUT: usize = 28;

/// The training images of each class, in label order. An imbalance ratio below 1 is an error.
pub fn train_counts(max_per_class: u32, imbalance_ratio: f64) -> Result<Vec<u32>> {
    let pairs = Pair::all();
    let by_rank = exponential_counts(max_per_class.into(), pairs.len(), imbalance_ratio)?;
    let mut counts = vec![0; pairs.len()];
    for (pair, count) in by_frequency().iter().zip(by_rank) {
        let label = pairs.binary_search_by_key(&pair.name(), Pair::name);
        // No count is above the largest, which is a u32.
        counts[label.expect("all pairs are classes")] = count as u32;
    }
    Ok(counts)
}

/// The pairs that pre-training never shows, in the order of their names: 28, two or three of each
/// colour and of each shape. They are the same for every seed.
pub fn held_out_pairs() -> Vec<Pair> {
    let mut held = balanced_order(&mut Dice::new(0, Purpose::Plan, 1, 0));
    held.truncate(HELD_OUT);
    held.sort_by_key(Pair::name);
    held
}

/// All pairs from the most frequent to the rarest; the same for every seed.
fn by_frequency() -> Vec<Pair> {
    balanced_order(&mut Dice::new(0, Purpose::Plan, 0, 0))
}

/// All pairs in a random order of which every ten hold each colour and each shape once.
fn balanced_order(dice: &mut Dice) -> Vec<Pair> {
    let mut colours = Colour::ALL;
    let mut shapes = Shape::ALL;
    let mut shifts: Vec<usize> = (0..10).collect();
    dice.shuffle(&mut colours);
    dice.shuffle(&mut shapes);
    dice.shuffle(&mut shifts);
    // Each shift pairs every colour with another shape: a row of a Latin square.
    shifts
        .into_iter()
        .flat_map(|shift| {
            let mut block: Vec<Pair> = (0..10)
                .map(|i| Pair {
                    colour: colours[i],
                    shape: shapes[(i + shift) % 10],
                })
                .collect();
            dice.shuffle(&mut block);
            block
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_long_tail_is_that_of_cifar100_lt() {
        let counts = train_counts(500, 100.0).unwrap();
        assert_eq!(counts.len(), 100);
        assert_eq!(counts.iter().sum::<u32>(), 10_847);
        assert_eq!(counts.iter().max(), Some(&500));
        assert_eq!(counts.iter().min(), Some(&5));
        assert!(train_counts(500, 0.5).is_err());
    }

    #[test]
    fn neither_colour_nor_shape_decides_the_rank() {
        let order = by_frequency();
        assert_eq!(
            order.iter().map(Pair::name).collect::<BTreeSet<_>>().len(),
            100
        );
        for block in order.chunks(10) {
            let colours: BTreeSet<_> = block.iter().map(|pair| pair.colour).collect();
            let shapes: BTreeSet<_> = block.iter().map(|pair| pair.shape).collect();
            assert_eq!((colours.len(), shapes.len()), (10, 10));
        }
    }

    #[test]
    fn held_out_pairs_leave_every_word_known() {
        let held = held_out_pairs();
        assert_eq!(held.len(), HELD_OUT);
        for colour in Colour::ALL {
            let count = held.iter().filter(|pair| pair.colour == colour).count();
            assert!((2..=3).contains(&count), "{colour:?}: {count}");
        }
        for shape in Shape::ALL {
            let count = held.iter().filter(|pair| pair.shape == shape).count();
            assert!((2..=3).contains(&count), "{shape:?}: {count}");
        }
    }

    #[test]
    fn held_out_pairs_lie_in_every_band() {
        let counts = train_counts(500, 100.0).unwrap();
        let held: BTreeSet<String> = held_out_pairs().iter().map(Pair::name).collect();
        let mut bands = [0; 3];
        for (pair, count) in Pair::all().iter().zip(counts) {
            if held.contains(&pair.name()) {
                bands[if count > 100 {
                    0
                } else if count >= 20 {
                    1
                } else {
                    2
                }] += 1;
            }
        }
        assert!(
            bands.iter().all(|&n| n >= 6),
            "many, medium, few: {bands:?}"
        );
    }
}
