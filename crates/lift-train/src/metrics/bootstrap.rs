//! Bootstrap intervals of accuracies (Efron 1979), resampling the images within each class.
//!
//! Within a class a resample of right and wrong images is a binomial draw, so images need not be kept. Invariant: the
//! same counts and seed give the same interval.

use lift_shards::split::Band;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde::{Deserialize, Serialize};

use super::Classes;

/// Resamples; the ends of the interval are their 2.5th and 97.5th percentiles.
const RESAMPLES: usize = 1000;

/// 95 % intervals, lower and upper end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Of the accuracy over all images; none where there is none.
    pub overall: Option<[f64; 2]>,
    /// Of the mean of the per-class accuracies; none in reports of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_class: Option<[f64; 2]>,
    /// Of the bands' mean class accuracies.
    pub many: Option<[f64; 2]>,
    /// As `many`.
    pub medium: Option<[f64; 2]>,
    /// As `many`.
    pub few: Option<[f64; 2]>,
}

impl Intervals {
    /// From right and all images of each class.
    pub(super) fn new(right: &[u64], total: &[u64], classes: Classes<'_>, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let images: u64 = total.iter().sum();
        let band_of = |class: usize| classes.train_counts.map(|n| classes.edges.band(n[class]));
        let classes: Vec<_> = (0..total.len())
            .filter(|&class| total[class] > 0)
            .map(|class| (right[class], total[class], band_of(class)))
            .collect();
        let mut overall = Vec::with_capacity(RESAMPLES);
        let mut mean_class = Vec::with_capacity(RESAMPLES);
        let mut bands = [const { Vec::new() }; 3];
        for _ in 0..RESAMPLES {
            let mut right_images = 0;
            let mut sum_of_classes = 0.0;
            let mut sums = [(0.0, 0u64); 3];
            for &(right, total, band) in &classes {
                let drawn = binomial(&mut rng, right, total);
                right_images += drawn;
                sum_of_classes += drawn as f64 / total as f64;
                if let Some(band) = band {
                    let (sum, n) = &mut sums[band as usize];
                    *sum += drawn as f64 / total as f64;
                    *n += 1;
                }
            }
            if images > 0 {
                mean_class.push(sum_of_classes / classes.len() as f64);
                overall.push(right_images as f64 / images as f64);
            }
            for (values, (sum, n)) in bands.iter_mut().zip(sums) {
                if n > 0 {
                    values.push(sum / n as f64);
                }
            }
        }
        let [many, medium, few] = bands.map(interval);
        Self {
            overall: interval(overall),
            mean_class: interval(mean_class),
            many,
            medium,
            few,
        }
    }
}

/// How many of `total` draws hit, each with probability `right / total`.
fn binomial(rng: &mut ChaCha8Rng, right: u64, total: u64) -> u64 {
    if right == 0 || right == total {
        return right;
    }
    let hit = |rng: &mut ChaCha8Rng| {
        let draw = (u128::from(rng.next_u64()) * u128::from(total)) >> 64;
        u64::from((draw as u64) < right)
    };
    (0..total).map(|_| hit(rng)).sum()
}

fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get((share * values.len() as f64) as usize).copied();
    Some([at(0.025)?, at(0.975)?])
}

// `sums` is indexed by the bands' order.
const _: () =
    assert!(Band::Many as usize == 0 && Band::Medium as usize == 1 && Band::Few as usize == 2);
