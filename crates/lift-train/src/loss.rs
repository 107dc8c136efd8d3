//! Training losses for long-tailed data: what each adds to cross entropy, as constants of the classes.
//!
//! n_c is a class's number of training images, p_c its share of all. Losses are computed in fp32. Every class must
//! have at least one image, but for cross entropy and the focal loss. Values and gradients are compared with the authors' in `tests/tests/loss_golden.rs`.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Reduction, Tensor};

/// The losses that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LossKind {
    /// Logit-adjusted cross entropy, `CE(z + tau log p)` (Menon et al. 2021).
    #[default]
    La,
    /// Cross entropy.
    Ce,
    /// Focal loss, `(1 - q)^2 CE`, q the share of the true class (Lin et al. 2017).
    Focal,
    /// Label-distribution-aware margins, at most 0.5, times the scale (Cao et al. 2019).
    Ldam,
    /// Weights by the effective number of images, beta 0.9999 (Cui et al. 2019).
    Cb,
    /// Weights 1 / p (generalised re-weighting, Zhang et al. 2021).
    Grw,
    /// Balanced softmax, LA with tau 1 (Ren et al. 2020).
    Bs,
    /// LA and 0.1 times the Donsker-Varadhan estimate (Hong et al. 2021).
    Lade,
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::La => "la",
            Self::Ce => "ce",
            Self::Focal => "focal",
            Self::Ldam => "ldam",
            Self::Cb => "cb",
            Self::Grw => "grw",
            Self::Bs => "bs",
            Self::Lade => "lade",
        })
    }
}

impl LossKind {
    /// Whether it divides by a class's number of training images, or takes its logarithm, so that each class needs one.
    pub fn needs_counts(self) -> bool {
        match self {
            Self::Ce | Self::Focal => false,
            Self::La | Self::Ldam | Self::Cb | Self::Grw | Self::Bs | Self::Lade => true,
        }
    }
}

const FOCAL_GAMMA: i64 = 2;
const LDAM_LARGEST_MARGIN: f64 = 0.5;
const CB_BETA: f64 = 0.9999;
const LADE_WEIGHT: f64 = 0.1;
const LADE_REGULARISER: f64 = 0.1;

/// A loss for given training counts, with its constants on the device.
#[derive(Debug)]
pub enum Loss {
    /// Cross entropy of logits to which (K) is added.
    Shifted(Tensor),
    /// Focal loss.
    Focal,
    /// Cross entropy after (K) is taken from the logit of the true class.
    Margin(Tensor),
    /// Cross entropy with class weights (K), divided by the weights of the batch.
    Weighted(Tensor),
    /// Log p (K) and p (K).
    Lade(Tensor, Tensor),
}

impl Loss {
    /// The loss for these training counts, one a class, none of them zero where the kind needs counts; `tau` is LA's, `scale` the classifier's,
    /// by which LDAM's margins grow.
    pub fn new(kind: LossKind, train_counts: &[u64], tau: f64, scale: f64, device: Device) -> Self {
        let total = train_counts.iter().sum::<u64>() as f64;
        let of_class = |value: &dyn Fn(f64) -> f64| -> Vec<f64> {
            train_counts.iter().map(|&n| value(n as f64)).collect()
        };
        let constant = |values: Vec<f64>| {
            Tensor::from_slice(&values)
                .to_kind(Kind::Float)
                .to_device(device)
        };
        let log_share = |factor: f64| constant(of_class(&|n| factor * (n / total).ln()));
        let by_mean = |weights: Vec<f64>| {
            let mean = weights.iter().sum::<f64>() / weights.len() as f64;
            constant(weights.into_iter().map(|w| w / mean).collect())
        };
        match kind {
            LossKind::La => Self::Shifted(log_share(tau)),
            LossKind::Bs => Self::Shifted(log_share(1.0)),
            // Not `0 ln p`, which is no number for a class without images.
            LossKind::Ce => Self::Shifted(constant(of_class(&|_| 0.0))),
            LossKind::Focal => Self::Focal,
            LossKind::Ldam => {
                let margins = of_class(&|n| n.powf(-0.25));
                let largest = margins.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
                let factor = LDAM_LARGEST_MARGIN / largest * scale;
                Self::Margin(constant(margins.into_iter().map(|m| m * factor).collect()))
            }
            LossKind::Cb => Self::Weighted(by_mean(of_class(&effective_weight))),
            LossKind::Grw => Self::Weighted(by_mean(of_class(&|n| total / n))),
            LossKind::Lade => Self::Lade(log_share(1.0), constant(of_class(&|n| n / total))),
        }
    }

    /// Logits (b, K) and labels (b) -> the mean loss, a scalar.
    pub fn forward(&self, logits: &Tensor, labels: &Tensor) -> Tensor {
        self.forward_smoothed(logits, labels, 0.0)
    }

    /// As [`Loss::forward`], with this share of every label spread evenly over all classes. The focal loss and LADE's
    /// estimate look at the true label alone.
    pub fn forward_smoothed(&self, logits: &Tensor, labels: &Tensor, smoothing: f64) -> Tensor {
        let logits = logits.to_kind(Kind::Float);
        let entropy = |logits: Tensor, weights: Option<&Tensor>| {
            logits.cross_entropy_loss(labels, weights, Reduction::Mean, -100, smoothing)
        };
        match self {
            Self::Shifted(shift) => entropy(logits + shift, None),
            Self::Focal => {
                let log_share = of_labels(&logits.log_softmax(-1, Kind::Float), labels);
                let hardness: Tensor = 1.0 - log_share.exp();
                -(hardness.pow_tensor_scalar(FOCAL_GAMMA) * log_share).mean(Kind::Float)
            }
            Self::Margin(margins) => {
                let is_label = one_hot(labels, logits.size()[1]);
                entropy(logits - is_label * margins, None)
            }
            Self::Weighted(weights) => entropy(logits, Some(weights)),
            Self::Lade(log_shares, shares) => {
                let adjusted = entropy(&logits + log_shares, None);
                adjusted + lade_estimate(&logits, labels, log_shares, shares) * LADE_WEIGHT
            }
        }
    }
}

impl Loss {
    /// What the images with these labels weigh in the mean, a scalar: their number, or the sum of their classes'
    /// weights. A batch's loss is the mean of its parts' losses, each with its weight; LADE's is not.
    pub fn weight(&self, labels: &Tensor) -> Tensor {
        match self {
            Self::Weighted(weights) => weights.index_select(0, labels).sum(Kind::Float),
            _ => Tensor::full([], labels.numel() as f64, (Kind::Float, labels.device())),
        }
    }
}

/// `(1 - beta) / (1 - beta^n)` in fp32 like the authors': the rounding of beta^n next to 1 moves the smallest classes'
/// weights by up to some 1e-4 of themselves, which would show in a comparison.
fn effective_weight(n: f64) -> f64 {
    let power = f64::from(CB_BETA as f32).powf(n) as f32;
    f64::from((1.0 - CB_BETA) as f32 / (1.0 - power))
}

/// The negative regularised Donsker-Varadhan bound between the images of a class and all images, weighted by p.
fn lade_estimate(logits: &Tensor, labels: &Tensor, log_shares: &Tensor, shares: &Tensor) -> Tensor {
    let (images, classes) = (logits.size()[0], logits.size()[1]);
    let is_label = one_hot(labels, classes);
    let images_of_class = is_label.sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
    let own = (logits * is_label).sum_dim_intlist([0i64].as_slice(), false, Kind::Float)
        / (images_of_class + 1e-8);
    // As if the classes were balanced: log p goes, log 1 / K comes.
    let spread = logits - log_shares - (classes as f64).ln();
    let all = spread.logsumexp([0i64].as_slice(), false) - (images as f64).ln();
    let bound = own - &all - all.square() * LADE_REGULARISER;
    -(bound * shares).sum(Kind::Float)
}

/// 1.0 where a column is the row's label, else 0.0: (b, K).
fn one_hot(labels: &Tensor, classes: i64) -> Tensor {
    labels.one_hot(classes).to_kind(Kind::Float)
}

/// The entry of each row (b, K) at its label: (b).
fn of_labels(rows: &Tensor, labels: &Tensor) -> Tensor {
    rows.gather(1, &labels.unsqueeze(1), false).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_without_images_is_no_trouble_where_no_count_is_needed() {
        let logits = Tensor::from_slice2(&[[1.0f32, 2.0, 0.5], [0.0, 1.0, 3.0]]);
        let labels = Tensor::from_slice(&[1i64, 2]);
        for kind in <LossKind as clap::ValueEnum>::value_variants() {
            let with = |counts: &[u64]| {
                let loss = Loss::new(*kind, counts, 1.0, 25.0, Device::Cpu);
                loss.forward(&logits, &labels).double_value(&[])
            };
            if kind.needs_counts() {
                continue;
            }
            // By hand they do not know the counts at all.
            assert_eq!(with(&[0, 5, 7]), with(&[5, 5, 7]), "{kind}");
            assert!(with(&[0, 5, 7]).is_finite(), "{kind}");
        }
    }
}
