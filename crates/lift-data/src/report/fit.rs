//! Which long-tail profile a distribution follows: the exponential or Pareto that comes closest.
//!
//! Closeness is the root mean square of `ln(count / profile)` over the classes that have images, largest
//! first. Invariant: the profiles are those of [`crate::profile::Profile`], before rounding.

use serde::Serialize;

/// Where a Pareto's power is searched.
pub const POWERS: [f64; 2] = [0.05, 200.0];

/// The closest profile of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fits {
    /// Classes with images, which is what was fitted.
    pub classes: usize,
    /// The exponential.
    pub exponential: Exponential,
    /// The Pareto.
    pub pareto: Pareto,
}

/// `largest * (1 / imbalance_ratio)^(i / (classes - 1))` for class i: a least-squares line through the
/// logarithms of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Exponential {
    /// Images of class 0.
    pub largest: f64,
    /// Class 0 over the last class.
    pub imbalance_ratio: f64,
    /// Root mean square of the logarithms' differences.
    pub rms_log_error: f64,
}

/// `smallest + (largest - smallest) * q(i) / q(0)` with `q(i) = (classes / (i + 1))^(1/power) - 1`,
/// between the ends that the data has; the power is searched in [`POWERS`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pareto {
    /// Images of the largest class.
    pub largest: f64,
    /// Images of the smallest class that has any.
    pub smallest: f64,
    /// The shape.
    pub power: f64,
    /// Root mean square of the logarithms' differences.
    pub rms_log_error: f64,
}

impl Exponential {
    /// Images of class `i` of `classes`.
    pub fn at(&self, i: usize, classes: usize) -> f64 {
        let share = i as f64 / classes.saturating_sub(1).max(1) as f64;
        self.largest * self.imbalance_ratio.powf(-share)
    }
}

impl Pareto {
    /// Images of class `i` of `classes`.
    pub fn at(&self, i: usize, classes: usize) -> f64 {
        let q = |i: usize| (classes as f64 / (i + 1) as f64).powf(1.0 / self.power) - 1.0;
        self.smallest + (self.largest - self.smallest) * q(i) / q(0)
    }
}

/// Fits both profiles to counts in falling order; `None` for fewer than 3 classes with images, or when
/// all are equally large.
pub fn fit(sorted: &[u64]) -> Option<Fits> {
    let counts: Vec<f64> = sorted
        .iter()
        .take_while(|&&count| count > 0)
        .map(|&count| count as f64)
        .collect();
    let (&largest, &smallest) = (counts.first()?, counts.last()?);
    if counts.len() < 3 || largest == smallest {
        return None;
    }
    let classes = counts.len();
    Some(Fits {
        classes,
        exponential: exponential(&counts),
        pareto: pareto(&counts, largest, smallest),
    })
}

fn exponential(counts: &[f64]) -> Exponential {
    let n = counts.len() as f64;
    let mean_x = (n - 1.0) / 2.0;
    let mean_y = counts.iter().map(|count| count.ln()).sum::<f64>() / n;
    let (mut xy, mut xx) = (0.0, 0.0);
    for (i, count) in counts.iter().enumerate() {
        let x = i as f64 - mean_x;
        xy += x * (count.ln() - mean_y);
        xx += x * x;
    }
    let slope = xy / xx;
    let mut fit = Exponential {
        largest: (mean_y - slope * mean_x).exp(),
        imbalance_ratio: (-slope * (n - 1.0)).exp(),
        rms_log_error: 0.0,
    };
    fit.rms_log_error = rms(counts, |i| fit.at(i, counts.len()));
    fit
}

/// Golden-section search over the power's logarithm.
fn pareto(counts: &[f64], largest: f64, smallest: f64) -> Pareto {
    let of = |log_power: f64| {
        let mut fit = Pareto {
            largest,
            smallest,
            power: log_power.exp(),
            rms_log_error: 0.0,
        };
        fit.rms_log_error = rms(counts, |i| fit.at(i, counts.len()));
        fit
    };
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (POWERS[0].ln(), POWERS[1].ln());
    while high - low > 1e-6 {
        let left = high - golden * (high - low);
        let right = low + golden * (high - low);
        if of(left).rms_log_error < of(right).rms_log_error {
            high = right;
        } else {
            low = left;
        }
    }
    of((low + high) / 2.0)
}

fn rms(counts: &[f64], profile: impl Fn(usize) -> f64) -> f64 {
    let squares = counts.iter().enumerate().map(|(i, count)| {
        let error = (count / profile(i)).ln();
        error * error
    });
    (squares.sum::<f64>() / counts.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Profile, Rounding, Tail};
    use crate::testing::shared;

    fn counts(profile: Profile, ratio: f64) -> Vec<u64> {
        let tail = Tail {
            imbalance_ratio: ratio,
            profile,
        };
        // Large, so that rounding does not matter.
        tail.counts(1_000_000, 200, Rounding::Nearest).unwrap()
    }

    #[test]
    fn parameters_come_back() {
        let fits = fit(&counts(Profile::Exp, 100.0)).unwrap();
        assert!((fits.exponential.imbalance_ratio - 100.0).abs() < 0.1);
        assert!((fits.exponential.largest - 1e6).abs() < 1e3);
        assert!(fits.exponential.rms_log_error < 1e-3);
        assert!(fits.pareto.rms_log_error > 10.0 * fits.exponential.rms_log_error);
        for power in [0.8, 6.0, 30.0] {
            let fits = fit(&counts(Profile::Pareto { power }, 200.0)).unwrap();
            assert!(
                (fits.pareto.power / power - 1.0).abs() < 1e-2,
                "{:?}",
                fits.pareto
            );
            assert!(fits.pareto.rms_log_error < fits.exponential.rms_log_error);
        }
        assert_eq!(fit(&[3, 2]), None);
        assert_eq!(fit(&[3, 3, 3, 0]), None);
    }

    /// ImageNet-LT was drawn from a Pareto distribution with power 6.
    #[test]
    fn imagenet_lt_is_a_pareto_of_power_6() {
        let Some(path) = shared("data/splits/imagenet-lt/train-class-counts.txt") else {
            return;
        };
        let text = std::fs::read_to_string(path).unwrap();
        let mut counts: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let fits = fit(&counts).unwrap();
        assert!((5.0..7.0).contains(&fits.pareto.power), "{:?}", fits.pareto);
        assert!(fits.pareto.rms_log_error < fits.exponential.rms_log_error);
    }
}
