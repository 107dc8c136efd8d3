//! Long-tail profiles: how many images each class keeps of what a source has.
//!
//! It knows counts only; which images are kept is [`lift_shards::longtail`]'s (CIFAR) or
//! [`crate::sampling`]'s affair. Invariant: counts never grow along the ranking of the classes (largest
//! first, ties by label), and none is more than its class has.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use lift_shards::longtail::exponential_counts;

/// The power of ImageNet-LT.
pub const PARETO_POWER: f64 = 6.0;

/// The shape of a long tail between its largest and its smallest class.
///
/// With C classes, m images in the largest and r = m / ratio in the smallest, class i (from 0) keeps the
/// whole number nearest to:
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// `m * (1/ratio)^(i/(C-1))`, the shape of CIFAR-LT (Cui et al., CVPR 2019), whose code rounds down:
    /// see [`Rounding`].
    Exp,
    /// `r + (m - r) * q(i)/q(0)` with `q(i) = (C/(i+1))^(1/power) - 1`: the quantiles of a
    /// Pareto distribution (type II, as NumPy's `pareto`) of this power, stretched to end at m and r.
    /// Such draws with power 6 are how ImageNet-LT was made (Liu et al., CVPR 2019).
    Pareto {
        /// Above 0; the larger, the closer to an exponential.
        power: f64,
    },
    /// m in the first half of the classes, r in the second (Buda et al., 2018).
    Step,
}

/// How the exponential profile's numbers become counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, so that the smallest class has what the ratio says.
    Nearest,
    /// Down, as the reference code for CIFAR-LT does: published counts are these.
    Reference,
}

/// How the training split is cut; the default keeps all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LongTail {
    /// Largest class over smallest, at least 1, and the shape between them; `None`: no profile.
    pub tail: Option<Tail>,
    /// No class keeps more.
    pub max_per_class: Option<u64>,
    /// The profile asks for no fewer.
    pub min_per_class: Option<u64>,
}

/// An imbalance ratio and a profile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    /// Largest class over smallest, at least 1.
    pub imbalance_ratio: f64,
    /// The shape between them.
    pub profile: Profile,
}

impl Tail {
    /// The exponential profile at this ratio.
    pub fn exp(imbalance_ratio: f64) -> Self {
        Self {
            imbalance_ratio,
            profile: Profile::Exp,
        }
    }

    /// The images that each of `num_classes` classes keeps, largest first, when the largest keeps
    /// `max_count`. A class of which the ratio leaves less than one image keeps none.
    ///
    /// # Errors
    /// When the ratio is below 1 or the power is not positive.
    pub fn counts(
        &self,
        max_count: u64,
        num_classes: usize,
        rounding: Rounding,
    ) -> Result<Vec<u64>> {
        let ratio = self.imbalance_ratio;
        // Checks the ratio for all profiles.
        let reference = exponential_counts(max_count, num_classes, ratio)?;
        let (most, least) = (max_count as f64, max_count as f64 / ratio);
        let last = num_classes.saturating_sub(1).max(1) as f64;
        let shares: Vec<f64> = match self.profile {
            Profile::Exp if rounding == Rounding::Reference => return Ok(reference),
            Profile::Exp => {
                let share = |class: usize| (1.0 / ratio).powf(class as f64 / last);
                (0..num_classes).map(share).collect()
            }
            Profile::Pareto { power } if !(power.is_finite() && power > 0.0) => {
                return Err(Error::Setting {
                    reason: format!("Pareto power {power} is out of range"),
                    hint: "it is above 0; ImageNet-LT has 6".to_owned(),
                });
            }
            Profile::Pareto { power } => {
                let quantile = |class: usize| {
                    (num_classes as f64 / (class + 1) as f64).powf(1.0 / power) - 1.0
                };
                let first = quantile(0);
                let share = |class: usize| {
                    // One class alone is the largest; a large power rounds all quantiles to 0.
                    let above = if first > 0.0 {
                        quantile(class) / first
                    } else {
                        1.0
                    };
                    above + (1.0 - above) / ratio
                };
                (0..num_classes).map(share).collect()
            }
            Profile::Step => {
                let head = num_classes.div_ceil(2);
                let share = |class| if class < head { 1.0 } else { 1.0 / ratio };
                (0..num_classes).map(share).collect()
            }
        };
        // No share is below the last class's; said again, because powers are rounded.
        let count = |share: f64| nearest((most * share).max(least));
        Ok(shares.into_iter().map(count).collect())
    }
}

/// The nearest whole number, and none of less than one: half an image is no image.
fn nearest(images: f64) -> u64 {
    if images < 1.0 {
        0
    } else {
        images.round() as u64
    }
}

impl LongTail {
    /// The imbalance ratio that is asked for.
    pub fn imbalance_ratio(&self) -> Option<f64> {
        self.tail.map(|tail| tail.imbalance_ratio)
    }

    /// Whether all images are kept.
    pub fn keeps_all(&self) -> bool {
        self.tail.is_none() && self.max_per_class.is_none()
    }

    /// The images that each class keeps of `available`, in label order.
    ///
    /// The largest class keeps `max_per_class`, or all that it has; the others follow the profile in the
    /// order of their size, ties in label order. A class that has fewer than the profile asks for keeps
    /// all.
    ///
    /// # Errors
    /// When the settings contradict each other.
    pub fn counts(&self, available: &[u64], rounding: Rounding) -> Result<Vec<u64>> {
        let largest = available.iter().copied().max().unwrap_or(0);
        let most = self.max_per_class.unwrap_or(largest).min(largest);
        let least = self.min_per_class.unwrap_or(0);
        if self
            .max_per_class
            .is_some_and(|max| max == 0 || max < least)
        {
            return Err(Error::Setting {
                reason: format!(
                    "at most {} images a class, and at least {}",
                    self.max_per_class.unwrap_or(0),
                    least.max(1)
                ),
                hint: "--max-per-class is at least 1 and at least --min-per-class".to_owned(),
            });
        }
        let targets = match self.tail {
            Some(tail) => tail.counts(most, available.len(), rounding)?,
            None => vec![most; available.len()],
        };
        let mut ranking: Vec<usize> = (0..available.len()).collect();
        // Stable, so that ties stay in label order.
        ranking.sort_by_key(|&class| std::cmp::Reverse(available[class]));
        let mut counts = vec![0; available.len()];
        for (&class, &target) in ranking.iter().zip(&targets) {
            counts[class] = target.max(least).min(available[class]);
        }
        Ok(counts)
    }

    /// As [`LongTail::counts`] to the nearest, but leaving a class that has images without any is an error too.
    pub fn counts_without_gaps(&self, available: &[u64]) -> Result<Vec<u64>> {
        let counts = self.counts(available, Rounding::Nearest)?;
        let is_emptied = |class: &usize| counts[*class] == 0 && available[*class] > 0;
        let Some(class) = (0..counts.len()).find(is_emptied) else {
            return Ok(counts);
        };
        let most = counts.iter().copied().max().unwrap_or(0);
        Err(Error::Setting {
            reason: format!(
                "imbalance ratio {} leaves class {class} without an image: the largest class has {most}",
                self.imbalance_ratio().unwrap_or(1.0)
            ),
            hint: format!("use a ratio of at most {most}, or --min-per-class 1"),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::shared;
    use lift_shards::split::{Band, BandEdges};

    const IMAGENET_LT: Tail = Tail {
        imbalance_ratio: 256.0,
        profile: Profile::Pareto {
            power: PARETO_POWER,
        },
    };

    fn profile() -> impl Strategy<Value = Profile> {
        prop_oneof![
            Just(Profile::Exp),
            Just(Profile::Step),
            (0.01..1e6).prop_map(|power| Profile::Pareto { power }),
        ]
    }

    proptest! {
        #[test]
        fn profiles_fall_from_max_to_max_over_ratio(
            profile in profile(),
            max in 1_u64..100_000,
            num_classes in 2_usize..300,
            imbalance_ratio in 1.0..1e4,
        ) {
            let tail = Tail { imbalance_ratio, profile };
            let counts = tail.counts(max, num_classes, Rounding::Nearest).unwrap();
            prop_assert_eq!(counts.len(), num_classes);
            prop_assert!(counts.is_sorted_by(|a, b| a >= b), "{:?}", counts);
            prop_assert_eq!(counts[0], max);
            let smallest = max as f64 / imbalance_ratio;
            let last = counts[num_classes - 1];
            if smallest < 1.0 { prop_assert_eq!(last, 0) } else { prop_assert!((last as f64 - smallest).abs() <= 0.5) }
        }

        #[test]
        fn no_class_keeps_more_than_it_has(
            available in prop::collection::vec(0_u64..500, 1..40),
            profile in profile(),
            imbalance_ratio in 1.0..100.0,
            max_per_class in prop::option::of(10_u64..300),
        ) {
            let long_tail = LongTail {
                tail: Some(Tail { imbalance_ratio, profile }),
                max_per_class,
                min_per_class: Some(1),
            };
            let counts = long_tail.counts(&available, Rounding::Nearest).unwrap();
            for (count, available) in counts.iter().zip(&available) {
                prop_assert!(count <= available);
                prop_assert_eq!(*count == 0, *available == 0);
                prop_assert!(max_per_class.is_none_or(|max| *count <= max));
            }
        }
    }

    #[test]
    fn one_class_is_the_largest() {
        for profile in [Profile::Exp, Profile::Step, Profile::Pareto { power: 6.0 }] {
            let tail = Tail {
                imbalance_ratio: 10.0,
                profile,
            };
            assert_eq!(tail.counts(50, 1, Rounding::Nearest).unwrap(), [50]);
        }
    }

    #[test]
    fn classes_rank_by_what_they_have() {
        let long_tail = LongTail {
            tail: Some(Tail::exp(100.0)),
            ..LongTail::default()
        };
        // Of equal classes the first is the head; a small class keeps what it has.
        let counts =
            |tail: &LongTail, available: &[u64]| tail.counts(available, Rounding::Nearest).unwrap();
        assert_eq!(counts(&long_tail, &[100, 100, 100]), [100, 10, 1]);
        assert_eq!(counts(&long_tail, &[3, 100, 400]), [3, 40, 400]);
        let capped = LongTail {
            max_per_class: Some(20),
            ..LongTail::default()
        };
        assert_eq!(counts(&capped, &[3, 100, 20]), [3, 20, 20]);
        // A tenth of an image is none; who builds is told.
        assert_eq!(counts(&long_tail, &[10, 10]), [10, 0]);
        assert!(LongTail::default().keeps_all() && !capped.keeps_all());
    }

    /// The last class has exactly max / ratio wherever that is whole, also where a power of 1 / ratio
    /// comes out a little too small.
    #[test]
    fn the_smallest_class_has_what_the_ratio_says() {
        for profile in [Profile::Exp, Profile::Step, Profile::Pareto { power: 6.0 }] {
            for ratio in 1..=300_u64 {
                for least in [1, 2, 3, 7] {
                    let tail = Tail {
                        imbalance_ratio: ratio as f64,
                        profile,
                    };
                    for classes in [2, 3, 10, 100] {
                        let counts = tail.counts(ratio * least, classes, Rounding::Nearest);
                        let counts = counts.unwrap();
                        assert_eq!(counts[0], ratio * least, "{tail:?}");
                        assert_eq!(counts[classes - 1], least, "{tail:?} {classes}");
                    }
                }
            }
        }
        // 49^(1/2) = 7, 98 / 7 = 14; between them the nearest: 30 / 20^(1/2) = 6.7.
        let exp = |max, ratio, rounding| Tail::exp(ratio).counts(max, 3, rounding).unwrap();
        assert_eq!(exp(49, 49.0, Rounding::Nearest), [49, 7, 1]);
        assert_eq!(exp(98, 49.0, Rounding::Nearest), [98, 14, 2]);
        assert_eq!(exp(30, 20.0, Rounding::Nearest), [30, 7, 2]);
        // The reference code rounds down: int(49 * (1 / 49)^1) is 0 there.
        assert_eq!(exp(49, 49.0, Rounding::Reference)[2], 0);
        assert_eq!(exp(30, 20.0, Rounding::Reference), [30, 6, 1]);
    }

    #[test]
    fn contradictions_are_named() {
        let tail = |ratio, profile| LongTail {
            tail: Some(Tail {
                imbalance_ratio: ratio,
                profile,
            }),
            ..LongTail::default()
        };
        let power = |power| Profile::Pareto { power };
        for (long_tail, message) in [
            (
                tail(0.5, Profile::Step),
                "imbalance ratio 0.5 is out of range",
            ),
            (tail(2.0, power(0.0)), "Pareto power 0 is out of range"),
            (tail(2.0, power(f64::NAN)), "Pareto power NaN"),
            (
                tail(20.0, Profile::Exp),
                "imbalance ratio 20 leaves class 1 without an image: the largest class has 10",
            ),
            (
                LongTail {
                    max_per_class: Some(4),
                    min_per_class: Some(5),
                    tail: None,
                },
                "at most 4 images a class, and at least 5",
            ),
        ] {
            let err = long_tail
                .counts_without_gaps(&[10, 10])
                .unwrap_err()
                .to_string();
            assert!(err.contains(message) && err.contains("\nhint: "), "{err}");
        }
    }

    /// ImageNet-LT: 115,846 images, the largest class 1,280, the smallest 5, bands 385 / 479 / 136.
    #[test]
    fn pareto_is_near_imagenet_lt() {
        let counts = IMAGENET_LT.counts(1280, 1000, Rounding::Nearest).unwrap();
        assert_eq!((counts[0], counts[999]), (1280, 5));
        let total: u64 = counts.iter().sum();
        assert!((110_000..125_000).contains(&total), "{total}");
        let bands = Band::ALL.map(|band| {
            let in_band = |&&count: &&u64| BandEdges::default().band(count) == band;
            counts.iter().filter(in_band).count()
        });
        for (found, published) in bands.into_iter().zip([385, 479, 136_usize]) {
            assert!(found.abs_diff(published) < 40, "{bands:?}");
        }
        // Against the counts of the list itself, class by class.
        let Some(path) = shared("data/splits/imagenet-lt/train-class-counts.txt") else {
            return;
        };
        let text = std::fs::read_to_string(path).unwrap();
        let mut real: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        real.sort_unstable_by(|a, b| b.cmp(a));
        let off: f64 = counts
            .iter()
            .zip(&real)
            .map(|(&a, &b)| (a as f64 / b as f64).ln().abs())
            .sum();
        assert!(off / 1000.0 < 0.06, "mean log error {}", off / 1000.0);
    }
}
