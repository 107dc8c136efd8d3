//! How often classes come among images without labels, from what a classifier says of them (Saerens, Latinne and
//! Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori probabilities", section 2.2).
//!
//! With r_c(x) proportional to p(x | c), the shares that make the images most likely are the fixed point of
//! `q_c <- mean over x of q_c r_c(x) / sum_k q_k r_k(x)`, which each round of expectation and maximisation comes nearer to.
//! r is the softmax of logits in which every class is alike; it must be calibrated (Alexandari et al. 2020), so that a
//! temperature fitted on labelled images comes first. The uncertainty is a bootstrap's over images (Efron 1979): all
//! resamples go through the rounds together, as columns. What a wrong r does to the shares it does not see.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::{
    error::{Error, Result},
    logits::LogitsFile,
};

/// Resamples; an interval's ends are their 2.5th and 97.5th percentiles.
pub const RESAMPLES: usize = 100;

const MOST_ROUNDS: usize = 1000;

/// The rounds end where no other shares could make the log likelihood of all images larger by more than this. By
/// concavity that is at most `n (max_c g_c - 1)`, g_c being the mean of `r_c(x) / sum_k q_k r_k(x)`.
const CLOSE: f64 = 0.1;

/// Shares of classes among images without labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Images that they were estimated from.
    pub images: u64,
    /// Of each class in label order, summing to 1.
    pub shares: Vec<f64>,
    /// The 95 % interval of each.
    pub intervals: Vec<[f64; 2]>,
    /// Rounds until they stood still.
    pub rounds: usize,
    /// Whether they did.
    pub settled: bool,
}

/// Estimates the shares from the logits of a file; `softmax((z + bias) / temperature)` takes every class alike. Labels in
/// the file are not looked at.
///
/// # Errors
/// When the file cannot be read, or has no image.
pub fn estimate(file: &LogitsFile, bias: &[f64], temperature: f64, seed: u64) -> Result<Estimate> {
    let (images, classes) = (file.about().images as usize, bias.len());
    if images == 0 {
        return Err(Error::BadRun {
            path: file.path().into(),
            reason: "has no image to estimate class frequencies from".into(),
        });
    }
    let bias = Tensor::from_slice(bias);
    let counts = resamples(images, seed);
    let columns = RESAMPLES as i64 + 1;
    let even = 1.0 / classes as f64;
    let mut shares = Tensor::full([classes as i64, columns], even, tch::kind::DOUBLE_CPU);
    let (mut rounds, mut settled) = (0, false);
    while rounds < MOST_ROUNDS && !settled {
        let mut sums = Tensor::zeros([classes as i64, columns], tch::kind::DOUBLE_CPU);
        let mut row = 0;
        for batch in file.batches()? {
            let batch = batch?;
            let scores = (batch.logits.to_kind(Kind::Double) + &bias) / temperature;
            let of_class = scores.softmax(1, Kind::Double);
            let rows = batch.labels.len() as i64;
            // (b, columns): how often each resample has the image, over how likely it is there.
            let counts = counts.narrow(0, row, rows).to_kind(Kind::Double);
            let ratio = counts / of_class.matmul(&shares).clamp_min(f64::MIN_POSITIVE);
            sums += of_class.tr().matmul(&ratio);
            row += rows;
        }
        let slopes = sums / images as f64;
        let gap = (slopes.max().double_value(&[]) - 1.0) * images as f64;
        settled = gap < CLOSE;
        if !settled {
            shares = &shares * slopes;
        }
        rounds += 1;
    }
    let all = Vec::<f64>::try_from(shares.contiguous().view([-1]));
    let all = all.map_err(lift_models::Error::from)?;
    let rows = all.chunks_exact(RESAMPLES + 1);
    let interval = |row: &[f64]| {
        let mut drawn = row[1..].to_vec();
        drawn.sort_by(f64::total_cmp);
        let at = |share: f64| drawn[(share * RESAMPLES as f64) as usize];
        [at(0.025), at(0.975)]
    };
    Ok(Estimate {
        images: images as u64,
        shares: rows.clone().map(|row| row[0]).collect(),
        intervals: rows.map(interval).collect(),
        rounds,
        settled,
    })
}

/// How often each image (row) is in each column: once in the first, which is all images, and as often as it is drawn in
/// the others; whole numbers in fp32.
fn resamples(images: usize, seed: u64) -> Tensor {
    let width = RESAMPLES + 1;
    let mut counts = vec![0.0f32; images * width];
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for column in 0..width {
        for image in 0..images {
            let drawn = match column {
                0 => image,
                _ => ((u128::from(rng.next_u64()) * images as u128) >> 64) as usize,
            };
            counts[drawn * width + column] += 1.0;
        }
    }
    Tensor::from_slice(&counts).view([images as i64, width as i64])
}
