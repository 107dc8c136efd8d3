//! Evaluation: plain centre crop, or test-time ensembling of five crops (the mean of their logits).

use std::time::{Duration, Instant};

use lift_clip::Normalisation;
use lift_data::progress::Reporting;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{
    error::{Error, Result},
    loader::{Loader, View},
    metrics::{Metrics, Tally},
};

/// Test-time ensembling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tte {
    /// One centre crop.
    None,
    /// Four corners and the centre.
    #[default]
    FiveCrop,
}

/// One evaluation and how it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The ensembling.
    pub tte: Tte,
    /// Pixels beyond the resolution, with ensembling.
    pub expand: Option<u32>,
    /// What came out.
    pub metrics: Metrics,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// What an evaluation needs besides the model and the images.
pub struct EvalOptions<'a> {
    /// The model's constants.
    pub normalisation: Normalisation,
    /// Where the model lies.
    pub device: Device,
    /// Training images of each class, for the bands.
    pub train_counts: Option<&'a [u64]>,
    /// Pixels beyond the resolution, with ensembling.
    pub expand: u32,
}

/// Judges every row of the loader's shards by `logits`: normalised images (b, 3, r, r) -> (b, K).
///
/// # Errors
/// When a row cannot be loaded.
pub fn evaluate(
    loader: &Loader,
    tte: Tte,
    options: &EvalOptions,
    logits: impl Fn(&Tensor) -> Tensor,
) -> Result<Evaluation> {
    let view = match tte {
        Tte::None => View::Center,
        Tte::FiveCrop => View::FiveCrop {
            expand: options.expand,
        },
    };
    let started = Instant::now();
    let reader = loader.reader();
    let progress = Reporting::Stderr.start("evaluate", reader.len() as u64);
    let mut judged = 0;
    let mut tally = Tally::new(reader.manifest().class_names.len());
    for batch in loader.batches((0..reader.len()).collect(), view) {
        let batch = batch?;
        let predicted = tch::no_grad(|| {
            let images = batch.images(&options.normalisation, options.device);
            let logits = logits(&images).view([batch.labels.len() as i64, view.crops() as i64, -1]);
            Vec::<i64>::try_from(
                logits
                    .mean_dim([1i64].as_slice(), false, Kind::Float)
                    .argmax(1, false),
            )
        });
        let predicted = predicted.map_err(lift_clip::Error::from)?;
        for (&label, &predicted) in batch.labels.iter().zip(&predicted) {
            tally.add(label as usize, predicted as usize);
        }
        judged += batch.labels.len();
        progress.advance(batch.labels.len() as u64);
    }
    progress.finish();
    // A loader thread that died only closes the queue.
    if judged < reader.len() {
        return Err(Error::LoaderStopped);
    }
    Ok(Evaluation {
        tte,
        expand: (tte == Tte::FiveCrop).then_some(options.expand),
        metrics: tally.metrics(options.train_counts, reader.manifest().bands),
        seconds: round(started.elapsed()),
    })
}

fn round(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}
