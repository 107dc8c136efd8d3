//! What a classifier starts from when no classifier file is given: class means, linear probing, random rows.
//!
//! As the authors do it: features are the frozen tower's class tokens of at most [`IMAGES_A_CLASS`] training images a class, whose
//! short side becomes the resolution. They are computed once and in bounded memory: class means keep sums, linear probing
//! keeps all features up to [`PROBE_BYTES`]. What comes out has rows of length one and is a [`Head`], so that it can be written
//! and used again.

mod lbfgs;
mod probe;

use std::{fmt, path::Path, sync::Arc};

use lift_models::{Head, NoHooks, Normalisation, VisionTower, hub, memory::MemorySize, normalize};
use lift_page::{number::plain, progress::Reporting, terminal};
use lift_shards::classes::labels_begin_at_one;
use lift_shards::{manifest::Manifest, shard::ShardReader};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{
    error::{Error, Result},
    footprint::of_passes,
    passes::{Passes, Passing, require_finite},
    transfer::{Target, Transfer},
    tuner::Init,
};
use lift_loader::{Draw, Draws, View, rows_by_class, sample};

pub use lbfgs::{Minimum, minimise};
pub use probe::{LOGITS_A_PIECE, Probe, Probed};

/// Images of a class that are looked at, unless another number is given (LIFT+); 0 is all of them.
pub const IMAGES_A_CLASS: usize = 100;

/// The most that linear probing keeps of features.
pub const PROBE_BYTES: u64 = 8 << 30;

/// What the classifier starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum HeadInit {
    /// The rows of a classifier file.
    #[default]
    Head,
    /// The mean of each class's features.
    ClassMean,
    /// Logistic regression on the features, classes balanced by weights.
    LinearProbe,
    /// Random directions.
    Random,
}

/// Refuses training shards with a class that has no image, which `who` needs.
///
/// # Errors
/// When there is one; the first is named.
pub fn require_images(shards: &Path, manifest: &Manifest, who: &str) -> Result<()> {
    let counts = &manifest.class_counts;
    let Some(label) = counts.iter().position(|&n| n == 0) else {
        return Ok(());
    };
    let name = &manifest.class_names.as_slice()[label];
    let from_one = if labels_begin_at_one(counts) {
        "; every other class has some, as if labels began at 1: they count from 0, so take 1 off each label and build again"
    } else {
        ""
    };
    Err(Error::Config(format!(
        "{}: class {label} ({name:?}) has no training image\nhint: {who} needs at least one image a class{from_one}",
        shards.display()
    )))
}

impl fmt::Display for HeadInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "head",
            Self::ClassMean => "class-mean",
            Self::LinearProbe => "linear-probe",
            Self::Random => "random",
        })
    }
}

impl HeadInit {
    /// What a plan says of it for a tower of this width and so many images a class; nothing for a classifier file.
    pub fn plan(self, manifest: &Manifest, width: i64, a_class: usize) -> Option<String> {
        let images = looked_at(manifest, a_class);
        match self {
            Self::Head => None,
            Self::ClassMean => Some(format!("class means over {}", plain(images, "image"))),
            Self::LinearProbe => {
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                Some(format!(
                    "linear probing on {}, {:.1} MiB of features (at most {:.0})",
                    plain(images, "image"),
                    mib(feature_bytes(images, width)),
                    mib(PROBE_BYTES)
                ))
            }
            Self::Random => Some("random rows".into()),
        }
    }

    /// Refuses what is known to fail before any feature is computed.
    ///
    /// # Errors
    /// When features would not fit the limit, or a class has no image.
    pub fn check(
        self,
        shards: &Path,
        manifest: &Manifest,
        (width, a_class): (i64, usize),
        limit: Option<MemorySize>,
    ) -> Result<()> {
        if matches!(self, Self::ClassMean | Self::LinearProbe) {
            require_images(shards, manifest, &format!("--init {self}"))?;
        }
        let shards = shards.display();
        let images = looked_at(manifest, a_class);
        let bytes = feature_bytes(images, width);
        if self == Self::LinearProbe && bytes > PROBE_BYTES {
            return Err(Error::Config(format!(
                "{shards}: linear probing would keep {bytes} bytes of features, the limit is {PROBE_BYTES}\nhint: --init-images takes fewer a class, --init class-mean keeps none"
            )));
        }
        let bytes = probe_bytes(manifest, images, width);
        if let (Self::LinearProbe, Some(limit)) = (self, limit)
            && bytes > limit.bytes
        {
            return Err(Error::Config(format!(
                "{shards}: linear probing takes {} for features and its search, --max-memory is {limit}\nhint: --init-images takes fewer a class, --init class-mean keeps no features",
                MemorySize { bytes }
            )));
        }
        Ok(())
    }
}

/// How many training images are looked at, with so many a class at most.
fn looked_at(manifest: &Manifest, a_class: usize) -> u64 {
    let counts = manifest.class_counts.iter();
    counts.map(|&n| n.min(most(a_class) as u64)).sum()
}

/// 0 stands for all.
fn most(a_class: usize) -> usize {
    if a_class == 0 { usize::MAX } else { a_class }
}

fn feature_bytes(images: u64, width: i64) -> u64 {
    images * width as u64 * 4
}

/// What linear probing keeps: the features, and doubles for each weight and bias of the classifier in its search.
fn probe_bytes(manifest: &Manifest, images: u64, width: i64) -> u64 {
    let weights = manifest.num_classes() as u64 * (width as u64 + 1);
    feature_bytes(images, width) + weights * 8 * lbfgs::TENSORS
}

/// What rows are computed from.
pub struct Source<'a> {
    /// Training shards.
    pub train: Arc<ShardReader>,
    /// Where the model was read from.
    pub model: &'a Path,
    /// The frozen tower.
    pub tower: &'a VisionTower,
    /// The model's constants.
    pub normalisation: Normalisation,
    /// How images are passed.
    pub passing: Passing,
    /// Images of a class that are looked at, at most; 0: all.
    pub images_a_class: usize,
    /// Of random rows, and of the images that are looked at.
    pub seed: u64,
}

/// A classifier file's content with these rows for the classes of a manifest; it says nothing yet of how it was made.
pub(crate) fn head_of(manifest: &Manifest, rows: Tensor) -> Head {
    Head {
        weight: rows.to_kind(Kind::Float).to_device(Device::Cpu),
        text_embeds: None,
        class_names: manifest.class_names.as_slice().to_vec(),
        class_hash: manifest.class_hash.clone(),
        template: String::new(),
        model: String::new(),
        logit_scale: 100.0,
    }
}

impl Source<'_> {
    /// The classifier that `init` makes.
    ///
    /// # Errors
    /// When it is [`HeadInit::Head`], an image cannot be loaded, memory does not suffice, or a feature is not finite.
    pub fn head(&self, init: HeadInit) -> Result<Head> {
        let seed = self.seed;
        let of = match self.images_a_class {
            0 => "all training images".to_owned(),
            most => format!(
                "at most {} a class, seed {seed}",
                plain(most as u64, "training image")
            ),
        };
        let (weight, template) = match init {
            HeadInit::Head => {
                let reason = "a classifier file is made by `lift-text classifier`";
                return Err(Error::Usage(format!("--init head makes nothing: {reason}")));
            }
            HeadInit::ClassMean => (self.class_means()?, format!("class means of {of}")),
            HeadInit::LinearProbe => (self.probed()?, format!("linear probing on {of}")),
            HeadInit::Random => {
                let classes = self.train.manifest().num_classes() as i64;
                let shape = [classes, self.tower.config().width];
                let rows = normalize(&Init::new(seed).normal_values(&shape));
                (rows, format!("random rows, seed {seed}"))
            }
        };
        Ok(Head {
            template,
            model: hub::short_name(self.model),
            ..head_of(self.train.manifest(), weight)
        })
    }

    /// The mean of each class's features (K, d), of length one; the features have their own.
    fn class_means(&self) -> Result<Tensor> {
        let classes = self.train.manifest().num_classes() as i64;
        let mut sums = ClassSums::new(classes, self.tower.config().width);
        self.each_batch(self.rows(), |features, labels| {
            sums.add(features, labels);
        })?;
        Ok(sums.means())
    }

    /// The rows (K, d) of a logistic regression, of length one.
    fn probed(&self) -> Result<Tensor> {
        let rows = self.rows();
        let width = self.tower.config().width;
        let classes = self.train.manifest().num_classes() as i64;
        let device = self.tower.device();
        let features = Tensor::zeros([rows.len() as i64, width], (Kind::Float, Device::Cpu));
        let mut all_labels: Vec<i64> = Vec::with_capacity(rows.len());
        self.each_batch(rows, |batch, labels| {
            let begin = all_labels.len() as i64;
            let mut place = features.narrow(0, begin, labels.len() as i64);
            place.copy_(batch);
            all_labels.extend(labels);
        })?;
        let labels = Tensor::from_slice(&all_labels).to_device(device);
        let probe = Probe {
            logits_a_piece: self.logits_a_piece(),
            ..Probe::default()
        };
        let probed = probe.fit(&features.to_device(device), &labels, classes);
        let Minimum {
            steps, gradient, ..
        } = probed.minimum;
        terminal::say(format_args!(
            "linear probing: {} of L-BFGS, largest gradient {gradient:.1e}",
            plain(steps as u64, "step")
        ));
        Ok(normalize(&probed.weight))
    }

    /// The images that are looked at.
    fn rows(&self) -> Vec<usize> {
        let labels: Vec<u32> = self.train.rows().iter().map(|row| row.label).collect();
        sample(
            &rows_by_class(&labels),
            most(self.images_a_class),
            self.seed,
        )
    }

    /// As many logits of linear probing at once as the limit leaves room for.
    fn logits_a_piece(&self) -> i64 {
        let Some(limit) = self.passing.max_memory else {
            return LOGITS_A_PIECE;
        };
        let manifest = self.train.manifest();
        let images = looked_at(manifest, self.images_a_class);
        let kept = probe_bytes(manifest, images, self.tower.config().width);
        let fixed = of_passes(self.tower, 0, 0).fixed;
        // Logits, their softmax and the gradient, each of four bytes and for a moment twice.
        let logits = limit.bytes.saturating_sub(kept + fixed) / (4 * 5);
        (logits as i64).clamp(1, LOGITS_A_PIECE)
    }

    /// Gives `take` the features (b, d) on the CPU, fp32, and the labels of these rows, batch after batch.
    fn each_batch(&self, rows: Vec<usize>, mut take: impl FnMut(&Tensor, &[i64])) -> Result<()> {
        let width = self.tower.config().width as u64;
        let transfer = Transfer::open(Target::of(self.tower, self.normalisation))?;
        let passes = Passes::open(
            Arc::clone(&self.train),
            self.tower,
            &transfer,
            (View::Fitted, "the classifier's start"),
            of_passes(self.tower, 0, width),
            self.passing,
        )?;
        let progress = Reporting::Stderr.start("features", rows.len() as u64);
        let mut done = 0;
        let draws = Draws::listed(rows.iter().copied().map(Draw::first).collect());
        let forward = |patches: &Tensor| self.tower.features(patches, &NoHooks);
        passes.each(draws, forward, |features, _, labels| {
            let features = features.to_device(Device::Cpu);
            require_finite(&features, "features", &self.train, |place| {
                rows[done + place]
            })?;
            take(&features, labels);
            done += labels.len();
            progress.advance(labels.len() as u64);
            Ok(())
        })?;
        progress.finish();
        Ok(())
    }
}

/// Sums of features by class, on the CPU, one image after the other: the same bits on every run.
struct ClassSums(Tensor);

impl ClassSums {
    fn new(classes: i64, width: i64) -> Self {
        Self(Tensor::zeros([classes, width], (Kind::Double, Device::Cpu)))
    }

    /// Of features (b, d) with these labels.
    fn add(&mut self, features: &Tensor, labels: &[i64]) {
        let labels = Tensor::from_slice(labels);
        let _ = self
            .0
            .index_add_(0, &labels, &features.to_kind(Kind::Double));
    }

    /// (K, d), of length one, which a sum's direction decides as its mean's does.
    fn means(&self) -> Tensor {
        normalize(&self.0)
    }
}

#[cfg(test)]
mod tests;
