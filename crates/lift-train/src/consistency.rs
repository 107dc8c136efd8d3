//! Class-conditional consistency: whether a class's training and test images lie alike in feature space.
//!
//! LIFT's explanation of why heavy tuning hurts the tail (arXiv 2309.10019, section 3; 2504.13282, section III): it
//! draws a rare class's training images together and leaves its test images where they were, so that p(x | y) is no
//! longer the same in both. Looked at here: the cosine distances of all pairs of images of a class, in training and in
//! test, and how far the two distributions are apart, by the Wasserstein-1 distance. Which distance to take is this
//! program's choice. Features are class tokens in the plain centre crop, at most some images a class, drawn by a seed.
//!
//! Invariant: the same run, cap and seed give the same bytes on a CPU, whatever the loader's threads.

mod distances;

use std::sync::Arc;

use lift_models::{NoHooks, Normalisation, memory::MemorySize};
use lift_page::{
    progress::{Progress, Reporting},
    terminal::aligned,
};
use lift_shards::{
    shard::ShardReader,
    split::{Band, BandEdges},
};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

pub use distances::{Gap, PERMUTATIONS, QUANTILES, gap, pair_distances, wasserstein_1};

use crate::{
    error::{Error, Result},
    footprint::of_passes,
    model::TunedModel,
    passes::{Passes, Passing, require_finite},
    transfer::{Target, Transfer},
};
use lift_loader::{Draw, Draws, View, rows_by_class, sample};

/// The most that features may take in memory.
pub const FEATURE_BYTES: u64 = 8 << 30;

/// What a comparison of training with test images found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// `lift-consistency/1`.
    pub format: String,
    /// Hash of the tuned tensors it was computed from.
    pub tuned: String,
    /// The most images of a class that were taken of each split.
    pub images_per_class: usize,
    /// Of the images' draw and of the splits by chance.
    pub seed: u64,
    /// What [`Gap::distance`] is.
    pub measure: String,
    /// Images whose features were computed: training, test.
    pub images: [u64; 2],
    /// Many, medium and few, where they have classes with two images of each split.
    pub bands: Vec<BandConsistency>,
    /// In label order.
    pub classes: Vec<ClassConsistency>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassConsistency {
    /// Its label.
    pub label: u32,
    /// Its name.
    pub class: String,
    /// Its training images.
    pub train_count: u64,
    /// Images taken: training, test.
    pub images: [u64; 2],
    /// With the frozen tower; none with fewer than two images of a split.
    pub before: Option<Gap>,
    /// With the tuned modules in it; none as `before`.
    pub after: Option<Gap>,
}

/// The classes of one band: means over classes, each of which counts alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandConsistency {
    /// Which band.
    pub band: Band,
    /// Classes with two images of each split.
    pub classes: usize,
    /// With the frozen tower.
    pub before: Gap,
    /// With the tuned modules in it.
    pub after: Gap,
}

/// What is compared.
pub struct Compared<'a> {
    /// Training shards.
    pub train: Arc<ShardReader>,
    /// Test shards with the same classes.
    pub test: Arc<ShardReader>,
    /// The tuned model; its tower without the modules is the frozen one.
    pub model: &'a TunedModel,
    /// Hash of the tuned tensors.
    pub tuned: String,
    /// The model's constants.
    pub normalisation: Normalisation,
    /// How images are passed.
    pub passing: Passing,
    /// The most images of a class that are taken of each split, at least 2.
    pub images_per_class: usize,
    /// Of the images' draw and of the splits by chance.
    pub seed: u64,
}

impl Compared<'_> {
    /// Computes the features of both splits, each image with and without the modules, and compares.
    ///
    /// # Errors
    /// When an image cannot be loaded, a feature is not finite, or the features would not fit [`FEATURE_BYTES`] or the limit
    /// of memory.
    pub fn compare(&self) -> Result<Consistency> {
        let rows = [&self.train, &self.test].map(|reader| self.rows(reader));
        self.check_bytes(rows.iter().map(Vec::len).sum())?;
        let progress = Reporting::Stderr.start("features", (rows[0].len() + rows[1].len()) as u64);
        let transfer = Transfer::open(Target::of(&self.model.visual, self.normalisation))?;
        let train = self.features(&self.train, &rows[0], &transfer, &progress)?;
        let test = self.features(&self.test, &rows[1], &transfer, &progress)?;
        progress.finish();
        let manifest = self.train.manifest();
        let count = manifest.num_classes();
        let [before, after] = [0, 1].map(|state: usize| Splits {
            train: train[state].by_class(count),
            test: test[state].by_class(count),
        });
        let class = |label: usize| {
            let of = |splits: &Splits| {
                let (train, test) = (&splits.train[label], &splits.test[label]);
                gap(train, test, self.seed, label as u64)
            };
            ClassConsistency {
                label: label as u32,
                class: manifest.class_names.as_slice()[label].clone(),
                train_count: manifest.class_counts[label],
                images: [
                    before.train[label].len() as u64,
                    before.test[label].len() as u64,
                ],
                before: of(&before),
                after: of(&after),
            }
        };
        let classes: Vec<ClassConsistency> = (0..count).map(class).collect();
        Ok(Consistency {
            format: FORMAT.into(),
            tuned: self.tuned.clone(),
            images_per_class: self.images_per_class,
            seed: self.seed,
            measure: MEASURE.into(),
            images: [rows[0].len() as u64, rows[1].len() as u64],
            bands: bands(&classes, manifest.bands),
            classes,
        })
    }

    fn rows(&self, reader: &ShardReader) -> Vec<usize> {
        let labels: Vec<u32> = reader.rows().iter().map(|row| row.label).collect();
        sample(&rows_by_class(&labels), self.images_per_class, self.seed)
    }

    fn check_bytes(&self, images: usize) -> Result<()> {
        let width = self.model.visual.config().width as u64;
        let bytes = images as u64 * width * 4 * 2;
        let limit = self
            .passing
            .max_memory
            .map_or(FEATURE_BYTES, |limit| limit.bytes);
        if bytes <= limit.min(FEATURE_BYTES) {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "features of {images} images would take {}, the limit is {}\nhint: a lower --images-per-class",
            MemorySize { bytes },
            MemorySize {
                bytes: limit.min(FEATURE_BYTES)
            }
        )))
    }

    /// The features of these rows: with the frozen tower, and with the modules.
    fn features(
        &self,
        reader: &Arc<ShardReader>,
        rows: &[usize],
        transfer: &Transfer,
        progress: &Progress,
    ) -> Result<[Features; 2]> {
        let (tower, tuner) = (&self.model.visual, &self.model.tuner);
        let width = tower.config().width;
        let others = self.model.parameter_counts().tuned();
        let passes = Passes::open(
            Arc::clone(reader),
            tower,
            transfer,
            (View::Center, "consistency"),
            of_passes(tower, others, 2 * width as u64),
            self.passing,
        )?;
        let mut both = [Features::new(width), Features::new(width)];
        let draws = Draws::listed(rows.iter().copied().map(Draw::first).collect());
        // Side by side, a row an image: without the modules, then with them.
        let forward = |patches: &Tensor| {
            let frozen = tower.features(patches, &NoHooks);
            Tensor::cat(&[frozen, tower.features(patches, tuner)], 1)
        };
        passes.each(draws, forward, |features, _, labels| {
            let done = both[0].labels.len();
            require_finite(&features, "features", reader, |place| rows[done + place])?;
            for (state, features) in both.iter_mut().zip(features.split(width, 1)) {
                state.append(&features, labels)?;
            }
            progress.advance(labels.len() as u64);
            Ok(())
        })?;
        Ok(both)
    }
}

const FORMAT: &str = "lift-consistency/1";

const MEASURE: &str = "Wasserstein-1 distance of the cosine distances of all pairs of a class's training images from those of its test images";

/// The vectors of each class, of training and of test images.
struct Splits<'a> {
    train: Vec<Vec<&'a [f32]>>,
    test: Vec<Vec<&'a [f32]>>,
}

/// Features of length one, one after the other.
struct Features {
    width: usize,
    values: Vec<f32>,
    labels: Vec<u32>,
}

impl Features {
    fn new(width: i64) -> Self {
        Self {
            width: width as usize,
            values: Vec::new(),
            labels: Vec::new(),
        }
    }

    fn append(&mut self, features: &Tensor, labels: &[i64]) -> Result<()> {
        let features =
            lift_models::normalize(&features.to_kind(Kind::Float)).to_device(Device::Cpu);
        let values = Vec::<f32>::try_from(features.contiguous().view([-1]));
        self.values
            .extend(values.map_err(lift_models::Error::from)?);
        self.labels.extend(labels.iter().map(|&label| label as u32));
        Ok(())
    }

    /// The vectors of each of so many classes.
    fn by_class(&self, classes: usize) -> Vec<Vec<&[f32]>> {
        let mut by_class = vec![Vec::new(); classes];
        for (vector, &label) in self.values.chunks_exact(self.width).zip(&self.labels) {
            by_class[label as usize].push(vector);
        }
        by_class
    }
}

/// The means of each band's classes.
fn bands(classes: &[ClassConsistency], edges: BandEdges) -> Vec<BandConsistency> {
    let of_band = |band: Band| {
        let gaps: Vec<(&Gap, &Gap)> = classes
            .iter()
            .filter(|class| edges.band(class.train_count) == band)
            .filter_map(|class| class.before.as_ref().zip(class.after.as_ref()))
            .collect();
        let before = Gap::mean(gaps.iter().map(|pair| pair.0))?;
        let after = Gap::mean(gaps.iter().map(|pair| pair.1))?;
        Some(BandConsistency {
            band,
            classes: gaps.len(),
            before,
            after,
        })
    };
    Band::ALL.into_iter().filter_map(of_band).collect()
}

/// The bands of a consistency, a line a state.
pub fn table(found: &Consistency) -> String {
    let header = ["", "", "classes", "train", "test", "apart", "by chance"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for band in &found.bands {
        let mut line = |name: &str, state: &str, classes: String, gap: &Gap| {
            let figures = [gap.train_mean, gap.test_mean, gap.distance, gap.by_chance];
            let mut row = vec![name.to_owned(), state.to_owned(), classes];
            row.extend(figures.map(|figure| format!("{figure:.3}")));
            rows.push(row);
        };
        line(
            band.band.as_str(),
            "before",
            band.classes.to_string(),
            &band.before,
        );
        line("", "after", String::new(), &band.after);
    }
    aligned(&rows, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap_of(distance: f64) -> Option<Gap> {
        Some(Gap {
            train_mean: 0.25,
            test_mean: 0.25,
            distance,
            by_chance: 0.0,
            train_quantiles: [0.0; 5],
            test_quantiles: [0.0; 5],
        })
    }

    #[test]
    fn bands_are_means_of_the_classes_that_could_be_compared() {
        let class = |label, train_count, distance: Option<f64>| ClassConsistency {
            label,
            class: label.to_string(),
            train_count,
            images: [2, 2],
            before: distance.and_then(gap_of),
            after: distance.and_then(|distance| gap_of(2.0 * distance)),
        };
        let classes = [
            class(0, 101, Some(0.5)),
            class(1, 500, Some(0.25)),
            class(2, 5, Some(0.125)),
            class(3, 1, None),
        ];
        let bands = bands(&classes, BandEdges::default());
        let found: Vec<_> = bands
            .iter()
            .map(|b| (b.band, b.classes, b.before.distance, b.after.distance))
            .collect();
        assert_eq!(
            found,
            [(Band::Many, 2, 0.375, 0.75), (Band::Few, 1, 0.125, 0.25)]
        );
    }
}
