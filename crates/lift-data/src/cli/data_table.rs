//! What says which images a build has and how they are stored: flags, and the `[data]` table of a recipe.
//!
//! What was typed becomes [`BuildOptions`] here, once, for `build` and `split`. Invariant: a setting that
//! has no effect on the dataset at hand is refused, not ignored.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use lift_files::Purpose;
use serde::Deserialize;

use lift_data::Error;
use lift_data::build::{BYTES_PER_SHARD, BuildOptions, Dataset, Preprocess, Repeats};
use lift_data::choice::{Choice, Fold, Join, Keep};
use lift_data::dataset::{DatasetSpec, SourceKind, Taxonomy};
use lift_data::profile::{LongTail, PARETO_POWER, Profile, Tail};
use lift_data::sampling::Holdout;
use lift_data::source::named::Named;
use lift_data::source::official::ListCheck;
use lift_data::source::{Columns, Reach, shards, table};
use lift_files::limits::Threads;
use lift_image::decode::{Damaged, MAX_PIXELS, Orientation};
use lift_image::encode::Subsampling;
use lift_shards::manifest::{Check, MOST_PIXELS};
use lift_shards::order::Order;
use lift_shards::{BandEdges, ClassNames, Encoding, Split};

use super::CliError;
use super::no_effect;

/// The settings of a build: flags, and the keys of `[data]` in a recipe.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DataTable {
    /// What the source is
    #[arg(value_enum)]
    pub(super) dataset: Option<DatasetName>,
    /// A file that describes the dataset, instead of a known one
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) dataset_file: Option<PathBuf>,
    /// Folder (list file, table, archive) that holds the images; several of shards are merged
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "one_or_several")]
    pub(super) source: Vec<PathBuf>,
    /// Folder that gets train/, val/ and test/
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Which splits to build [default: all that there are]
    #[arg(long, value_enum)]
    pub(super) split: Option<Splits>,
    /// How images are stored: pixels, JPEG, PNG, or the file as it is [default: rgb8]
    #[arg(long, value_enum)]
    pub(super) encoding: Option<Encoding>,
    /// JPEG quality for --encoding jpeg [default: 95]
    #[arg(long, value_name = "1-100", value_parser = clap::value_parser!(u8).range(1..=100), hide_short_help = true)]
    pub(super) quality: Option<u8>,
    /// Colour of --encoding jpeg: 420 (a quarter) or 444 (full) [default: 420]
    #[arg(long, value_enum, hide_short_help = true)]
    pub(super) subsampling: Option<Subsampling>,
    /// Shrink to this short side in pixels, 0 keeps sizes [default: 256]
    #[arg(long, value_name = "PIXELS")]
    pub(super) short_side: Option<u32>,
    /// Enlarge smaller images to it as well
    #[arg(long, hide_short_help = true)]
    pub(super) enlarge: bool,
    /// Turn images as EXIF says, or not [default: exif; ignore for the paper's datasets]
    #[arg(long, value_enum, hide_short_help = true)]
    pub(super) orientation: Option<Orientation>,
    /// Damaged JPEGs are bad images, or are kept and listed in damaged.jsonl [default: refuse]
    #[arg(long, value_enum, hide_short_help = true)]
    pub(super) damaged: Option<Damaged>,
    /// The most pixels that an image may have [default: 178956970]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_PIXELS), hide_short_help = true)]
    pub(super) max_pixels: Option<u64>,
    /// Decode large JPEGs at their full size before they are shrunk (slower)
    #[arg(long, hide_short_help = true)]
    pub(super) exact: bool,
    /// How images are checked with --encoding original: header, or decode (slower) [default: header]
    #[arg(long, value_enum, hide_short_help = true)]
    pub(super) check: Option<Check>,
    /// Threads that decode and resize [default: all cores]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<Threads>,
    /// Seed of the hold-outs, the long-tailed choice and the order [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u32>,
    /// Cut training to this largest class over smallest [default: all; CIFAR: 100]
    #[arg(long, value_name = "X")]
    pub(super) imbalance_ratio: Option<f64>,
    /// Shape of the tail [default: exp]
    #[arg(long, value_enum)]
    pub(super) profile: Option<ProfileName>,
    /// Power of --profile pareto [default: 6, as ImageNet-LT]
    #[arg(long, value_name = "X", hide_short_help = true)]
    pub(super) pareto_power: Option<f64>,
    /// Keep at most N training images a class
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(super) max_per_class: Option<u64>,
    /// Let the tail keep N training images a class, where it has them
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(super) min_per_class: Option<u64>,
    /// Take this share of each class from training: 0.1 (test), or val=0.1,test=0.1
    #[arg(long, value_name = "F")]
    pub(super) holdout: Option<Typed<Holdout>>,
    /// Bands: many above the first, few below the second [default: 100,20]
    #[arg(long, value_name = "N,N")]
    pub(super) bands: Option<Typed<BandEdges>>,
    /// Tables: the column with the path [default: path]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) path_column: Option<String>,
    /// Tables, hf, webdataset: the column or JSON field with the label [default: label]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) label_column: Option<String>,
    /// A single table: the column that says which split a row is of [default: split]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) split_column: Option<String>,
    /// Columns of the table (and of --join) that go into the shards: names, or all
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub(super) keep_columns: Option<Vec<String>>,
    /// Take images of which this SQL condition is true: path, label, class, split, columns
    #[arg(long = "where", value_name = "SQL")]
    #[serde(rename = "where")]
    pub(super) condition: Option<String>,
    /// A table that says more of the images, by --on
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) join: Option<PathBuf>,
    /// What --join is joined by, or OURS=THEIRS where it is called otherwise there [default: path]
    #[arg(long, value_name = "COLUMN", hide_short_help = true)]
    pub(super) on: Option<String>,
    /// Leave out the images that a table names: flags.csv or duplicates.parquet of a report
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) exclude: Option<PathBuf>,
    /// At most N images a split, drawn: each class its share, at least one
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(super) limit: Option<NonZeroUsize>,
    /// Keep a column's values on one side of --holdout or --folds: a camera, a patient
    #[arg(long, value_name = "COLUMN", hide_short_help = true)]
    pub(super) group_by: Option<String>,
    /// Part training into N folds, of which --fold is the test split
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(super) folds: Option<u32>,
    /// Which of them, from 0
    #[arg(long, value_name = "I", hide_short_help = true)]
    pub(super) fold: Option<u32>,
    /// hf: the column with the image [default: as declared, or image]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) image_column: Option<String>,
    /// list: where paths start [default: the list's folder]
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// Folder with a dataset's official lists [default: the source]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub(super) lists: Option<PathBuf>,
    /// Fetch official lists that are not there, into --lists (or the source)
    #[arg(long, hide_short_help = true)]
    pub(super) download: bool,
    /// Fetch them from URL/FILE [default: where the authors have them]
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub(super) list_url: Option<String>,
    /// Use lists that are not the official ones
    #[arg(long, hide_short_help = true)]
    pub(super) any_list: bool,
    /// inat2018: kingdom, phylum, class, order, family, genus [default: species]
    #[arg(
        long,
        value_enum,
        value_name = "LEVEL",
        hide_possible_values = true,
        hide_short_help = true
    )]
    pub(super) taxonomy: Option<Taxonomy>,
    /// hf, webdataset: which subset (configuration), where there are several
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) subset: Option<String>,
    /// Take image files that lie outside of the source: behind links, or by a list's paths
    #[arg(long, hide_short_help = true)]
    pub(super) follow_outside: bool,
    /// Lists: take images that are listed more than once
    #[arg(long, hide_short_help = true)]
    pub(super) allow_repeats: bool,
    /// Class names, one a line in label order
    #[arg(long, value_name = "FILE")]
    pub(super) classnames: Option<PathBuf>,
    /// Leave out up to N bad images a split [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) max_bad: Option<u64>,
    /// About how many MiB of images a shard gets [default: 256]
    #[arg(long, value_name = "MIB", hide_short_help = true)]
    pub(super) shard_mib: Option<NonZeroUsize>,
    /// Rows as in the list, or shuffled by the seed [default: list]
    #[arg(long, value_enum, hide_short_help = true)]
    pub(super) order: Option<Order>,
}

/// A recipe names one source, or a list of them.
fn one_or_several<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sources {
        One(PathBuf),
        Several(Vec<PathBuf>),
    }
    Ok(match Sources::deserialize(input)? {
        Sources::One(source) => vec![source],
        Sources::Several(sources) => sources,
    })
}

#[derive(Debug, Clone, Copy, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DatasetName {
    /// ImageNet-2012 cut to a long tail
    ImagenetLt,
    /// Places365-Standard cut to a long tail
    PlacesLt,
    /// iNaturalist 2018
    Inat2018,
    /// CIFAR-10 cut to a long tail
    #[value(name = "cifar10-lt")]
    #[serde(rename = "cifar10-lt")]
    Cifar10Lt,
    /// The drawn shapes: class folders from `lift-data draw shapes-lt`
    ShapesLt,
    /// CIFAR-100 cut to a long tail
    #[value(name = "cifar100-lt")]
    #[serde(rename = "cifar100-lt")]
    Cifar100Lt,
    /// Class folders in train/, val/ and test/
    Folder,
    /// `path label` lines: a file, or a folder with train.txt and so on
    List,
    /// CSV, JSON lines, Parquet or Arrow: a file, or a folder with train.csv and so on
    Table,
    /// Hugging Face dataset: train-*.parquet and so on
    Hf,
    /// Tar shards: train-*.tar and so on
    #[value(name = "webdataset")]
    #[serde(rename = "webdataset")]
    WebDataset,
    /// Shards of this program: cut, split, chosen or encoded anew
    Shards,
}

#[derive(Debug, Clone, Copy, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Splits {
    /// The training split
    Train,
    /// The validation split
    Val,
    /// The test split
    Test,
    /// All that there are
    All,
}

#[derive(Debug, Clone, Copy, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProfileName {
    /// Exponential, as CIFAR-LT
    Exp,
    /// Quantiles of a Pareto distribution, as ImageNet-LT
    Pareto,
    /// Half of the classes at the most, half at the least
    Step,
}

/// A value that flags and recipes both write as text.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
#[serde(bound = "T: FromStr<Err = String>")]
pub(super) struct Typed<T>(T);

impl<T: FromStr<Err = String>> FromStr for Typed<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl<T: FromStr<Err = String>> TryFrom<String> for Typed<T> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The part of a recipe that this program reads; other tables belong to other programs.
#[derive(Debug, Deserialize)]
struct Recipe {
    data: Option<DataTable>,
}

pub(super) fn read_recipe(path: &Path) -> Result<DataTable, Error> {
    let bad = |reason: String| Error::Config {
        path: path.to_owned(),
        reason,
    };
    let text = lift_files::text(path, Purpose::Settings).map_err(lift_shards::Error::read(path))?;
    let recipe: Recipe = toml::from_str(&text).map_err(|err| {
        let line = err
            .span()
            .map(|span| 1 + text[..span.start].matches('\n').count());
        let place = line
            .map(|line| format!("line {line}: "))
            .unwrap_or_default();
        bad(format!("{place}{}", err.message()))
    })?;
    recipe
        .data
        .ok_or_else(|| bad("there is no [data] table".to_owned()))
}

impl DatasetName {
    /// The name of a dataset with a file in `datasets/`; `None` for the user's own folders and lists.
    fn known(self) -> Option<&'static str> {
        match self {
            DatasetName::ImagenetLt => Some("imagenet-lt"),
            DatasetName::PlacesLt => Some("places-lt"),
            DatasetName::Inat2018 => Some("inat2018"),
            DatasetName::Cifar100Lt => Some("cifar100-lt"),
            DatasetName::Cifar10Lt => Some("cifar10-lt"),
            DatasetName::ShapesLt => Some("shapes-lt"),
            DatasetName::Folder
            | DatasetName::List
            | DatasetName::Table
            | DatasetName::Hf
            | DatasetName::WebDataset
            | DatasetName::Shards => None,
        }
    }
}

impl DataTable {
    /// Fails where something is said of files or threads, for what writes nothing and has one thread.
    pub(super) fn refuse_what_writes(&self, command: &str) -> Result<(), CliError> {
        no_effect::refuse_first(
            &[
                ("--out", self.out.is_some()),
                ("--threads", self.threads.is_some()),
                ("--max-bad", self.max_bad.is_some()),
                ("--shard-mib", self.shard_mib.is_some()),
                ("--order", self.order.is_some()),
            ],
            &format!("with {command}"),
        )
    }

    /// For what writes nothing and so needs no place for it.
    pub(super) fn without_output(mut self) -> Self {
        self.out.get_or_insert_default();
        self
    }

    /// `self` where it says something, `other` elsewhere.
    pub(super) fn over(self, mut other: Self) -> Self {
        no_effect::drop_overridden(&self, &mut other);
        Self {
            dataset: self.dataset.or(other.dataset),
            dataset_file: self.dataset_file.or(other.dataset_file),
            source: if self.source.is_empty() {
                other.source
            } else {
                self.source
            },
            out: self.out.or(other.out),
            split: self.split.or(other.split),
            encoding: self.encoding.or(other.encoding),
            quality: self.quality.or(other.quality),
            subsampling: self.subsampling.or(other.subsampling),
            short_side: self.short_side.or(other.short_side),
            enlarge: self.enlarge || other.enlarge,
            orientation: self.orientation.or(other.orientation),
            damaged: self.damaged.or(other.damaged),
            max_pixels: self.max_pixels.or(other.max_pixels),
            exact: self.exact || other.exact,
            check: self.check.or(other.check),
            threads: self.threads.or(other.threads),
            seed: self.seed.or(other.seed),
            imbalance_ratio: self.imbalance_ratio.or(other.imbalance_ratio),
            profile: self.profile.or(other.profile),
            pareto_power: self.pareto_power.or(other.pareto_power),
            max_per_class: self.max_per_class.or(other.max_per_class),
            min_per_class: self.min_per_class.or(other.min_per_class),
            holdout: self.holdout.or(other.holdout),
            bands: self.bands.or(other.bands),
            path_column: self.path_column.or(other.path_column),
            label_column: self.label_column.or(other.label_column),
            split_column: self.split_column.or(other.split_column),
            keep_columns: self.keep_columns.or(other.keep_columns),
            condition: self.condition.or(other.condition),
            join: self.join.or(other.join),
            on: self.on.or(other.on),
            exclude: self.exclude.or(other.exclude),
            limit: self.limit.or(other.limit),
            group_by: self.group_by.or(other.group_by),
            folds: self.folds.or(other.folds),
            fold: self.fold.or(other.fold),
            image_column: self.image_column.or(other.image_column),
            root: self.root.or(other.root),
            lists: self.lists.or(other.lists),
            download: self.download || other.download,
            list_url: self.list_url.or(other.list_url),
            any_list: self.any_list || other.any_list,
            taxonomy: self.taxonomy.or(other.taxonomy),
            subset: self.subset.or(other.subset),
            follow_outside: self.follow_outside || other.follow_outside,
            allow_repeats: self.allow_repeats || other.allow_repeats,
            classnames: self.classnames.or(other.classnames),
            max_bad: self.max_bad.or(other.max_bad),
            shard_mib: self.shard_mib.or(other.shard_mib),
            order: self.order.or(other.order),
        }
    }

    fn long_tail(&self, kind: Option<SourceKind>) -> Result<LongTail, CliError> {
        let ratio = match kind {
            Some(SourceKind::Cifar10 | SourceKind::Cifar100) => {
                Some(self.imbalance_ratio.unwrap_or(100.0))
            }
            _ => self.imbalance_ratio,
        };
        let needs = |flag: &str, other: &str| Err(CliError::Usage(format!("{flag} needs {other}")));
        if self.profile.is_some() && ratio.is_none() {
            return needs("--profile", "--imbalance-ratio");
        }
        if self.min_per_class.is_some() && ratio.is_none() {
            return needs("--min-per-class", "--imbalance-ratio");
        }
        if self.pareto_power.is_some() && !matches!(self.profile, Some(ProfileName::Pareto)) {
            return needs("--pareto-power", "--profile pareto");
        }
        let profile = match self.profile.unwrap_or(ProfileName::Exp) {
            ProfileName::Exp => Profile::Exp,
            ProfileName::Pareto => Profile::Pareto {
                power: self.pareto_power.unwrap_or(PARETO_POWER),
            },
            ProfileName::Step => Profile::Step,
        };
        Ok(LongTail {
            tail: ratio.map(|imbalance_ratio| Tail {
                imbalance_ratio,
                profile,
            }),
            max_per_class: self.max_per_class,
            min_per_class: self.min_per_class,
        })
    }

    /// The dataset that is meant: a known one, one that a file describes, or the user's own images.
    fn dataset(&self) -> Result<Dataset, CliError> {
        let spec = match (self.dataset, &self.dataset_file) {
            (None, None) => {
                let known: Vec<_> = lift_data::dataset::names().collect();
                return Err(CliError::Usage(format!(
                    "the dataset ({}, folder, list, table, hf, webdataset or shards) is missing",
                    known.join(", ")
                )));
            }
            (name, Some(file)) => {
                let spec = DatasetSpec::from_file(file)?;
                match name.map(DatasetName::known) {
                    Some(known) if known != Some(spec.name.as_str()) => {
                        return Err(CliError::Usage(format!(
                            "{} describes {}; leave out the dataset's name, or give that one",
                            file.display(),
                            spec.name
                        )));
                    }
                    _ => spec,
                }
            }
            (Some(DatasetName::Folder), None) => return Ok(Dataset::Folder),
            (Some(DatasetName::List), None) => return Ok(Dataset::List),
            (Some(DatasetName::Table), None) => return Ok(Dataset::Table),
            (Some(DatasetName::Hf), None) => return Ok(Dataset::Hf),
            (Some(DatasetName::WebDataset), None) => return Ok(Dataset::WebDataset),
            (Some(DatasetName::Shards), None) => return Ok(Dataset::Shards),
            (Some(name), None) => DatasetSpec::find(name.known().unwrap_or_default())?,
        };
        let url = self.list_url.clone().or(spec.list_url.clone());
        if self.download && url.is_none() && spec.source == SourceKind::Lists {
            return Err(CliError::Usage(format!(
                "{} has no list_url; say where its lists are with --list-url",
                spec.name
            )));
        }
        if self.list_url.is_some() && !self.download {
            return Err(CliError::Usage(
                "--list-url does nothing without --download".to_owned(),
            ));
        }
        Ok(Dataset::Named(Box::new(Named {
            spec,
            lists: self.lists.clone(),
            download: url.filter(|_| self.download),
            list_check: if self.any_list {
                ListCheck::Any
            } else {
                ListCheck::Pinned
            },
            taxonomy: self.taxonomy,
        })))
    }

    pub(super) fn into_options(self) -> Result<BuildOptions, CliError> {
        let missing = |what: &str| CliError::Usage(format!("{what} is missing"));
        let dataset = self.dataset()?;
        let spec = match &dataset {
            Dataset::Named(named) => Some(&named.spec),
            _ => None,
        };
        let only = |flag: &str, of: &str| {
            let name = spec.map_or_else(|| dataset.name(), |spec| spec.name.clone());
            Err(CliError::Usage(format!(
                "{flag} is for {of}, not for {name}"
            )))
        };
        let kind = spec.map(|spec| spec.source);
        let is_listed = [Dataset::List, Dataset::Table].contains(&dataset);
        if self.root.is_some() && !is_listed {
            return only("--root", "list and table");
        }
        if kind != Some(SourceKind::Lists) {
            for (flag, given) in [
                ("--lists", self.lists.is_some()),
                ("--download", self.download),
                ("--list-url", self.list_url.is_some()),
                ("--any-list", self.any_list),
            ] {
                if given {
                    return only(flag, "datasets with official lists");
                }
            }
        }
        if self.taxonomy.is_some() && spec.is_none_or(|spec| spec.taxonomy.is_empty()) {
            return only("--taxonomy", "inat2018");
        }
        let orientation = spec.map_or(Orientation::Exif, |spec| spec.orientation);
        let bands = spec.map_or(BandEdges::default(), |spec| spec.bands);
        for (flag, given) in [
            ("--path-column", self.path_column.is_some()),
            ("--split-column", self.split_column.is_some()),
        ] {
            if given && !is_listed {
                return only(flag, "table");
            }
        }
        if self.image_column.is_some() && dataset != Dataset::Hf {
            return only("--image-column", "hf");
        }
        let labelled = is_listed || [Dataset::Hf, Dataset::WebDataset].contains(&dataset);
        if self.label_column.is_some() && !labelled {
            return only("--label-column", "table, hf and webdataset");
        }
        let in_containers = [Dataset::Hf, Dataset::WebDataset].contains(&dataset);
        if self.subset.is_some() && !in_containers {
            return only("--subset", "hf and webdataset");
        }
        let is_cifar = matches!(kind, Some(SourceKind::Cifar10 | SourceKind::Cifar100));
        if self.follow_outside && (dataset == Dataset::WebDataset || is_cifar) {
            return only("--follow-outside", "images that are files");
        }
        let may_repeat = is_listed || dataset == Dataset::Shards;
        if self.allow_repeats && !may_repeat && kind != Some(SourceKind::Lists) {
            return only("--allow-repeats", "lists");
        }
        no_effect::refuse(&self)?;
        let long_tail = self.long_tail(kind)?;
        let choice = self.choice()?;
        let holdout = self
            .holdout
            .map_or(Holdout::default(), |Typed(holdout)| holdout);
        let quality = self.quality.unwrap_or(95);
        if !(1..=100).contains(&quality) {
            return Err(CliError::Usage(format!(
                "quality {quality} is not between 1 and 100"
            )));
        }
        // A recipe has no parser that would say it.
        let max_pixels = self.max_pixels.unwrap_or(MAX_PIXELS);
        if !(1..=MOST_PIXELS).contains(&max_pixels) {
            return Err(CliError::Usage(format!(
                "max_pixels {max_pixels} is not between 1 and {MOST_PIXELS}"
            )));
        }
        let class_names = self
            .classnames
            .as_ref()
            .map(|path| ClassNames::from_file(path))
            .transpose()?;
        let mib = self.shard_mib.map_or(BYTES_PER_SHARD, |mib| {
            (mib.get() as u64).saturating_mul(1 << 20)
        });
        let mut sources = self.source.clone().into_iter();
        let source = sources.next().ok_or_else(|| missing("--source"))?;
        let merged: Vec<PathBuf> = sources.collect();
        if !merged.is_empty() && dataset != Dataset::Shards {
            return only("more than one --source", "shards");
        }
        let stored = match dataset {
            Dataset::Shards => Some(self.stored(&source, &merged)?),
            _ => None,
        };
        let (bands, preprocess) = match stored {
            Some((bands, preprocess)) => (bands, preprocess),
            None => (bands, self.preprocess(orientation, quality, max_pixels)),
        };
        if dataset == Dataset::List && !table::is_table(&source)? {
            let columns = [
                ("--path-column", self.path_column.is_some()),
                ("--label-column", self.label_column.is_some()),
                ("--split-column", self.split_column.is_some()),
            ];
            no_effect::refuse_first(&columns, "on a list that is no table")?;
        }
        let splits = match self.split.unwrap_or(Splits::All) {
            Splits::Train => vec![Split::Train],
            Splits::Val => vec![Split::Val],
            Splits::Test => vec![Split::Test],
            Splits::All => Vec::new(),
        };
        let mut options = BuildOptions {
            dataset,
            source,
            merged,
            root: self.root,
            class_names,
            out: self.out.ok_or_else(|| missing("--out"))?,
            splits,
            subset: self.subset,
            reach: if self.follow_outside {
                Reach::Anywhere
            } else {
                Reach::Below
            },
            repeats: if self.allow_repeats {
                Repeats::Allowed
            } else {
                Repeats::Refused
            },
            columns: Columns {
                path: self.path_column,
                image: self.image_column,
                label: self.label_column,
                split: self.split_column,
                others: choice.others(),
            },
            choice,
            preprocess,
            threads: self.threads.unwrap_or_else(Threads::all_cores).number(),
            seed: self.seed.unwrap_or(0),
            long_tail,
            holdout,
            bands: self.bands.map_or(bands, |Typed(bands)| bands),
            max_bad: self.max_bad.unwrap_or(0),
            bytes_per_shard: mib,
            order: self.order.unwrap_or_default(),
            part: None,
        };
        if options.splits.is_empty() {
            options.splits = all_splits(&options)?;
        }
        Ok(options)
    }

    fn preprocess(&self, orientation: Orientation, quality: u8, max_pixels: u64) -> Preprocess {
        Preprocess {
            encoding: self.encoding.unwrap_or(Encoding::Rgb8),
            jpeg_quality: quality,
            jpeg_subsampling: self.subsampling.unwrap_or_default(),
            short_side: Some(self.short_side.unwrap_or(256)).filter(|&side| side > 0),
            enlarge: self.enlarge,
            orientation: self.orientation.unwrap_or(orientation),
            damaged: self.damaged.unwrap_or_default(),
            max_pixels,
            exact: self.exact,
            check: self.check.unwrap_or_default(),
            copy: false,
        }
    }

    /// The bands of shards that are built from, and how their images are stored: as they are, unless something is
    /// said of that.
    fn stored(
        &self,
        source: &Path,
        merged: &[PathBuf],
    ) -> Result<(BandEdges, Preprocess), CliError> {
        let sources: Vec<PathBuf> = [source]
            .into_iter()
            .map(Path::to_owned)
            .chain(merged.iter().cloned())
            .collect();
        let manifests = shards::manifests(&sources)?;
        let first = &manifests[0];
        let stored = Preprocess::of_shards(first);
        let others = manifests.iter().map(Preprocess::of_shards);
        let agree = others.clone().all(|other| other == stored);
        // What was decided when the files were read holds, whatever is made of them now.
        let one_sided = [
            ("--orientation", self.orientation.is_some()),
            ("--damaged", self.damaged.is_some()),
            ("--max-pixels", self.max_pixels.is_some()),
            ("--check", self.check.is_some()),
        ];
        no_effect::refuse_first(
            &one_sided,
            "on shards, whose images were read by the settings in their manifests",
        )?;
        let anew =
            self.encoding.is_some() || self.short_side.is_some() || self.enlarge || self.exact;
        if !anew && !agree {
            return Err(CliError::Usage(
                "the shards to be merged are stored by different settings; say with --encoding (and --short-side) how all of them are to be stored"
                    .to_owned(),
            ));
        }
        if self.encoding == Some(Encoding::Original)
            && manifests.iter().any(|m| !m.encoding.is_file())
        {
            return Err(CliError::Usage(
                "--encoding original keeps files, and the shards hold pixels; choose png, which loses nothing"
                    .to_owned(),
            ));
        }
        let bands = first.bands;
        if !anew {
            return Ok((bands, stored));
        }
        if others
            .clone()
            .any(|other| other.orientation != stored.orientation)
        {
            return Err(CliError::Usage(
                "the shards to be merged were turned by different --orientation".to_owned(),
            ));
        }
        let quality = self.quality.unwrap_or(95);
        Ok((
            bands,
            Preprocess {
                damaged: stored.damaged,
                // What is stored is not made larger than it was unless that is asked for.
                short_side: self.short_side.or(Some(0)).filter(|&side| side > 0),
                ..self.preprocess(stored.orientation, quality, stored.max_pixels)
            },
        ))
    }

    /// Which images are taken, and which columns are kept.
    fn choice(&self) -> Result<Choice, CliError> {
        let needs = |flag: &str, other: &str| Err(CliError::Usage(format!("{flag} needs {other}")));
        let fold = match (self.fold, self.folds) {
            (Some(fold), Some(folds)) => Some(Fold::new(fold, folds).map_err(CliError::Usage)?),
            (None, None) => None,
            (Some(_), None) => return needs("--fold", "--folds"),
            (None, Some(_)) => return needs("--folds", "--fold, which of them is the test split"),
        };
        if fold.is_some() && self.holdout.is_some() {
            let reason = "--holdout and --folds both make a test split; give one of them";
            return Err(CliError::Usage(reason.to_owned()));
        }
        if self.group_by.is_some() && fold.is_none() && self.holdout.is_none() {
            return needs("--group-by", "--holdout or --folds");
        }
        if self.on.is_some() && self.join.is_none() {
            return needs("--on", "--join");
        }
        let on = self.on.as_deref().unwrap_or("path");
        let (ours, theirs) = on.split_once('=').unwrap_or((on, on));
        Ok(Choice {
            condition: self.condition.clone(),
            join: self.join.clone().map(|file| Join {
                file,
                ours: ours.trim().to_owned(),
                theirs: theirs.trim().to_owned(),
            }),
            exclude: self.exclude.clone(),
            limit: self.limit.map(|limit| limit.get() as u64),
            group_by: self.group_by.clone(),
            fold,
            keep: match self.keep_columns.as_deref() {
                None => Keep::Nothing,
                Some([all]) if all == "all" => Keep::All,
                Some(names) => Keep::Named(names.to_vec()),
            },
        })
    }
}

/// The splits that the source has and those that are held out. A source that names none is the training
/// split where something is held out, and otherwise lacks the usual two, which the reader then says.
fn all_splits(options: &BuildOptions) -> Result<Vec<Split>, CliError> {
    let made = options.made_splits();
    let mut splits = options.splits_there()?;
    if splits.is_empty() {
        splits = if made.is_empty() {
            vec![Split::Train, Split::Test]
        } else {
            vec![Split::Train]
        };
    }
    splits.extend(made);
    splits.sort();
    splits.dedup();
    Ok(splits)
}
