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
use crate::progress::Reporting;
use crate::shard::ShardWriter;
use crate::source::named::{Named, Request};
use crate::source::{Source, SplitList, check_counts, cifar, folder, list};
use crate::split::Split;

/// The file that lists bad images, beside the manifest.
pub const QUARANTINE_FILE: &str = "quarantine.jsonl";

/// The default size of a shard's images: 256 MiB.
pub const BYTES_PER_SHARD: u64 = 256 << 20;

/// Which dataset is built, which is also how its source is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Dataset {
    /// A dataset that is known by name, or by a file of the user's.
    Named(Box<Named>),
    /// Any folder of class folders.
    Folder,
    /// Any list of paths and labels.
    List,
}

impl Dataset {
    /// The dataset that is called `name`, with its usual choices.
    pub fn named(name: &str) -> Result<Self> {
        Ok(Self::Named(Box::new(Named::new(DatasetSpec::find(name)?))))
    }

    /// Its name in the manifest.
    pub fn name(&self) -> String {
        match self {
            Dataset::Named(named) => named.name(),
            Dataset::Folder => "folder".to_owned(),
            Dataset::List => "list".to_owned(),
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
    /// The folder that gets `train/` and `test/`.
    pub out: PathBuf,
    /// Which splits, in the order of building.
    pub splits: Vec<Split>,
    /// What is done to every image.
    pub preprocess: Preprocess,
    /// Threads that prepare images; writing has one more.
    pub threads: NonZeroUsize,
    /// Seed of the long-tailed choice.
    pub seed: u32,
    /// Imbalance ratio of the long-tailed choice (CIFAR only).
    pub imbalance_ratio: f64,
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
    let source = read_source(options, reporting)?;
    for list in &source.splits {
        list.check_not_empty(&source.class_names)?;
    }
    let splits = source
        .splits
        .iter()
        .map(|list| build_split(options, &source.class_names, list, reporting))
        .collect::<Result<_>>()?;
    Ok(BuildReport {
        dataset: options.dataset.name(),
        splits,
    })
}

fn read_source(options: &BuildOptions, reporting: Reporting) -> Result<Source> {
    let names = options.class_names.clone();
    match &options.dataset {
        Dataset::Folder => folder::read(&options.source, &options.splits, names),
        Dataset::List => list::read(
            &options.source,
            &options.splits,
            options.root.as_deref(),
            names,
        ),
        Dataset::Named(named) => {
            let request = Request {
                source: &options.source,
                splits: &options.splits,
                class_names: options.class_names.as_ref(),
                long_tail: cifar::LongTail {
                    imbalance_ratio: options.imbalance_ratio,
                    seed: options.seed,
                },
                max_bad: options.max_bad,
            };
            named.read(request, reporting)
        }
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
        dataset: options.dataset.name(),
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

fn check_vacant(dir: &Path) -> Result<()> {
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
struct UnfinishedFolder<'a> {
    dir: &'a Path,
    kept: bool,
}

impl<'a> UnfinishedFolder<'a> {
    fn create(dir: &'a Path) -> Result<Self> {
        check_vacant(dir)?;
        fs::create_dir_all(dir).map_err(Error::write(dir))?;
        Ok(Self { dir, kept: false })
    }

    fn keep(mut self) {
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
