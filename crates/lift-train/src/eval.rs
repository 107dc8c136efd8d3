//! Evaluation: plain centre crop, or test-time ensembling of several crops (the mean of their logits).

use std::time::{Duration, Instant};

use lift_models::VisionConfig;
use lift_page::progress::Reporting;
use lift_shards::{ShardReader, Split};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{
    adjustment::{Adjusted, Adjustment},
    error::Result,
    features::Features,
    level::Groups,
    logits::LogitsWriter,
    metrics::{Classes, Metrics, Prediction},
    passes::{Passes, image_not_finite},
};
use lift_loader::{Draws, View};

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

/// Pixels beyond the resolution that the papers take, whose towers see 224 pixels and more.
const PAPERS_EXPAND: u32 = 24;
const PAPERS_RESOLUTION: i64 = 224;

/// Pixels beyond the resolution where none are given: the papers' 24, and as large a share of fewer pixels than theirs;
/// one more where that is a multiple of the patch size, whose corner crops would repeat the patch grid.
pub fn usual_expand(tower: &VisionConfig) -> u32 {
    let seen = tower.resolution.min(PAPERS_RESOLUTION) as f64;
    let share = seen * f64::from(PAPERS_EXPAND) / PAPERS_RESOLUTION as f64;
    let expand = share.round().max(1.0) as u32;
    match i64::from(expand) % tower.patch_size {
        0 => expand + 1,
        _ => expand,
    }
}

/// How an evaluation looks at images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvalView {
    /// The ensembling.
    pub tte: Tte,
    /// Pixels beyond the resolution, with ensembling; none: as [`usual_expand`] has it.
    pub expand: Option<u32>,
    /// How many random crops.
    pub random_crops: usize,
    /// Of random crops and of the bootstrap.
    pub seed: u64,
}

impl EvalView {
    /// With the usual pixels beyond the resolution for this tower where none were given.
    pub fn at(self, tower: &VisionConfig) -> Self {
        let expand = self.expand.unwrap_or_else(|| usual_expand(tower));
        Self {
            expand: Some(expand),
            ..self
        }
    }

    /// What the loader cuts out.
    pub fn view(self) -> View {
        let expand = self.expand.unwrap_or(PAPERS_EXPAND);
        let seed = self.seed;
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
    /// The adjustment that was in force; none: the logits as the model gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<Adjusted>,
    /// What came out.
    pub metrics: Metrics,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// What an evaluation needs besides the model and the images.
pub struct EvalOptions<'a> {
    /// Training images of each class, for the bands.
    pub train_counts: Option<&'a [u64]>,
    /// How images are looked at.
    pub look: EvalView,
    /// What classes are joined to, where they are.
    pub groups: Option<&'a Groups>,
    /// Where progress goes.
    pub reporting: Reporting,
    /// What is done to the logits before anything is said of them.
    pub adjustment: Option<&'a Adjustment>,
}

/// Judges every row of the shards, which `passes` is of, by `logits`: patches (c, n, 3 p p) as the transfer gives them, or kept features
/// (c, d) where there are some -> (c, K). What was said of each row is returned in the rows' order, and the logits of its classes, before any adjustment, are written to `kept`.
///
/// # Errors
/// When a row cannot be loaded, memory does not suffice, a logit is not finite, or `kept` cannot be written.
pub fn evaluate(
    passes: &Passes,
    reader: &ShardReader,
    options: &EvalOptions,
    device: Device,
    (logits, features): (impl Fn(&Tensor) -> Tensor, Option<&Features>),
    mut kept: Option<&mut LogitsWriter>,
) -> Result<(Evaluation, Vec<Prediction>)> {
    let (look, view) = (options.look, options.look.view());
    let started = Instant::now();
    let manifest = reader.manifest();
    let rows = reader.len();
    let progress = options.reporting.start("evaluate", rows as u64);
    let adjustment = options.adjustment.map(|one| one.on(device));
    let on_device = options.groups.map(|groups| (groups, groups.on(device)));
    let mut pending = Pending::default();
    let take = |logits: Tensor, labels: &Tensor, host_labels: &[i64]| {
        let images = host_labels.len();
        let mean = tch::no_grad(|| {
            let logits = logits.view([images as i64, view.crops() as i64, -1]);
            logits.mean_dim([1i64].as_slice(), false, Kind::Float)
        });
        if let Some(kept) = &mut kept {
            kept.push(host_labels, &mean)?;
        }
        let (said, labels) = tch::no_grad(|| {
            let mean = match &adjustment {
                Some(adjustment) => adjustment.apply(&mean),
                None => mean,
            };
            let finite = mean.isfinite().all_dim(1, true).to_kind(Kind::Float);
            let (said, labels) = match &on_device {
                None => {
                    let shares = mean.softmax(1, Kind::Float);
                    (verdicts(&mean, &shares, labels), host_labels.to_vec())
                }
                Some((groups, on_device)) => {
                    let (scores, shares) = on_device.scores(&mean);
                    let said = verdicts(&scores, &shares, &on_device.labels(labels));
                    (said, groups.labels(host_labels))
                }
            };
            (Tensor::cat(&[said, finite], 1), labels)
        });
        pending.said.push(said);
        pending.labels.extend(labels);
        if pending.said.len() == BATCHES_A_FETCH {
            pending.fetch()?;
        }
        progress.advance(images as u64);
        Ok(())
    };
    let draws = Draws::in_order(rows);
    match features {
        Some(features) => {
            let feed = features.feed(draws, passes.batch_size());
            passes.each_of(feed, rows, logits, take)?;
        }
        None => passes.each(draws, logits, take)?,
    }
    pending.fetch()?;
    progress.finish();
    if let Some(row) = pending.first_not_finite {
        return Err(image_not_finite("logits", reader, row));
    }
    let judged = pending.judged;
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
        expand: look.expand.filter(|_| look.tte != Tte::None),
        level: options.groups.map(|groups| groups.level().to_owned()),
        adjusted: options.adjustment.map(Adjustment::adjusted),
        metrics: Metrics::new(&judged, classes, look.seed),
        seconds: round(started.elapsed()),
    };
    Ok((evaluation, judged))
}

/// Verdicts, some of which lie on the device still: to fetch them is to wait for it.
#[derive(Default)]
struct Pending {
    said: Vec<Tensor>,
    labels: Vec<i64>,
    judged: Vec<Prediction>,
    /// The first row whose logits are not all finite.
    first_not_finite: Option<usize>,
}

impl Pending {
    /// Fetches them, in one transfer.
    fn fetch(&mut self) -> Result<()> {
        if self.said.is_empty() {
            return Ok(());
        }
        let all = Tensor::cat(&self.said, 0).view([-1]);
        let all = Vec::<f32>::try_from(all).map_err(lift_models::Error::from)?;
        for (&label, said) in self.labels.iter().zip(all.chunks_exact(4)) {
            if said[3] == 0.0 && self.first_not_finite.is_none() {
                self.first_not_finite = Some(self.judged.len());
            }
            self.judged.push(Prediction {
                label: label as u32,
                predicted: said[0] as u32,
                rank: said[1] as u32,
                confidence: said[2],
            });
        }
        self.said.clear();
        self.labels.clear();
        Ok(())
    }
}

/// Scores and probabilities (b, K) of images with these labels (b) -> prediction, rank and confidence (b, 3); whole
/// numbers are exact in fp32.
///
/// The rank counts the other classes whose score is at least the label's, and the prediction is the label only where that
/// is none: a tie is no hit, or a model that says the same of all classes would be right of one of them.
fn verdicts(scores: &Tensor, shares: &Tensor, labels: &Tensor) -> Tensor {
    let labels = labels.unsqueeze(1);
    let own = scores.gather(1, &labels, false);
    let others = scores.scatter_value(1, &labels, f64::NEG_INFINITY);
    let rank = others
        .ge_tensor(&own)
        .sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
    let (_, best_other) = others.max_dim(1, true);
    let predicted = labels.where_self(&rank.eq(0.0), &best_other);
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
    fn pixels_beyond_the_resolution_are_the_papers_or_as_large_a_share() {
        let of = |resolution, patch_size| {
            usual_expand(&VisionConfig {
                resolution,
                patch_size,
                width: 64,
                layers: 1,
                heads: 1,
                mlp_width: 64,
                layer_norm_eps: 1e-5,
                activation: lift_models::Activation::QuickGelu,
            })
        };
        // (resolution, patch): the papers' models, the demo's, a multiple of the patch size, the smallest.
        let cases = [
            (224, 16),
            (224, 14),
            (336, 14),
            (224, 32),
            (48, 8),
            (224, 8),
            (16, 16),
        ];
        assert_eq!(cases.map(|(r, p)| of(r, p)), [24, 24, 24, 24, 5, 25, 2]);
    }

    #[test]
    fn verdicts_by_hand() {
        let logits = Tensor::from_slice2(&[
            [0.0f32, 1.0, 2.0],
            [3.0, -1.0, 3.0],
            [0.5, 0.5, 0.5],
            [3.0, -1.0, 3.0],
            [1.0, 7.0, 2.0],
        ]);
        let labels = Tensor::from_slice(&[1i64, 1, 2, 0, 1]);
        let said = verdicts(&logits, &logits.softmax(1, Kind::Float), &labels);
        let finite = Tensor::from_slice(&[1.0f32, 1.0, 0.0, 1.0, 0.0]).view([5, 1]);
        let mut pending = Pending {
            said: vec![Tensor::cat(&[said, finite], 1)],
            labels: vec![1, 1, 2, 0, 1],
            ..Pending::default()
        };
        pending.fetch().unwrap();
        pending.fetch().unwrap();
        let said = pending.judged;
        assert_eq!(pending.first_not_finite, Some(2));
        // A tie counts against the label, wherever it stands.
        let ranks: Vec<_> = said.iter().map(|one| one.rank).collect();
        assert_eq!(ranks, [1, 2, 2, 1, 0]);
        let hits: Vec<_> = said.iter().map(|one| one.label == one.predicted).collect();
        assert_eq!(hits, [false, false, false, false, true]);
        assert_eq!((said[0].label, said[0].predicted), (1, 2));
        assert_eq!(said[3].predicted, 2, "the other one that is as good");
        let e = std::f32::consts::E;
        assert!((said[0].confidence - e * e / (1.0 + e + e * e)).abs() < 1e-6);
        assert!((said[2].confidence - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_model_that_says_the_same_of_all_classes_is_never_right() {
        let images = 7;
        let logits = Tensor::full([images, 9], 0.25, tch::kind::FLOAT_CPU);
        let labels = Tensor::from_slice(&[0i64, 1, 2, 3, 4, 7, 8]);
        let said = verdicts(&logits, &logits.softmax(1, Kind::Float), &labels);
        let mut pending = Pending {
            said: vec![Tensor::cat(
                &[said, Tensor::ones([images, 1], tch::kind::FLOAT_CPU)],
                1,
            )],
            labels: vec![0, 1, 2, 3, 4, 7, 8],
            ..Pending::default()
        };
        pending.fetch().unwrap();
        let classes = Classes {
            count: 9,
            train_counts: Some(&[200; 9]),
            edges: lift_shards::BandEdges::default(),
        };
        let metrics = Metrics::new(&pending.judged, classes, 0);
        let figures = [
            metrics.overall,
            metrics.mean_class,
            metrics.many,
            metrics.top5,
            metrics.macro_f1,
            metrics.worst_class,
            metrics.intervals.overall.map(|[_, high]| high),
        ];
        assert_eq!(figures, [Some(0.0); 7]);
        // Its confidence of 1/9 is all too much.
        assert!((metrics.calibration_error.unwrap() - 1.0 / 9.0).abs() < 1e-6);
    }
}
