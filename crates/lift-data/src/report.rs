//! What a data set is like: its long tail, its images' quality, and what its splits share.
//!
//! [`report`] reads shards (decoding every image once, in parallel) or lists (reading no image) into a
//! [`Report`], which is the JSON document; [`view::page`] lays it out. Invariant: memory grows with the
//! number of images by about a third of a kilobyte each, never with their pixels; results do not depend on
//! the number of threads; and what a source does not hold is said to be unknown, not guessed.

pub mod condition;
pub mod croissant;
pub mod duplicates;
pub mod facts;
pub mod fit;
pub mod flags;
pub mod measure;
pub mod measures;
pub mod near;
pub mod phash;
pub mod pictures;
pub mod quality;
pub mod tail;
pub mod view;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use polars::prelude::DataFrame;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::source::{Columns, naming};
use crate::stats::{self, ClassRow, Counted, Listed};
use lift_page::progress::Reporting;
use lift_shards::classes::{ClassNames, told_apart};
use lift_shards::layout::{require_shard_dirs, shard_dirs};
use lift_shards::manifest::Encoding;
use lift_shards::shard::ShardReader;
use lift_shards::split::BandEdges;

use duplicates::Leakage;
use measures::Groups;
use pictures::Pictures;
use quality::SplitQuality;
use tail::SplitTail;

/// What to report on.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// A shard folder with its splits, or a list, table or folder that `lift-data stats` reads.
    pub path: PathBuf,
    /// Which columns of a table hold what.
    pub columns: Columns,
    /// Whether every image's values are wanted as a table.
    pub measures: bool,
    /// The column whose values tail and quality are repeated for.
    pub group_by: Option<String>,
    /// Where the bands end; `None`: where the build says.
    pub bands: Option<BandEdges>,
    /// Another shard folder, whose images are searched for in this one.
    pub compare: Option<PathBuf>,
    /// The most bits in which the hashes of near duplicates differ, at most [`near::MAX_DISTANCE`].
    pub distance: u32,
    /// Threads that decode.
    pub threads: NonZeroUsize,
}

/// A report; `--json` writes it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The program's version.
    pub tool_version: String,
    /// The data set's name, where the shards say it.
    pub dataset: Option<String>,
    /// What was read.
    pub path: PathBuf,
    /// How the shards hold images; `None` for lists.
    pub encoding: Option<Encoding>,
    /// The short side that the build shrank larger images to; `None`: sizes were kept, or lists.
    pub short_side: Option<u32>,
    /// Where the bands end.
    pub band_edges: BandEdges,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// The class counts, a split each, the training split first.
    pub splits: Vec<SplitTail>,
    /// The classes in label order.
    pub classes: Vec<ClassRow>,
    /// The images' quality, a split each; empty for lists.
    pub quality: Vec<SplitQuality>,
    /// What is there twice.
    pub leakage: Leakage,
    /// The class counts of `--compare`.
    pub compared: Vec<SplitTail>,
    /// SplitTail and quality of a column's values, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    /// Every image's values, where they were asked for. Not in the JSON: `measures.parquet` has them.
    #[serde(skip)]
    pub measures: Option<DataFrame>,
}

/// Reads and judges what is at `options.path`; the second value has small images.
///
/// # Errors
/// When it cannot be read, is damaged or not complete, or when `compare` is given for lists.
pub fn report(options: &ReportOptions, reporting: Reporting) -> Result<(Report, Pictures)> {
    if shard_dirs(&options.path)?.is_empty() {
        if let Some(path) = &options.compare {
            return Err(Error::Source {
                path: path.clone(),
                reason: "a list has no images to compare".to_owned(),
                hint: "report on shards to use --compare".to_owned(),
            });
        }
        return Ok((of_lists(options)?, Pictures::default()));
    }
    of_shards(options, reporting)
}

fn of_shards(options: &ReportOptions, reporting: Reporting) -> Result<(Report, Pictures)> {
    let readers = open(&options.path)?;
    let others = match &options.compare {
        Some(path) => open(path)?,
        None => Vec::new(),
    };
    let manifest = readers[0].1.manifest();
    let edges = options.bands.unwrap_or(manifest.bands);
    let class_names = manifest.class_names.clone();
    for (dir, reader) in &readers {
        if reader.manifest().class_hash != manifest.class_hash {
            return Err(Error::Source {
                path: dir.clone(),
                reason: "its classes are not those of the other splits".to_owned(),
                hint: "build the splits together, or report on one split's folder".to_owned(),
            });
        }
    }
    let counted = |readers: &[(PathBuf, ShardReader)]| -> Vec<Counted> {
        let one = |(path, reader): &(PathBuf, ShardReader)| Counted {
            split: Some(reader.manifest().split),
            path: path.clone(),
            counts: reader.manifest().class_counts.clone(),
        };
        readers.iter().map(one).collect()
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.get())
        .build()
        .map_err(|err| Error::Setting {
            reason: format!("cannot start {} threads: {err}", options.threads),
            hint: "ask for fewer with --threads".to_owned(),
        })?;
    let mut quality = Vec::new();
    let mut images = Vec::new();
    for (group, (dir, reader)) in readers.iter().chain(&others).enumerate() {
        let (of_split, mut measured) = pool.install(|| quality::of(dir, reader, reporting))?;
        for image in &mut measured {
            image.group = group as u8;
        }
        images.append(&mut measured);
        if group < readers.len() {
            quality.push(of_split);
        }
    }
    let names = group_names(&readers, &others);
    let all: Vec<&ShardReader> = readers.iter().chain(&others).map(|(_, r)| r).collect();
    let search = duplicates::Search {
        images: &images,
        groups: &names,
        readers: &all,
        own_groups: readers.len(),
        distance: options.distance,
    };
    let (leakage, pairs) = pool.install(|| search.run())?;
    let own = &all[..readers.len()];
    let pictures = pictures::of(own, &quality, edges, pairs);
    let of_shards = || measures::of_shards(&readers, &quality);
    let (measures, groups) = options.measures(of_shards, edges)?;
    let counts = counted(&readers);
    let mut notes = Vec::new();
    if manifest.encoding != Encoding::Original {
        notes.push(
            "These shards do not hold the source files: whether a file was CMYK or turned by EXIF, and its size before the \
             build, is not recorded in them. Shards built with --encoding original keep the files."
                .to_owned(),
        );
    }
    let report = Report {
        tool_version: crate::VERSION.to_owned(),
        dataset: Some(manifest.dataset.clone()),
        path: options.path.clone(),
        encoding: Some(manifest.encoding),
        short_side: manifest.short_side,
        band_edges: edges,
        notes,
        classes: stats::class_rows(&class_names, &counts, edges),
        splits: tail::of_all(&counts, edges),
        quality,
        leakage,
        compared: tail::of_all(&counted(&others), edges),
        groups,
        measures,
    };
    Ok((report, pictures))
}

fn open(path: &Path) -> Result<Vec<(PathBuf, ShardReader)>> {
    let open = |dir: PathBuf| ShardReader::open(&dir).map(|reader| (dir, reader));
    let readers: lift_shards::Result<_> = require_shard_dirs(path)?.into_iter().map(open).collect();
    Ok(readers?)
}

/// `train`, `test`, and `other train` for what is compared with.
fn group_names(
    readers: &[(PathBuf, ShardReader)],
    others: &[(PathBuf, ShardReader)],
) -> Vec<String> {
    let own = readers
        .iter()
        .map(|(_, reader)| reader.manifest().split.to_string());
    let other = others
        .iter()
        .map(|(_, reader)| format!("other {}", reader.manifest().split));
    own.chain(other).collect()
}

fn of_lists(options: &ReportOptions) -> Result<Report> {
    let Listed {
        mut source,
        names_splits,
    } = stats::read_source(&options.path, &options.columns)?;
    let edges = options.bands.unwrap_or_default();
    let mut notes = vec![
        "A list names images and classes; images are not opened. Quality, and duplicates by content, need shards: \
         lift-data build, then lift-data report on what it built."
            .to_owned(),
    ];
    let left_out = source.left_out.notes();
    notes.extend(
        left_out
            .iter()
            .map(|note| format!("In the source: {note}.")),
    );
    source.splits.sort_by_key(|list| list.split);
    // Names that are the folders in another order than the labels' would name the wrong classes.
    if let Ok(folders) = naming::folders(&source.splits, source.class_names.len()) {
        let numbered = (0..).zip(source.class_names.as_slice());
        let only_numbers = numbered
            .into_iter()
            .all(|(at, name): (usize, _)| *name == at.to_string());
        if only_numbers {
            source.class_names = ClassNames::new(folders)?;
        } else {
            let aligned = naming::aligned(source.class_names.clone(), &folders)?;
            if aligned.unwrapped.is_some() {
                notes.push(
                    "The WordNet ids in front of the class names say which folder is meant; they are no part of the names."
                        .to_owned(),
                );
            }
            if aligned.moved {
                notes.push(
                    "The class names stand in another order than the list's labels; here they are matched by the \
                     folders in the paths."
                        .to_owned(),
                );
            }
            source.class_names = aligned.class_names;
        }
    }
    let of_lists = || measures::of_lists(&source, names_splits);
    let (measures, groups) = options.measures(of_lists, edges)?;
    let counts: Vec<Counted> = source
        .splits
        .iter()
        .map(|list| Counted {
            split: names_splits.then_some(list.split),
            path: list.root.clone(),
            counts: list.class_counts(source.class_names.len()),
        })
        .collect();
    Ok(Report {
        tool_version: crate::VERSION.to_owned(),
        dataset: None,
        path: options.path.clone(),
        encoding: None,
        short_side: None,
        band_edges: edges,
        notes,
        classes: stats::class_rows(&source.class_names, &counts, edges),
        splits: tail::of_all(&counts, edges),
        quality: Vec::new(),
        leakage: duplicates::by_path(&source.splits, names_splits, &source.class_names),
        compared: Vec::new(),
        groups,
        measures,
    })
}

impl ReportOptions {
    /// What is asked of every image's values, which are put together for that alone.
    fn measures(
        &self,
        frame: impl FnOnce() -> Result<DataFrame>,
        edges: BandEdges,
    ) -> Result<(Option<DataFrame>, Option<Groups>)> {
        if !self.measures && self.group_by.is_none() {
            return Ok((None, None));
        }
        let frame = frame()?;
        let by = self.group_by.as_deref();
        let groups = by.map(|column| measures::groups(&frame, column, edges));
        Ok((Some(frame), groups.transpose()?))
    }
}

impl Report {
    /// The numbers that `--fail-if` can name.
    pub fn values(&self) -> Vec<(&'static str, f64)> {
        let train = &self.splits[0];
        let all: u64 = self.splits.iter().map(|tail| tail.stats.images).sum();
        let mut values = vec![
            ("images", all as f64),
            ("classes", train.stats.classes as f64),
            ("empty_classes", train.stats.empty_classes as f64),
            ("lacking_classes", {
                let lacking = self.splits.iter().map(|tail| tail.stats.empty_classes);
                lacking.sum::<usize>() as f64
            }),
            (
                "imbalance_ratio",
                train.stats.imbalance_ratio.unwrap_or(f64::INFINITY),
            ),
            ("gini", train.stats.gini.unwrap_or(0.0)),
            ("smallest", train.stats.smallest as f64),
            ("leaked", self.leakage.leaked as f64),
            ("duplicates", self.leakage.duplicates as f64),
            ("label_conflicts", self.leakage.label_conflicts as f64),
        ];
        if self.quality.is_empty() {
            return values;
        }
        values.push(("near_duplicates", self.leakage.near_duplicates as f64));
        let corrupt: u64 = self.quality.iter().map(|split| split.corrupt).sum();
        // Those that are stored and cannot be decoded count among the images already.
        let left_out: u64 = self.quality.iter().map(SplitQuality::left_out).sum();
        values.push(("corrupt", corrupt as f64 / (all + left_out).max(1) as f64));
        values.push(("corrupt_images", corrupt as f64));
        for flag in quality::Flag::ALL {
            // What the shards do not tell is no figure: a condition on it would never hold.
            let counts = self.quality.iter().map(|split| split.count(flag));
            let Some(flagged) = counts.sum::<Option<u64>>() else {
                continue;
            };
            values.push((flag.as_str(), flagged as f64 / all.max(1) as f64));
        }
        values
    }
}

/// Class names by label, for tables: two classes of one name are told apart.
pub(crate) fn names(classes: &[ClassRow]) -> HashMap<u32, String> {
    let names: Vec<String> = classes.iter().map(|row| row.name.clone()).collect();
    let labels = classes.iter().map(|row| row.label);
    labels.zip(told_apart(&names)).collect()
}
