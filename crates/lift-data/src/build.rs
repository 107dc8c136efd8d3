//! Builds shard folders: reads the source, prepares images in parallel, writes shards, then the
//! manifest.
//!
//! What was typed has become [`BuildOptions`] before. Invariant: `OUT/<split>` has a manifest only when
//! all of its shards are whole and on disk, and its bytes do not depend on the number of threads.

mod pipeline;
mod prepare;
mod queue;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

pub use pipeline::{Quarantined, THREAD_NAME};
pub use prepare::Preprocess;

use crate::atomic;
use crate::classes::ClassNames;
use crate::dataset::DatasetSpec;
use crate::decode::Orientation;
use crate::error::{Error, Result};
use crate::manifest::{Encoding, FORMAT_VERSION, Manifest};
use crate::profile::{LongTail, Tail};
use crate::progress::Reporting;
use crate::sampling::{self, Holdout};
use crate::shard::ShardWriter;
use crate::source::{
    Columns, Source, SplitList, check_counts, cifar, folder, hf, list, table, webdataset,
};
use crate::split::{BandEdges, Split};

/// The file that lists bad images, beside the manifest.
pub const QUARANTINE_FILE: &str = "quarantine.jsonl";

/// The default size of a shard's images: 256 MiB.
pub const BYTES_PER_SHARD: u64 = 256 << 20;

/// Which dataset is built, which is also how its source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataset {
    /// The shapes that `lift-data draw` draws: class folders with known class names.
    ShapesLt,
    /// CIFAR-100 from Hugging Face Parquet, cut to a long tail.
    Cifar100Lt,
    /// Any folder of class folders.
    Folder,
    /// Any list of paths and labels: text, CSV or Parquet.
    List,
    /// A Hugging Face dataset in Parquet files.
    Hf,
    /// Tar shards of images and labels.
    WebDataset,
}

impl Dataset {
    /// Its name on the command line and in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Dataset::ShapesLt => "shapes-lt",
            Dataset::Cifar100Lt => "cifar100-lt",
            Dataset::Folder => "folder",
            Dataset::List => "list",
            Dataset::Hf => "hf",
            Dataset::WebDataset => "webdataset",
        }
    }

    /// The splits that the source has; empty where it is one split without a name.
    pub fn splits_in(self, source: &Path) -> Result<Vec<Split>> {
        match self {
            Dataset::ShapesLt | Dataset::Folder => Ok(folder::splits_in(source)),
            Dataset::Cifar100Lt => Ok(vec![Split::Train, Split::Test]),
            Dataset::List if table::is_table(source) => Ok(table::splits_in(source)),
            Dataset::List => Ok(list::splits_in(source)),
            Dataset::Hf if source.is_dir() => hf::splits_in(source),
            Dataset::WebDataset if source.is_dir() => webdataset::splits_in(source),
            Dataset::Hf | Dataset::WebDataset => Ok(Vec::new()),
        }
    }
}

/// All that decides a build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Which dataset.
    pub dataset: Dataset,
    /// Its folder or list file.
    pub source: PathBuf,
    /// Where a list's paths start; `None`: the list's folder.
    pub root: Option<PathBuf>,
    /// Class names instead of those that the source implies.
    pub class_names: Option<ClassNames>,
    /// Which columns of a table hold what.
    pub columns: Columns,
    /// The folder that gets `train/` and `test/`.
    pub out: PathBuf,
    /// Which splits, in the order of building.
    pub splits: Vec<Split>,
    /// What is done to every image.
    pub preprocess: Preprocess,
    /// Threads that prepare images; writing has one more.
    pub threads: NonZeroUsize,
    /// Seed of the hold-outs and of the long-tailed choice.
    pub seed: u32,
    /// How the training split is cut, after the hold-outs.
    pub long_tail: LongTail,
    /// Splits that are taken from the training split.
    pub holdout: Holdout,
    /// Where the bands end.
    pub bands: BandEdges,
    /// Bad images a split may have.
    pub max_bad: u64,
    /// A shard ends before its images pass this size.
    pub bytes_per_shard: u64,
}

/// What a build did; `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct BuildReport {
    /// The dataset's name.
    pub dataset: String,
    /// The splits in the order of building.
    pub splits: Vec<SplitReport>,
}

/// What the build of one split did.
#[derive(Debug, Clone, Serialize)]
pub struct SplitReport {
    /// Which split.
    pub split: Split,
    /// Its shard folder.
    pub dir: PathBuf,
    /// Images written.
    pub images: u64,
    /// Classes that it can have.
    pub classes: usize,
    /// Bad images left out.
    pub quarantined: u64,
    /// Shard files.
    pub shards: usize,
    /// Bytes of all shard files.
    pub bytes: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Images over seconds.
    pub images_per_second: f64,
}

/// Builds the splits one after the other. Progress goes where `reporting` says.
///
/// An output folder that is not empty, a bad source or a bad image beyond `max_bad` is an error; then
/// the split at fault leaves nothing behind.
pub fn build(options: &BuildOptions, reporting: Reporting) -> Result<BuildReport> {
    for &split in &options.splits {
        check_vacant(&options.out.join(split.as_str()))?;
    }
    let source = read_source(options)?;
    for list in &source.splits {
        list.check_not_empty(&source.class_names)?;
    }
    let splits = source
        .splits
        .iter()
        .map(|list| build_split(options, &source.class_names, list, reporting))
        .collect::<Result<_>>()?;
    Ok(BuildReport {
        dataset: options.dataset.as_str().to_owned(),
        splits,
    })
}

/// Reads the source and chooses: hold-outs first, then the long tail of what is left to train on.
///
/// The lists are those of `options.splits`, in their order; no image is opened.
///
/// # Errors
/// When the source is bad, or a split is to be held out that it has already.
pub fn read_source(options: &BuildOptions) -> Result<Source> {
    let made = options.holdout.splits();
    let there = options.dataset.splits_in(&options.source)?;
    if let Some(split) = made.iter().find(|split| there.contains(split)) {
        return Err(Error::Source {
            path: options.source.clone(),
            reason: format!("it has a {split} split already"),
            hint: "hold out another with --holdout val=F or test=F, or none".to_owned(),
        });
    }
    let from_train = |split: &Split| *split == Split::Train || made.contains(split);
    let mut wanted: Vec<Split> = Vec::new();
    for split in &options.splits {
        let split = if from_train(split) {
            Split::Train
        } else {
            *split
        };
        if !wanted.contains(&split) {
            wanted.push(split);
        }
    }
    let mut source = read_splits(options, &wanted)?;
    let num_classes = source.class_names.len();
    let train = source
        .splits
        .iter()
        .position(|list| list.split == Split::Train);
    if let Some(train) = train {
        let mut list = source.splits.remove(train);
        if !options.holdout.is_none() {
            let (rest, made) =
                sampling::hold_out(list, num_classes, &options.holdout, options.seed);
            list = rest;
            source.splits.extend(made);
        }
        // CIFAR's choice was made while reading, by the reference code's generator.
        if options.dataset != Dataset::Cifar100Lt && !options.long_tail.keeps_all() {
            sampling::cut(
                &mut list,
                &source.class_names,
                &options.long_tail,
                options.seed,
            )?;
        }
        source.splits.push(list);
    }
    let place = |list: &SplitList| options.splits.iter().position(|split| *split == list.split);
    source.splits.retain(|list| place(list).is_some());
    source.splits.sort_by_key(place);
    Ok(source)
}

fn read_splits(options: &BuildOptions, splits: &[Split]) -> Result<Source> {
    let names = options.class_names.clone();
    match options.dataset {
        Dataset::Folder => folder::read(&options.source, splits, names),
        Dataset::Hf => hf::read(&options.source, splits, names, &options.columns),
        Dataset::WebDataset => webdataset::read(&options.source, splits, names, &options.columns),
        Dataset::List if table::is_table(&options.source) => table::read(
            &options.source,
            splits,
            options.root.as_deref(),
            names,
            &options.columns,
        ),
        Dataset::List => list::read(&options.source, splits, options.root.as_deref(), names),
        Dataset::ShapesLt => {
            let spec = DatasetSpec::find(options.dataset.as_str())?;
            folder::read(
                &options.source,
                splits,
                Some(names.unwrap_or(spec.class_names)),
            )
        }
        Dataset::Cifar100Lt => {
            let spec = DatasetSpec::find(options.dataset.as_str())?;
            let names = names.unwrap_or_else(|| spec.class_names.clone());
            let source = cifar::read(
                &options.source,
                splits,
                names,
                &options.long_tail,
                options.seed,
            )?;
            // Counts are published for the exponential profile alone.
            let published = LongTail {
                tail: options.long_tail.imbalance_ratio().map(Tail::exp),
                ..LongTail::default()
            };
            for list in &source.splits {
                if list.split != Split::Train || options.long_tail == published {
                    check_expected(&spec, list)?;
                }
            }
            Ok(source)
        }
    }
}

fn check_expected(spec: &DatasetSpec, list: &SplitList) -> Result<()> {
    let found = list.items.len() as u64;
    match spec.expected_images(list.split, list.imbalance_ratio) {
        Some(expected) if expected != found => Err(Error::Source {
            path: list.root.clone(),
            reason: format!(
                "{found} {} images, {} has {expected}",
                list.split, spec.name
            ),
            hint: "the source is not the whole dataset; download it again".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn build_split(
    options: &BuildOptions,
    class_names: &ClassNames,
    list: &SplitList,
    reporting: Reporting,
) -> Result<SplitReport> {
    let start = Instant::now();
    let dir = options.out.join(list.split.as_str());
    let folder = UnfinishedFolder::create(&dir)?;
    let writer = ShardWriter::new(&dir, list.split, options.bytes_per_shard);
    let progress = reporting.start(list.split.as_str(), list.items.len() as u64);
    let outcome = pipeline::run(options, class_names.len(), list, writer, &progress)?;
    progress.finish();
    check_counts(list.split, &list.root, class_names, &outcome.class_counts)?;
    if !outcome.quarantined.is_empty() {
        atomic::write(
            &dir.join(QUARANTINE_FILE),
            &json_lines(&outcome.quarantined),
        )?;
    }
    let manifest = manifest(options, class_names, list, outcome);
    manifest.save(&dir)?;
    folder.keep();
    atomic::sync_dir(&options.out)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(SplitReport {
        split: list.split,
        dir,
        images: manifest.rows,
        classes: manifest.num_classes(),
        quarantined: manifest.quarantined,
        shards: manifest.shards.len(),
        bytes: manifest.bytes(),
        seconds,
        images_per_second: manifest.rows as f64 / seconds.max(1e-9),
    })
}

fn manifest(
    options: &BuildOptions,
    class_names: &ClassNames,
    list: &SplitList,
    outcome: pipeline::Outcome,
) -> Manifest {
    let preprocess = options.preprocess;
    let resized = preprocess.encoding != Encoding::Original && preprocess.short_side.is_some();
    Manifest {
        format_version: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        dataset: options.dataset.as_str().to_owned(),
        split: list.split,
        class_hash: class_names.hash(),
        class_names: class_names.clone(),
        rows: outcome.class_counts.iter().sum(),
        class_counts: outcome.class_counts,
        encoding: preprocess.encoding,
        jpeg_quality: (preprocess.encoding == Encoding::Jpeg).then_some(preprocess.jpeg_quality),
        short_side: preprocess.short_side.filter(|_| resized),
        filter: resized.then(|| "catmull-rom".to_owned()),
        orientation: preprocess.orientation,
        seed: options.seed.into(),
        imbalance_ratio: list.imbalance_ratio,
        bands: options.bands,
        quarantined: outcome.quarantined.len() as u64,
        shards: outcome.shards,
    }
}

fn json_lines(quarantined: &[Quarantined]) -> Vec<u8> {
    let mut text = Vec::new();
    for image in quarantined {
        serde_json::to_writer(&mut text, image).expect("plain data into memory");
        text.push(b'\n');
    }
    text
}

pub(crate) fn check_vacant(dir: &Path) -> Result<()> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::OutputExists {
                path: dir.to_owned(),
            }),
        },
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(err) if err.kind() == std::io::ErrorKind::NotADirectory => Err(Error::OutputExists {
            path: dir.to_owned(),
        }),
        Err(err) => Err(Error::read(dir)(err)),
    }
}

/// A folder that is emptied again unless it is kept.
pub(crate) struct UnfinishedFolder<'a> {
    dir: &'a Path,
    kept: bool,
}

impl<'a> UnfinishedFolder<'a> {
    pub(crate) fn create(dir: &'a Path) -> Result<Self> {
        check_vacant(dir)?;
        fs::create_dir_all(dir).map_err(Error::write(dir))?;
        Ok(Self { dir, kept: false })
    }

    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for UnfinishedFolder<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // The folder was vacant and is ours; the error that led here is the one to report.
            let _ = fs::remove_dir_all(self.dir);
        }
    }
}

/// The preprocessing that is used unless the user says otherwise.
impl Default for Preprocess {
    fn default() -> Self {
        Self {
            encoding: Encoding::Rgb8,
            jpeg_quality: 95,
            short_side: Some(256),
            orientation: Orientation::Exif,
        }
    }
}
