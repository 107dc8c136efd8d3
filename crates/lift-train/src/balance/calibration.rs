//! Temperature: by how much logits are too sure, and what they say of themselves before and after.
//!
//! The temperature makes the negative log likelihood smallest (Guo et al. 2017, section 4.2), which is convex in 1 / T, so
//! that Newton's steps in a bracket find it. Each image weighs what its class does, so that what is measured is what would
//! be seen where classes come with the frequencies that the weights are made for. The calibration error is that of
//! evaluations, over the same bins.

use serde::Serialize;
use tch::{Kind, Tensor};

use super::rows::Rows;
use crate::{
    error::Result,
    metrics::{CALIBRATION_BINS, calibration_bin},
};

/// The temperatures that are looked at.
pub const RANGE: [f64; 2] = [0.01, 100.0];

const MOST_STEPS: usize = 60;

/// How well probabilities tell how often they are right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// What logits were divided by.
    pub temperature: f64,
    /// Mean of `-log` of the probability of the image's class.
    pub negative_log_likelihood: f64,
    /// Expected calibration error, in 0..=1.
    pub calibration_error: f64,
}

/// What `(z + bias) / temperature` says; `weights` are an image's of each class, and sum to 1 over all images.
///
/// # Errors
/// When the logits cannot be read.
pub fn measure(
    rows: &Rows,
    bias: &[f64],
    temperature: f64,
    weights: &[f64],
) -> Result<Calibration> {
    let bias = Tensor::from_slice(bias);
    let mut bins = [(0.0, 0.0); CALIBRATION_BINS];
    let mut loss = 0.0;
    for batch in rows.batches()? {
        let batch = batch?;
        let scores = (batch.logits.to_kind(Kind::Double) + &bias) / temperature;
        let logs = scores.log_softmax(1, Kind::Double);
        let labels = Tensor::from_slice(&batch.labels).unsqueeze(1);
        let own = logs.gather(1, &labels, false);
        let others = logs.scatter_value(1, &labels, f64::NEG_INFINITY);
        let best = others.amax([1i64].as_slice(), true);
        let columns = Tensor::cat(&[own, best], 1);
        let pairs = Vec::<f64>::try_from(columns.view([-1])).map_err(lift_models::Error::from)?;
        for (&label, pair) in batch.labels.iter().zip(pairs.chunks_exact(2)) {
            let weight = weights[label as usize];
            loss -= weight * pair[0];
            let confidence = pair[0].max(pair[1]).exp();
            let (right, sum) = &mut bins[calibration_bin(confidence as f32)];
            *right += weight * f64::from(u8::from(pair[0] > pair[1]));
            *sum += weight * confidence;
        }
    }
    let gaps = bins.iter().map(|(right, sum)| f64::abs(right - sum));
    Ok(Calibration {
        temperature,
        negative_log_likelihood: loss,
        calibration_error: gaps.sum(),
    })
}

/// The temperature of `z + bias` with the smallest negative log likelihood, within [`RANGE`].
///
/// # Errors
/// When the logits cannot be read.
pub fn fit(rows: &Rows, bias: &[f64], weights: &[f64]) -> Result<f64> {
    let bias = Tensor::from_slice(bias);
    let [mut low, mut high] = [1.0 / RANGE[1], 1.0 / RANGE[0]];
    let mut sharpness = 1.0;
    for _ in 0..MOST_STEPS {
        let (slope, bend) = slope(rows, &bias, sharpness, weights)?;
        if slope > 0.0 {
            high = sharpness;
        } else {
            low = sharpness;
        }
        let newton = sharpness - slope / bend;
        let next = if newton > low && newton < high {
            newton
        } else {
            (low * high).sqrt()
        };
        let moved = (next / sharpness - 1.0).abs();
        sharpness = next;
        if moved < 1e-7 {
            break;
        }
    }
    Ok(1.0 / sharpness)
}

/// The first and second derivative of the negative log likelihood in 1 / T.
fn slope(rows: &Rows, bias: &Tensor, sharpness: f64, weights: &[f64]) -> Result<(f64, f64)> {
    let (mut first, mut second) = (0.0, 0.0);
    for batch in rows.batches()? {
        let batch = batch?;
        let scores = batch.logits.to_kind(Kind::Double) + bias;
        let shares = (&scores * sharpness).softmax(1, Kind::Double);
        let mean = |values: Tensor| values.sum_dim_intlist([1i64].as_slice(), true, Kind::Double);
        let expected = mean(&shares * &scores);
        let spread = mean(&shares * (&scores - &expected).square());
        let labels = Tensor::from_slice(&batch.labels).unsqueeze(1);
        let gap = expected - scores.gather(1, &labels, false);
        let columns = Tensor::cat(&[gap, spread], 1);
        let pairs = Vec::<f64>::try_from(columns.view([-1])).map_err(lift_models::Error::from)?;
        for (&label, pair) in batch.labels.iter().zip(pairs.chunks_exact(2)) {
            let weight = weights[label as usize];
            first += weight * pair[0];
            second += weight * pair[1];
        }
    }
    Ok((first, second))
}
