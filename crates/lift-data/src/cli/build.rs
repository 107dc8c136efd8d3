//! `lift-data build`: flags over the `[data]` table of a recipe over defaults.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use lift_data::build::{
    BYTES_PER_SHARD, BuildOptions, BuildReport, Dataset, Preprocess, THREAD_NAME, build,
};
use lift_data::dataset::{DatasetSpec, SourceKind, Taxonomy};
use lift_data::decode::Orientation;
use lift_data::progress::Reporting;
use lift_data::source::named::Named;
use lift_data::source::official::ListCheck;
use lift_data::{ClassNames, Encoding, Error, Split};

use super::{CliError, all_cores, grouped, print_json, shards, size};

const EXAMPLES: &str = "\
Examples:
  A folder with train/<class>/*.jpg and test/<class>/*.jpg:
    lift-data build folder --source photos --out shards
  ImageNet-LT, images below /data/imagenet, its lists fetched into lists/:
    lift-data build imagenet-lt --source /data/imagenet --lists lists --download --out shards
  iNaturalist 2018 with the 272 orders as classes:
    lift-data build inat2018 --taxonomy order --source /data/inat2018 --out shards
  CIFAR-100-LT, imbalance ratio 50, from an archive, its folder, or Hugging Face Parquet:
    lift-data build cifar100-lt --imbalance-ratio 50 --source cifar-100-python.tar.gz --out shards
  A dataset that a file of yours describes (see docs/datasets.md):
    lift-data build --dataset-file birds.toml --source /data/birds --out shards
  What a recipe says in its [data] table, with other shards:
    lift-data build --config pipelines/cifar100-lt.toml --out elsewhere

The shards go to OUT/train and OUT/test; each is complete when its manifest.json is there.";

/// `lift-data build`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct BuildArgs {
    #[command(flatten)]
    data: DataTable,
    /// Take what is not given here from the [data] table of this recipe
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the summary as one JSON document on standard output
    #[arg(long)]
    json: bool,
}

/// The settings of a build: flags, and the keys of `[data]` in a recipe.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DataTable {
    /// What the source is
    #[arg(value_enum)]
    dataset: Option<DatasetName>,
    /// A file that describes the dataset, instead of a known one
    #[arg(long, value_name = "FILE")]
    dataset_file: Option<PathBuf>,
    /// Folder (list file, archive) that holds the images
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// Folder that gets train/ and test/
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Which splits to build [default: all]
    #[arg(long, value_enum)]
    split: Option<Splits>,
    /// How images are stored: pixels, JPEG, or the file as it is [default: rgb8]
    #[arg(long, value_enum)]
    encoding: Option<Encoding>,
    /// JPEG quality for --encoding jpeg [default: 95]
    #[arg(long, value_name = "1-100", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: Option<u8>,
    /// Shrink to this short side in pixels, 0 keeps sizes [default: 256]
    #[arg(long, value_name = "PIXELS")]
    short_side: Option<u32>,
    /// Turn images as EXIF says, or not [default: exif; ignore for the paper's datasets]
    #[arg(long, value_enum)]
    orientation: Option<Orientation>,
    /// Threads that decode and resize [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Seed of the long-tailed choice [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// CIFAR: largest class over smallest [default: 100]
    #[arg(long, value_name = "X")]
    imbalance_ratio: Option<f64>,
    /// list: where paths start [default: the list's folder]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Folder with a dataset's official lists [default: the source]
    #[arg(long, value_name = "DIR")]
    lists: Option<PathBuf>,
    /// Fetch official lists that are not there, into --lists (or the source)
    #[arg(long)]
    download: bool,
    /// Fetch them from URL/FILE [default: where the authors have them]
    #[arg(long, value_name = "URL")]
    list_url: Option<String>,
    /// Use lists that are not the official ones
    #[arg(long)]
    any_list: bool,
    /// inat2018: kingdom, phylum, class, order, family, genus [default: species]
    #[arg(long, value_enum, value_name = "LEVEL", hide_possible_values = true)]
    taxonomy: Option<Taxonomy>,
    /// Class names, one a line in label order
    #[arg(long, value_name = "FILE")]
    classnames: Option<PathBuf>,
    /// Leave out up to N bad images a split [default: 0]
    #[arg(long, value_name = "N")]
    max_bad: Option<u64>,
    /// Image bytes in a shard, in MiB [default: 256]
    #[arg(long, value_name = "MIB")]
    shard_mib: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Copy, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum DatasetName {
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
    /// Class folders in train/ and test/ (or val/)
    Folder,
    /// Lists of `path label` lines: a file, or a folder with train.txt and test.txt
    List,
}

#[derive(Debug, Clone, Copy, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Splits {
    /// The training split
    Train,
    /// The test split
    Test,
    /// Both
    All,
}

/// The part of a recipe that this program reads; other tables belong to other programs.
#[derive(Debug, Deserialize)]
struct Recipe {
    data: Option<DataTable>,
}

/// Builds shards and prints the summary.
pub fn run(args: BuildArgs) -> Result<(), CliError> {
    let data = match &args.config {
        Some(path) => args.data.over(read_recipe(path)?),
        None => args.data,
    };
    let options = data.into_options()?;
    silence_worker_panics();
    let report = build(&options, Reporting::Stderr)?;
    print_summary(&report);
    if args.json {
        print_json(&report)
    } else {
        Ok(())
    }
}

fn read_recipe(path: &Path) -> Result<DataTable, Error> {
    let bad = |reason: String| Error::Config {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
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
            DatasetName::Folder | DatasetName::List => None,
        }
    }
}

impl DataTable {
    /// `self` where it says something, `other` elsewhere.
    fn over(self, other: Self) -> Self {
        Self {
            dataset: self.dataset.or(other.dataset),
            dataset_file: self.dataset_file.or(other.dataset_file),
            source: self.source.or(other.source),
            out: self.out.or(other.out),
            split: self.split.or(other.split),
            encoding: self.encoding.or(other.encoding),
            quality: self.quality.or(other.quality),
            short_side: self.short_side.or(other.short_side),
            orientation: self.orientation.or(other.orientation),
            threads: self.threads.or(other.threads),
            seed: self.seed.or(other.seed),
            imbalance_ratio: self.imbalance_ratio.or(other.imbalance_ratio),
            root: self.root.or(other.root),
            lists: self.lists.or(other.lists),
            download: self.download || other.download,
            list_url: self.list_url.or(other.list_url),
            any_list: self.any_list || other.any_list,
            taxonomy: self.taxonomy.or(other.taxonomy),
            classnames: self.classnames.or(other.classnames),
            max_bad: self.max_bad.or(other.max_bad),
            shard_mib: self.shard_mib.or(other.shard_mib),
        }
    }

    /// The dataset that is meant: a known one, one that a file describes, or the user's own images.
    fn dataset(&self) -> Result<Dataset, CliError> {
        let spec = match (self.dataset, &self.dataset_file) {
            (None, None) => {
                let known: Vec<_> = lift_data::dataset::names().collect();
                return Err(CliError::Usage(format!(
                    "the dataset ({}, folder or list) is missing",
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
            list_check: match self.any_list {
                true => ListCheck::Any,
                false => ListCheck::Pinned,
            },
            taxonomy: self.taxonomy,
        })))
    }

    fn into_options(self) -> Result<BuildOptions, CliError> {
        let missing = |what: &str| CliError::Usage(format!("{what} is missing"));
        let dataset = self.dataset()?;
        let spec = match &dataset {
            Dataset::Named(named) => Some(&named.spec),
            Dataset::Folder | Dataset::List => None,
        };
        let only = |flag: &str, of: &str| {
            let name = spec.map_or_else(|| dataset.name(), |spec| spec.name.clone());
            Err(CliError::Usage(format!(
                "{flag} is for {of}, not for {name}"
            )))
        };
        let kind = spec.map(|spec| spec.source);
        if self.imbalance_ratio.is_some()
            && !matches!(kind, Some(SourceKind::Cifar10 | SourceKind::Cifar100))
        {
            return only("--imbalance-ratio", "cifar100-lt and cifar10-lt");
        }
        if self.root.is_some() && dataset != Dataset::List {
            return only("--root", "list");
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
        let quality = self.quality.unwrap_or(95);
        if !(1..=100).contains(&quality) {
            return Err(CliError::Usage(format!(
                "quality {quality} is not between 1 and 100"
            )));
        }
        let class_names = self
            .classnames
            .map(|path| ClassNames::from_file(&path))
            .transpose()?;
        let mib = self.shard_mib.map_or(BYTES_PER_SHARD, |mib| {
            (mib.get() as u64).saturating_mul(1 << 20)
        });
        Ok(BuildOptions {
            dataset,
            source: self.source.ok_or_else(|| missing("--source"))?,
            root: self.root,
            class_names,
            out: self.out.ok_or_else(|| missing("--out"))?,
            splits: match self.split.unwrap_or(Splits::All) {
                Splits::Train => vec![Split::Train],
                Splits::Test => vec![Split::Test],
                Splits::All => vec![Split::Train, Split::Test],
            },
            preprocess: Preprocess {
                encoding: self.encoding.unwrap_or(Encoding::Rgb8),
                jpeg_quality: quality,
                short_side: Some(self.short_side.unwrap_or(256)).filter(|&side| side > 0),
                orientation: self.orientation.unwrap_or(orientation),
            },
            threads: self.threads.unwrap_or_else(all_cores),
            seed: self.seed.unwrap_or(0),
            imbalance_ratio: self.imbalance_ratio.unwrap_or(100.0),
            max_bad: self.max_bad.unwrap_or(0),
            bytes_per_shard: mib,
        })
    }
}

/// A decoder's panic becomes an error that names the file; its own message would only confuse.
fn silence_worker_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() != Some(THREAD_NAME) {
            default(info);
        }
    }));
}

fn print_summary(report: &BuildReport) {
    for split in &report.splits {
        let bad = match split.quarantined {
            0 => String::new(),
            n => format!(", {n} bad left out (see quarantine.jsonl)"),
        };
        eprintln!(
            "{}: {} images of {} classes{bad}, {} in {}, {:.1} s, {} images/s -> {}",
            split.split,
            grouped(split.images),
            split.classes,
            size(split.bytes),
            shards(split.shards as u64),
            split.seconds,
            grouped(split.images_per_second as u64),
            split.dir.display(),
        );
    }
}
