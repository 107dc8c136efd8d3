//! Evaluation: plain centre crop, or test-time ensembling of several crops (the mean of their logits).

use std::time::{Duration, Instant};

use lift_data::{Split, progress::Reporting};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    error::{Error, Result},
    level::Groups,
    loader::{Draws, Loader, Transfer, View},
    metrics::{Classes, Judged, Metrics},
};

/// Batches whose verdicts wait on the device before they are fetched together.
const BATCHES_A_FETCH: usize = 32;

/// Test-time ensembling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tte {
    /// One centre crop.
    None,
    /// Four corners and the centre.
    #[default]
    FiveCrop,
    /// The five crops and their mirror images.
    TenCrop,
    /// Crops at random places, the same ones for the same seed.
    RandomCrops,
}

impl Tte {
    /// As in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::FiveCrop => "five-crop",
            Self::TenCrop => "ten-crop",
            Self::RandomCrops => "random-crops",
        }
    }
}

/// How an evaluation looks at images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The ensembling.
    pub tte: Tte,
    /// Pixels beyond the resolution, with ensembling.
    pub expand: u32,
    /// How many random crops.
    pub random_crops: usize,
    /// Of random crops and of the bootstrap.
    pub seed: u64,
}

impl Look {
    /// What the loader cuts out.
    pub fn view(self) -> View {
        let Self { expand, seed, .. } = self;
        match self.tte {
            Tte::None => View::Center,
            Tte::FiveCrop => View::FiveCrop { expand },
            Tte::TenCrop => View::TenCrop { expand },
            Tte::RandomCrops => View::RandomCrops {
                expand,
                crops: self.random_crops,
                seed,
            },
        }
    }
}

/// One evaluation and how it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Which images.
    pub split: Split,
    /// The ensembling.
    pub tte: Tte,
    /// Crops of each image.
    pub crops: usize,
    /// Pixels beyond the resolution, with ensembling.
    pub expand: Option<u32>,
    /// The rank that classes were joined at; none: the classes themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// What came out.
    pub metrics: Metrics,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// What an evaluation needs besides the model and the images.
pub struct EvalOptions<'a> {
    /// The way to the model.
    pub transfer: &'a Transfer,
    /// Training images of each class, for the bands.
    pub train_counts: Option<&'a [u64]>,
    /// How images are looked at.
    pub look: Look,
    /// What classes are joined to, where they are.
    pub groups: Option<&'a Groups>,
}

/// Judges every row of the loader's shards by `logits`: patches (b, n, 3 p p) as [`Transfer`] gives them -> (b, K). What
/// was said of each row is returned in the rows' order.
///
/// # Errors
/// When a row cannot be loaded.
pub fn evaluate(
    loader: &Loader,
    options: &EvalOptions,
    logits: impl Fn(&Tensor) -> Tensor,
) -> Result<(Evaluation, Vec<Judged>)> {
    let (look, view) = (options.look, options.look.view());
    let started = Instant::now();
    let reader = loader.reader();
    let manifest = reader.manifest();
    let progress = Reporting::Stderr.start("evaluate", reader.len() as u64);
    let mut judged = Vec::with_capacity(reader.len());
    let device = options.transfer.target().device;
    let on_device = options.groups.map(|groups| (groups, groups.on(device)));
    let mut pending = Pending::default();
    for input in options
        .transfer
        .feed(loader, Draws::in_order(reader.len()), view)?
    {
        let input = input?;
        let images = input.host_labels.len();
        let (said, labels) = tch::no_grad(|| {
            let crops = [images as i64, view.crops() as i64, -1];
            let logits = logits(&input.pixels).view(crops);
            let mean = logits.mean_dim([1i64].as_slice(), false, Kind::Float);
            match &on_device {
                None => {
                    let shares = mean.softmax(1, Kind::Float);
                    (verdicts(&mean, &shares, &input.labels), input.host_labels)
                }
                Some((groups, on_device)) => {
                    let (scores, shares) = on_device.scores(&mean);
                    let said = verdicts(&scores, &shares, &on_device.labels(&input.labels));
                    (said, groups.labels(&input.host_labels))
                }
            }
        });
        pending.said.push(said);
        pending.labels.extend(labels);
        if pending.said.len() == BATCHES_A_FETCH {
            pending.fetch(&mut judged)?;
        }
        progress.advance(images as u64);
    }
    pending.fetch(&mut judged)?;
    progress.finish();
    // A loader thread that died only closes the queue.
    if judged.len() < reader.len() {
        return Err(Error::LoaderStopped);
    }
    let joined = options
        .groups
        .zip(options.train_counts)
        .map(|(groups, counts)| groups.sums(counts));
    let classes = Classes {
        count: options.groups.map_or(manifest.num_classes(), Groups::count),
        train_counts: joined.as_deref().or(options.train_counts),
        edges: manifest.bands,
    };
    let evaluation = Evaluation {
        split: manifest.split,
        tte: look.tte,
        crops: view.crops(),
        expand: (look.tte != Tte::None).then_some(look.expand),
        level: options.groups.map(|groups| groups.level().to_owned()),
        metrics: Metrics::new(&judged, classes, look.seed),
        seconds: round(started.elapsed()),
    };
    Ok((evaluation, judged))
}

/// Verdicts that lie on the device still: to fetch them is to wait for it.
#[derive(Default)]
struct Pending {
    said: Vec<Tensor>,
    labels: Vec<i64>,
}

impl Pending {
    /// Fetches them, in one transfer.
    fn fetch(&mut self, judged: &mut Vec<Judged>) -> Result<()> {
        if self.said.is_empty() {
            return Ok(());
        }
        let all = Tensor::cat(&self.said, 0).view([-1]);
        let all = Vec::<f32>::try_from(all).map_err(lift_clip::Error::from)?;
        let verdict = |(&label, said): (&i64, &[f32])| Judged {
            label: label as u32,
            predicted: said[0] as u32,
            rank: said[1] as u32,
            confidence: said[2],
        };
        judged.extend(self.labels.iter().zip(all.chunks_exact(3)).map(verdict));
        self.said.clear();
        self.labels.clear();
        Ok(())
    }
}

/// Scores and probabilities (b, K) of images with these labels (b) -> prediction, rank and confidence (b, 3); whole
/// numbers are exact in fp32.
fn verdicts(scores: &Tensor, shares: &Tensor, labels: &Tensor) -> Tensor {
    let (_, predicted) = scores.max_dim(1, true);
    let own = scores.gather(1, &labels.unsqueeze(1), false);
    let rank = scores
        .gt_tensor(&own)
        .sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
    let confidence = shares.gather(1, &predicted, false);
    Tensor::cat(&[predicted.to_kind(Kind::Float), rank, confidence], 1)
}

fn round(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_by_hand() {
        let logits = Tensor::from_slice2(&[[0.0f32, 1.0, 2.0], [3.0, -1.0, 3.0], [0.5, 0.5, 0.5]]);
        let labels = Tensor::from_slice(&[1i64, 1, 2]);
        let mut said = Vec::new();
        let mut pending = Pending {
            said: vec![verdicts(&logits, &logits.softmax(1, Kind::Float), &labels)],
            labels: vec![1, 1, 2],
        };
        pending.fetch(&mut said).unwrap();
        pending.fetch(&mut said).unwrap();
        assert_eq!(said.len(), 3);
        let ranks: Vec<_> = said.iter().map(|one| one.rank).collect();
        assert_eq!(ranks, [1, 2, 0]);
        assert_eq!((said[0].label, said[0].predicted), (1, 2));
        let e = std::f32::consts::E;
        assert!((said[0].confidence - e * e / (1.0 + e + e * e)).abs() < 1e-6);
        assert!((said[2].confidence - 1.0 / 3.0).abs() < 1e-6);
    }
}
