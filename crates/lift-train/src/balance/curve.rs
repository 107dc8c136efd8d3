//! Accuracy over the strength of the shift: a point for each tau, overall, by class and by band.
//!
//! At tau the logits are `z - tau log p`, p being the classes' shares in training (Menon et al. 2021, arXiv 2007.07314,
//! section 3), and `+ log q` where classes come with other frequencies q. As in evaluations a tie is no hit. Invariant: one
//! reading of the logits gives all points.

use lift_shards::split::{Band, BandEdges};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::rows::Rows;
use crate::error::Result;

/// What a choice makes large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Monitor {
    /// Mean of the per-class accuracies.
    MeanClass,
    /// Accuracy over all images of the split, as they come there.
    Overall,
    /// Accuracy where classes come as the prior says.
    Expected,
    /// Harmonic mean of the bands' accuracies: none of them may be small.
    Bands,
    /// Harmonic mean of the per-class accuracies: 0 where one class is.
    Harmonic,
}

impl Monitor {
    /// As it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MeanClass => "mean-class",
            Self::Overall => "overall",
            Self::Expected => "expected",
            Self::Bands => "bands",
            Self::Harmonic => "harmonic",
        }
    }
}

/// Accuracies at one strength, in 0..=1; none of no image or class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The strength.
    pub tau: f64,
    /// Right images of all.
    pub overall: Option<f64>,
    /// Mean of the per-class accuracies.
    pub mean_class: Option<f64>,
    /// That mean over the band.
    pub many: Option<f64>,
    /// As `many`.
    pub medium: Option<f64>,
    /// As `many`.
    pub few: Option<f64>,
    /// Mean of the per-class accuracies, each weighing its share in the prior.
    pub expected: Option<f64>,
    /// Harmonic mean of the per-class accuracies.
    pub harmonic: Option<f64>,
}

impl Point {
    /// The figure that a choice makes large.
    pub fn monitored(&self, monitor: Monitor) -> Option<f64> {
        match monitor {
            Monitor::MeanClass => self.mean_class,
            Monitor::Overall => self.overall,
            Monitor::Expected => self.expected,
            Monitor::Bands => harmonic([self.many, self.medium, self.few].into_iter().flatten()),
            Monitor::Harmonic => self.harmonic,
        }
    }
}

/// What points are made with, besides logits.
#[derive(Clone, Copy, Debug)]
pub struct Judges<'a> {
    /// Training images of each class.
    pub train_counts: &'a [u64],
    /// Where the bands end.
    pub edges: BandEdges,
    /// How often classes come.
    pub shares: &'a [f64],
}

/// The points of these (tau, bias of each class), in their order.
///
/// # Errors
/// When the logits cannot be read.
pub fn curve(rows: &Rows, shifts: &[(f64, Vec<f64>)], judges: Judges) -> Result<Vec<Point>> {
    let classes = judges.shares.len();
    let biases: Vec<Tensor> = shifts
        .iter()
        .map(|(_, bias)| Tensor::from_slice(bias).to_kind(Kind::Float))
        .collect();
    let mut right = vec![vec![0u64; classes]; shifts.len()];
    let mut images = vec![0u64; classes];
    for batch in rows.batches()? {
        let batch = batch?;
        for &label in &batch.labels {
            images[label as usize] += 1;
        }
        let labels = Tensor::from_slice(&batch.labels);
        for (bias, right) in biases.iter().zip(&mut right) {
            let hits = hits(&(&batch.logits + bias), &labels)?;
            for (&label, hit) in batch.labels.iter().zip(hits) {
                right[label as usize] += u64::from(hit);
            }
        }
    }
    let points = shifts.iter().zip(&right);
    Ok(points
        .map(|((tau, _), right)| point(*tau, right, &images, judges))
        .collect())
}

/// Whether the label's logit is above all others, row by row.
fn hits(logits: &Tensor, labels: &Tensor) -> Result<Vec<bool>> {
    let labels = labels.unsqueeze(1);
    let own = logits.gather(1, &labels, false);
    let others = logits.scatter_value(1, &labels, f64::NEG_INFINITY);
    let best = others.amax([1i64].as_slice(), true);
    let hits = Vec::<bool>::try_from(own.gt_tensor(&best).squeeze_dim(1));
    Ok(hits.map_err(lift_models::Error::from)?)
}

fn point(tau: f64, right: &[u64], images: &[u64], judges: Judges) -> Point {
    let of_class: Vec<Option<f64>> = right
        .iter()
        .zip(images)
        .map(|(&right, &all)| (all > 0).then(|| right as f64 / all as f64))
        .collect();
    let band = |band: Band| {
        let counts = of_class.iter().zip(judges.train_counts);
        mean(
            counts
                .filter(|&(_, &n)| judges.edges.band(n) == band)
                .filter_map(|(accuracy, _)| *accuracy),
        )
    };
    let there = || of_class.iter().flatten().copied();
    let (mut sum, mut weight) = (0.0, 0.0);
    for (accuracy, share) in of_class.iter().zip(judges.shares) {
        if let Some(accuracy) = accuracy {
            sum += accuracy * share;
            weight += share;
        }
    }
    let all: u64 = images.iter().sum();
    Point {
        tau,
        overall: (all > 0).then(|| right.iter().sum::<u64>() as f64 / all as f64),
        mean_class: mean(there()),
        many: band(Band::Many),
        medium: band(Band::Medium),
        few: band(Band::Few),
        expected: (weight > 0.0).then(|| sum / weight),
        harmonic: harmonic(there()),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0u64), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / n as f64)
}

fn harmonic(values: impl Iterator<Item = f64>) -> Option<f64> {
    mean(values.map(f64::recip)).map(f64::recip)
}

/// The place of the point to take: the largest figure; of several, the one whose tau is nearest to 0. None where there is
/// no figure.
pub fn best(points: &[Point], monitor: Monitor) -> Option<usize> {
    let figures = points.iter().enumerate();
    let figures = figures.filter_map(|(at, point)| Some((at, point.monitored(monitor)?)));
    let better = |a: &(usize, f64), b: &(usize, f64)| {
        let near = |at: usize| -points[at].tau.abs();
        a.1.total_cmp(&b.1).then(near(a.0).total_cmp(&near(b.0)))
    };
    figures.max_by(better).map(|(at, _)| at)
}

/// The strengths `from:to:step` says, both ends among them; 0 is exact.
///
/// # Errors
/// Says what is wrong with the text.
pub fn strengths(text: &str) -> std::result::Result<Vec<f64>, String> {
    let bad = || format!("{text:?} is no range; use from:to:step, such as -1:1:0.1, or one number");
    let numbers: Vec<f64> = text
        .split(':')
        .map(|part| part.trim().parse().map_err(|_| bad()))
        .collect::<std::result::Result<_, _>>()?;
    if numbers.iter().any(|n| !n.is_finite() || n.abs() > 100.0) {
        return Err(format!("{text:?}: strengths lie between -100 and 100"));
    }
    match *numbers.as_slice() {
        [one] => Ok(vec![one]),
        [from, to, step] if step > 0.0 && from <= to => {
            let steps = ((to - from) / step + 1e-9).floor();
            if steps >= 1000.0 {
                return Err(format!("{text:?}: more than 1000 strengths"));
            }
            let at = |i: usize| ((from + step * i as f64) * 1e9).round() / 1e9 + 0.0;
            Ok((0..=steps as usize).map(at).collect())
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_by_hand() {
        assert_eq!(strengths("0:1:0.25").unwrap(), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(
            strengths("-0.2:0.2:0.1").unwrap(),
            [-0.2, -0.1, 0.0, 0.1, 0.2]
        );
        assert_eq!(strengths("0.3").unwrap(), [0.3]);
        assert_eq!(strengths("0:2:0.1").unwrap().len(), 21);
        for text in ["", "1:0:0.1", "0:1:0", "0:1", "a", "0:inf:1", "0:100:0.01"] {
            assert!(strengths(text).is_err(), "{text}");
        }
    }

    #[test]
    fn figures_by_hand() {
        // Class 0: 3 of 4, class 1: 1 of 2, class 2: no image.
        let judges = Judges {
            train_counts: &[200, 5, 50],
            edges: BandEdges::default(),
            shares: &[0.5, 0.25, 0.25],
        };
        let found = point(0.5, &[3, 1, 0], &[4, 2, 0], judges);
        let figures = [
            found.overall,
            found.mean_class,
            found.many,
            found.medium,
            found.few,
        ];
        assert_eq!(
            figures,
            [Some(4.0 / 6.0), Some(0.625), Some(0.75), None, Some(0.5)]
        );
        assert_eq!(found.expected, Some((0.75 * 0.5 + 0.5 * 0.25) / 0.75));
        assert!(
            (found.harmonic.unwrap() - 0.6).abs() < 1e-12,
            "2 / (4/3 + 2)"
        );
        assert!((found.monitored(Monitor::Bands).unwrap() - 0.6).abs() < 1e-12);
    }

    #[test]
    fn a_tie_is_no_hit_and_among_equals_the_least_shift_is_taken() {
        let logits = Tensor::from_slice2(&[[1.0f32, 1.0, 0.0], [0.0, 2.0, 1.0]]);
        let found = hits(&logits, &Tensor::from_slice(&[0i64, 1])).unwrap();
        assert_eq!(found, [false, true]);
        let judges = Judges {
            train_counts: &[1],
            edges: BandEdges::default(),
            shares: &[1.0],
        };
        let at = |tau: f64, right: u64| point(tau, &[right], &[4], judges);
        let points = [at(-1.0, 3), at(-0.25, 3), at(0.5, 3), at(1.0, 2)];
        assert_eq!(best(&points, Monitor::Overall), Some(1));
        assert_eq!(best(&[], Monitor::Overall), None);
    }
}
