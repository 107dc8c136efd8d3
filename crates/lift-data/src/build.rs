//! Builds shard folders: reads the source, plans the shards, prepares images in parallel, writes shards,
//! then the manifest.
//!
//! What was typed has become [`BuildOptions`] before. Invariant: `OUT/<split>` has a manifest only when
//! all of its shards are whole and on disk, and its bytes depend neither on the number of threads nor on
//! how often the build was cut off and begun again, nor on how many parts it was done in.

mod again;
mod ahead;
mod bare;
mod choose;
mod commit;
mod effort;
mod folder;
mod forecast;
mod left;
mod lock;
mod overlap;
mod part;
mod pipeline;
mod plan;
mod prepare;
mod queue;
mod record;
mod sample;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;

use rayon::prelude::*;

pub use bare::{BareReport, bare};
pub use choose::{Dataset, Repeats, read_source};
pub use commit::commit;
pub use effort::Shares;
pub use forecast::{Forecast, forecast};
pub use part::Part;
pub use pipeline::THREAD_NAME;
pub use prepare::Preprocess;

use folder::{BuildFolder, FolderState};
use left::Left;
use lock::Holder;
use pipeline::Work;
use plan::Plan;
use record::Finished;
use sample::Sample;

use crate::choice::Choice;
use crate::error::Result;
use crate::profile::LongTail;
use crate::sampling::Holdout;
use crate::source::{Columns, LeftOut, Reach, SplitList};
use lift_image::decode::{Budget, Damaged, MAX_PIXELS, Orientation};
use lift_image::encode::Subsampling;
use lift_page::escape;
use lift_page::progress::Reporting;
use lift_shards::atomic;
use lift_shards::classes::ClassNames;
use lift_shards::manifest::{Check, Chosen, Encoding, Manifest};
use lift_shards::order::Order;
use lift_shards::split::{BandEdges, Split};

/// The default size of a shard's images: 256 MiB.
pub const BYTES_PER_SHARD: u64 = 256 << 20;

/// All that decides a build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Which dataset.
    pub dataset: Dataset,
    /// Its folder or list file.
    pub source: PathBuf,
    /// Shard folders that are merged with it.
    pub merged: Vec<PathBuf>,
    /// Where a list's paths start; `None`: the list's folder.
    pub root: Option<PathBuf>,
    /// Class names instead of those that the source implies.
    pub class_names: Option<ClassNames>,
    /// Which subset of a dataset that has several: a configuration, on the hub.
    pub subset: Option<String>,
    /// Where image files may lie.
    pub reach: Reach,
    /// What becomes of images that are listed more than once.
    pub repeats: Repeats,
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
    /// Which images are taken, and which columns are kept.
    pub choice: Choice,
    /// Splits that are taken from the training split.
    pub holdout: Holdout,
    /// Where the bands end.
    pub bands: BandEdges,
    /// Bad images a split may have.
    pub max_bad: u64,
    /// About how many bytes of images a shard gets.
    pub bytes_per_shard: u64,
    /// How rows follow each other.
    pub order: Order,
    /// Only this part of the shards, and no manifest; [`commit`] joins the parts.
    pub part: Option<Part>,
}

/// What a build did; `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct BuildReport {
    /// The dataset's name.
    pub dataset: String,
    /// The splits in the order of building.
    pub splits: Vec<SplitReport>,
    /// What else the source has.
    pub left_out: LeftOut,
    /// The most memory that the process has had, where the system says.
    pub peak_memory_bytes: Option<u64>,
}

/// What the build of one split did.
#[derive(Debug, Clone, Serialize)]
pub struct SplitReport {
    /// Which split.
    pub split: Split,
    /// Its shard folder.
    pub dir: PathBuf,
    /// The part that was built, where it was not all; the numbers are this part's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Images in the shards.
    pub images: u64,
    /// Classes that it can have.
    pub classes: usize,
    /// Bad images left out.
    pub quarantined: u64,
    /// Damaged images in the shards.
    #[serde(skip_serializing_if = "is_zero")]
    pub damaged: u64,
    /// Shard files.
    pub shards: usize,
    /// How many of them an earlier run had finished, where this run was to build them.
    pub kept_shards: usize,
    /// Bytes of all shard files.
    pub bytes: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Images of this run over seconds.
    pub images_per_second: f64,
    /// Where the threads' time went; `None` where nothing was left to do.
    pub shares: Option<Shares>,
}

/// Builds the splits one after the other. Progress goes where `reporting` says.
///
/// A folder that an earlier run with the same options left is gone on with: its finished shards are kept
/// once their bytes agree with their records. A split that is complete and whole stays as it is; of one that is no longer
/// whole, what is missing or damaged is built again.
///
/// An output folder with anything else in it or among the source, a bad source, a bad image beyond `max_bad`, or one that
/// was the last of its class or split, is an error; then the split at fault keeps its finished shards for the next run, or nothing when there are none.
pub fn build(options: &BuildOptions, reporting: Reporting) -> Result<BuildReport> {
    check_output(options)?;
    let chosen = options.choice.chosen()?;
    let source = read_source(options, reporting)?;
    for list in &source.splits {
        list.check_not_empty(&options.source, &source.class_names)?;
    }
    let splits = source
        .splits
        .iter()
        .map(|list| {
            let names = &source.class_names;
            build_split(options, names, list, chosen.as_ref(), reporting)
        })
        .collect::<Result<_>>()?;
    Ok(BuildReport {
        dataset: options.dataset.name(),
        splits,
        left_out: source.left_out,
        peak_memory_bytes: lift_files::process::peak_memory_bytes(),
    })
}

/// Fails where the output lies among the source, or something else lies where a split is to go.
fn check_output(options: &BuildOptions) -> Result<()> {
    overlap::check(options)?;
    let mut splits = options.splits.iter();
    splits.try_for_each(|split| folder::check_usable(&options.out.join(split.as_str())))
}

fn build_split(
    options: &BuildOptions,
    class_names: &ClassNames,
    list: &SplitList,
    chosen: Option<&Chosen>,
    reporting: Reporting,
) -> Result<SplitReport> {
    let start = Instant::now();
    let dir = options.out.join(list.split.as_str());
    let pool = pipeline::thread_pool(options)?;
    let budget = Budget::of_machine(pool.current_num_threads());
    let sample = Sample::take(&pool, options.preprocess, list, &budget);
    let plan = Plan::new(options, class_names, list, &sample, chosen);
    sample.check(plan.manifest(), list)?;
    let holder = options.part.map_or(Holder::Whole, Holder::Part);
    let mut found = BuildFolder::open(&dir, &plan, holder)?;
    if let FolderState::Complete(manifest) = found {
        let of = (options.part, options.max_bad);
        found = pool.install(|| again::open(&dir, &plan, manifest, of, reporting))?;
    }
    let folder = match found {
        FolderState::Complete(manifest) => return Ok(SplitReport::complete(&dir, &manifest)),
        FolderState::Open(folder) => folder,
    };
    let all = 0..plan.num_shards();
    let shards = options
        .part
        .map_or(all, |part| part.shards(plan.num_shards()));
    let found: Vec<_> = pool.install(|| {
        let shards = shards.clone().into_par_iter();
        shards.map(|shard| folder.finished(&plan, shard)).collect()
    });
    let mut records = Vec::new();
    for found in found {
        match found {
            Ok(record) => records.extend(record),
            Err(problem) => {
                reporting.note(&format!("{}/{problem}: built again", escape::path(&dir)));
            }
        }
    }
    let mut left = Left::of(plan.manifest());
    records.retain(|record: &Finished| left.take_all(&record.quarantined));
    for record in &mut records {
        if record.max_bad < options.max_bad {
            record.max_bad = options.max_bad;
            folder.record(record)?;
        }
    }
    let kept: BTreeSet<_> = records.iter().map(|record| record.shard).collect();
    let bad_before = records.iter().map(|record| record.quarantined.len() as u64);
    let work = Work {
        options,
        plan: &plan,
        list,
        folder: &folder,
        bad_before: bad_before.sum(),
        ready: Mutex::new(sample.ready),
        budget,
        shards: shards.filter(|shard| !kept.contains(shard)).collect(),
    };
    let images = work.images();
    let progress = reporting.start(list.split.as_str(), images);
    let mut effort = sample.effort;
    match work.run(&pool, &progress, &mut effort, &mut left) {
        Ok(new) => records.extend(new),
        Err(err) => {
            folder.abandon();
            return Err(err);
        }
    }
    progress.finish();
    records.sort_by_key(|record| record.shard);
    let mut report = SplitReport::of_records(&dir, &plan, &records);
    if options.part.is_none() {
        commit::join(folder, &plan, records, options.max_bad)?.finish()?;
    }
    atomic::sync_dir(&options.out)?;
    report.part = options.part;
    report.shares = effort.shares();
    report.kept_shards = kept.len();
    report.seconds = start.elapsed().as_secs_f64();
    report.images_per_second = images as f64 / report.seconds.max(1e-9);
    Ok(report)
}

impl SplitReport {
    /// Of a split that is complete, and took no time.
    fn complete(dir: &Path, manifest: &Manifest) -> Self {
        Self {
            split: manifest.split,
            dir: dir.to_owned(),
            part: None,
            images: manifest.rows,
            classes: manifest.num_classes(),
            quarantined: manifest.quarantined,
            damaged: manifest.kept_damaged,
            shards: manifest.shards.len(),
            kept_shards: manifest.shards.len(),
            bytes: manifest.bytes(),
            seconds: 0.0,
            images_per_second: 0.0,
            shares: None,
        }
    }

    fn of_records(dir: &Path, plan: &Plan, records: &[Finished]) -> Self {
        let mut manifest = plan.manifest().clone();
        manifest.shards = records
            .iter()
            .filter_map(|record| record.entry.clone())
            .collect();
        manifest.rows = manifest.shards.iter().map(|shard| shard.rows).sum();
        let bad = records.iter().map(|record| record.quarantined.len() as u64);
        manifest.quarantined = bad.sum();
        let damaged = records.iter().map(|record| record.damaged.len() as u64);
        manifest.kept_damaged = damaged.sum();
        Self::complete(dir, &manifest)
    }
}

/// Whether a number need not be written.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The preprocessing that is used unless the user says otherwise.
impl Default for Preprocess {
    fn default() -> Self {
        Self {
            encoding: Encoding::Rgb8,
            jpeg_quality: 95,
            jpeg_subsampling: Subsampling::default(),
            short_side: Some(256),
            enlarge: false,
            orientation: Orientation::Exif,
            damaged: Damaged::Refuse,
            max_pixels: MAX_PIXELS,
            exact: false,
            check: Check::Header,
            copy: false,
        }
    }
}
