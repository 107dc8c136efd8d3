//! What a model says of images whose classes nobody knows: the likeliest classes of each, with their probabilities.
//!
//! It goes the way of evaluation, so that the same pixels give the same logits. Invariant: there is an answer for each image,
//! in their order; of one that cannot be decoded it is why.

pub mod gallery;
pub mod inputs;
pub mod rows;

use lift_loader::{Draws, Images};
use lift_page::progress::Progress;
use tch::{Device, Kind, Tensor};

use crate::{error::Result, passes::Passes};

/// A class that an image may be of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// Its label.
    pub label: u32,
    /// From a softmax over the logits.
    pub probability: f32,
}

/// What is said of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The image, as the user knows it.
    pub name: String,
    /// The likeliest classes, by falling probability; or why there are none.
    pub said: std::result::Result<Vec<Guess>, String>,
}

/// What is wanted of each image.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How many classes, at most.
    pub top: usize,
    /// Classes that are less likely are not named.
    pub min_confidence: f64,
    /// Crops of an image, whose logits' mean counts.
    pub crops: usize,
}

/// Gives `take` what `logits` says of the images, batch after batch: patches (c, n, 3 p p) as the transfer gives them ->
/// (c, K).
///
/// # Errors
/// When an image of shards cannot be loaded, memory does not suffice, or `take` fails.
pub fn predict(
    passes: &Passes,
    wanted: Wanted,
    progress: &Progress,
    logits: impl Fn(&Tensor) -> Tensor,
    mut take: impl FnMut(Vec<Answer>) -> Result<()>,
) -> Result<()> {
    let images = passes.images().clone();
    let mut done = 0;
    passes.each(
        Draws::in_order(images.len()),
        logits,
        |logits, _, labels| {
            let rows = done..done + labels.len();
            done = rows.end;
            let said = tch::no_grad(|| likeliest(&logits, labels.len(), wanted))?;
            let mut failures = match &images {
                Images::Files(files) => files.take_failures(rows.clone()),
                Images::Shards(_) => Default::default(),
            };
            let answers = rows.zip(said).map(|(row, said)| Answer {
                name: images.name(row).to_owned(),
                said: match failures.remove(&row) {
                    Some(reason) => Err(reason),
                    None => said,
                },
            });
            take(answers.collect())?;
            progress.advance(labels.len() as u64);
            Ok(())
        },
    )
}

type Said = std::result::Result<Vec<Guess>, String>;

/// Logits of crops (c, K) of so many images -> the likeliest classes of each, in one transfer from the device.
fn likeliest(logits: &Tensor, images: usize, wanted: Wanted) -> Result<Vec<Said>> {
    let mean = logits.view([images as i64, wanted.crops as i64, -1]);
    let mean = mean.mean_dim([1i64].as_slice(), false, Kind::Float);
    let top = (wanted.top as i64).min(mean.size()[1]);
    let finite = mean.isfinite().all_dim(1, true).to_kind(Kind::Double);
    // Labels are whole numbers in doubles, of any number of classes.
    let (shares, labels) = mean.softmax(1, Kind::Float).topk(top, 1, true, true);
    let all = [
        shares.to_kind(Kind::Double),
        labels.to_kind(Kind::Double),
        finite,
    ];
    let all = Tensor::cat(&all, 1).to_device(Device::Cpu).view([-1]);
    let all = Vec::<f64>::try_from(all).map_err(lift_models::Error::from)?;
    let top = top as usize;
    let of_image = |row: &[f64]| {
        if row[2 * top] == 0.0 {
            return Err(
                "its logits are not finite: fp16 ends at 65,504, use --precision fp32 or bf16"
                    .into(),
            );
        }
        let guesses = row[..top].iter().zip(&row[top..2 * top]);
        let named = guesses.filter(|&(&share, _)| share >= wanted.min_confidence);
        let guess = |(&share, &label): (&f64, &f64)| Guess {
            label: label as u32,
            probability: share as f32,
        };
        Ok(named.map(guess).collect())
    };
    Ok(all.chunks_exact(2 * top + 1).map(of_image).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_of_the_mean_over_crops() {
        // Two images of two crops, three classes.
        let logits = Tensor::from_slice2(&[
            [0.0f32, 4.0, 1.0],
            [2.0, 0.0, 1.0],
            [f32::NAN, 0.0, 0.0],
            [0.0, 0.0, 0.0],
        ]);
        let wanted = Wanted {
            top: 2,
            min_confidence: 0.3,
            crops: 2,
        };
        let said = likeliest(&logits, 2, wanted).unwrap();
        // Means 1, 2, 1: shares e^1 / (2 e + e^2) twice, below 0.3.
        let e = std::f32::consts::E;
        let first = said[0].as_ref().unwrap();
        assert_eq!((first.len(), first[0].label), (1, 1));
        assert!((first[0].probability - e * e / (2.0 * e + e * e)).abs() < 1e-6);
        assert!(said[1].as_ref().unwrap_err().contains("not finite"));
        let all = Wanted {
            top: 9,
            min_confidence: 0.0,
            ..wanted
        };
        let said = likeliest(&logits, 2, all).unwrap();
        let sum: f32 = said[0]
            .as_ref()
            .unwrap()
            .iter()
            .map(|g| g.probability)
            .sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
}
