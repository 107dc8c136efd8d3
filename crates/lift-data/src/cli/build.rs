//! `lift-data build`: flags over the `[data]` table of a recipe over defaults.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use lift_data::build::{
    BYTES_PER_SHARD, BuildOptions, BuildReport, Dataset, Part, Preprocess, SplitReport,
    THREAD_NAME, build,
};
use lift_data::decode::Orientation;
use lift_data::manifest::Subsampling;
use lift_data::order::Order;
use lift_data::profile::{LongTail, PARETO_POWER, Profile, Tail};
use lift_data::progress::Reporting;
use lift_data::sampling::Holdout;
use lift_data::source::Columns;
use lift_data::{BandEdges, ClassNames, Encoding, Error, Split};

use super::{CliError, all_cores, grouped, print_json, shards, size};

const EXAMPLES: &str = "\
Examples:
  A folder with train/<class>/*.jpg and test/<class>/*.jpg:
    lift-data build folder --source photos --out shards
  ImageNet-LT from its lists, images below /data/imagenet:
    lift-data build list --source lists --root /data/imagenet --classnames names.txt --out shards
  CIFAR-100-LT, imbalance ratio 50, from Hugging Face Parquet:
    lift-data build cifar100-lt --imbalance-ratio 50 --source cifar100 --out shards
  A folder of class folders, long-tailed, a fifth of each class for testing:
    lift-data build folder --source photos --holdout 0.2 --imbalance-ratio 50 --out shards
  A Hugging Face dataset, tar shards (docs/your-data.md has more):
    lift-data build hf --source food101/data --out shards
    lift-data build webdataset --source tars --out shards
  What a recipe says in its [data] table, with other shards:
    lift-data build --config pipelines/cifar100-lt.toml --out elsewhere
  One of eight processes that build together, then what joins their parts:
    lift-data build list --source lists --root /data/imagenet --out shards --part 3/8
    lift-data commit shards

The shards go to OUT/train, OUT/val and OUT/test; each is complete when its manifest.json is there. A build that
was cut off goes on when the same command is run again. --part auto takes the part from Slurm's job
array, or from JOB_COMPLETION_INDEX (Kubernetes) with JOB_COMPLETIONS set to the number of pods.";

/// `lift-data build`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct BuildArgs {
    #[command(flatten)]
    data: DataTable,
    /// Take what is not given here from the [data] table of this recipe
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Build this part of the shards only, such as 3/8, or auto; `lift-data commit` joins parts
    #[arg(long, value_name = "I/N", value_parser = parse_part)]
    part: Option<Part>,
    /// Print the summary as one JSON document on standard output
    #[arg(long)]
    json: bool,
}

/// The settings of a build: flags, and the keys of `[data]` in a recipe.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DataTable {
    /// What the source is
    #[arg(value_enum)]
    pub(super) dataset: Option<DatasetName>,
    /// Folder (or list file) that holds the images
    #[arg(long, value_name = "DIR")]
    pub(super) source: Option<PathBuf>,
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
    #[arg(long, value_name = "1-100", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(super) quality: Option<u8>,
    /// Colour of --encoding jpeg: 420 (a quarter) or 444 (full) [default: 420]
    #[arg(long, value_enum)]
    pub(super) subsampling: Option<Subsampling>,
    /// Shrink to this short side in pixels, 0 keeps sizes [default: 256]
    #[arg(long, value_name = "PIXELS")]
    pub(super) short_side: Option<u32>,
    /// Turn images as EXIF says, or not [default: exif]
    #[arg(long, value_enum)]
    pub(super) orientation: Option<Orientation>,
    /// Threads that decode and resize [default: all cores]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<NonZeroUsize>,
    /// Seed of the hold-outs, the long-tailed choice and the order [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u32>,
    /// Cut training to this largest class over smallest [default: all; cifar100-lt: 100]
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
    /// CSV or Parquet list: the column with the path [default: path]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) path_column: Option<String>,
    /// list, hf, webdataset: the column or JSON field with the label [default: label]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) label_column: Option<String>,
    /// hf: the column with the image [default: as declared, or image]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) image_column: Option<String>,
    /// list: where paths start [default: the list's folder]
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// Class names, one a line in label order
    #[arg(long, value_name = "FILE")]
    pub(super) classnames: Option<PathBuf>,
    /// Leave out up to N bad images a split [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) max_bad: Option<u64>,
    /// About how many MiB of images a shard gets [default: 256]
    #[arg(long, value_name = "MIB")]
    pub(super) shard_mib: Option<NonZeroUsize>,
    /// Rows as in the list, or shuffled by the seed [default: list]
    #[arg(long, value_enum)]
    pub(super) order: Option<Order>,
}

#[derive(Debug, Clone, Copy, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DatasetName {
    /// The drawn shapes: class folders from `lift-data draw shapes-lt`
    ShapesLt,
    /// CIFAR-100 (Hugging Face Parquet) cut to a long tail
    #[value(name = "cifar100-lt")]
    #[serde(rename = "cifar100-lt")]
    Cifar100Lt,
    /// Class folders in train/, val/ and test/
    Folder,
    /// Paths and labels in text, CSV or Parquet: a file, or a folder with train.txt and so on
    List,
    /// Hugging Face dataset: train-*.parquet and so on
    Hf,
    /// Tar shards: train-*.tar and so on
    #[value(name = "webdataset")]
    #[serde(rename = "webdataset")]
    WebDataset,
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

/// Builds shards and prints the summary.
pub fn run(args: BuildArgs) -> Result<(), CliError> {
    let data = match &args.config {
        Some(path) => args.data.over(read_recipe(path)?),
        None => args.data,
    };
    let mut options = data.into_options()?;
    options.part = args.part;
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

impl DataTable {
    /// `self` where it says something, `other` elsewhere.
    fn over(self, other: Self) -> Self {
        Self {
            dataset: self.dataset.or(other.dataset),
            source: self.source.or(other.source),
            out: self.out.or(other.out),
            split: self.split.or(other.split),
            encoding: self.encoding.or(other.encoding),
            quality: self.quality.or(other.quality),
            subsampling: self.subsampling.or(other.subsampling),
            short_side: self.short_side.or(other.short_side),
            orientation: self.orientation.or(other.orientation),
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
            image_column: self.image_column.or(other.image_column),
            root: self.root.or(other.root),
            classnames: self.classnames.or(other.classnames),
            max_bad: self.max_bad.or(other.max_bad),
            shard_mib: self.shard_mib.or(other.shard_mib),
            order: self.order.or(other.order),
        }
    }

    fn long_tail(&self, dataset: Dataset) -> Result<LongTail, CliError> {
        let ratio = match dataset {
            Dataset::Cifar100Lt => Some(self.imbalance_ratio.unwrap_or(100.0)),
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

    pub(super) fn into_options(self) -> Result<BuildOptions, CliError> {
        let missing = |what: &str| CliError::Usage(format!("{what} is missing"));
        let dataset = match self.dataset.ok_or_else(|| {
            missing("the dataset (shapes-lt, cifar100-lt, folder, list, hf or webdataset)")
        })? {
            DatasetName::ShapesLt => Dataset::ShapesLt,
            DatasetName::Cifar100Lt => Dataset::Cifar100Lt,
            DatasetName::Folder => Dataset::Folder,
            DatasetName::List => Dataset::List,
            DatasetName::Hf => Dataset::Hf,
            DatasetName::WebDataset => Dataset::WebDataset,
        };
        let only = |flag: &str, of: &str| {
            Err(CliError::Usage(format!(
                "{flag} is for {of}, not for {}",
                dataset.as_str()
            )))
        };
        if self.root.is_some() && dataset != Dataset::List {
            return only("--root", "list");
        }
        if self.path_column.is_some() && dataset != Dataset::List {
            return only("--path-column", "list");
        }
        if self.image_column.is_some() && dataset != Dataset::Hf {
            return only("--image-column", "hf");
        }
        let labelled = [Dataset::List, Dataset::Hf, Dataset::WebDataset];
        if self.label_column.is_some() && !labelled.contains(&dataset) {
            return only("--label-column", "list, hf and webdataset");
        }
        let long_tail = self.long_tail(dataset)?;
        let holdout = self
            .holdout
            .map_or(Holdout::default(), |Typed(holdout)| holdout);
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
        let source = self.source.ok_or_else(|| missing("--source"))?;
        let splits = match self.split.unwrap_or(Splits::All) {
            Splits::Train => vec![Split::Train],
            Splits::Val => vec![Split::Val],
            Splits::Test => vec![Split::Test],
            Splits::All => all_splits(dataset, &source, &holdout)?,
        };
        Ok(BuildOptions {
            dataset,
            source,
            root: self.root,
            class_names,
            out: self.out.ok_or_else(|| missing("--out"))?,
            splits,
            columns: Columns {
                path: self.path_column,
                image: self.image_column,
                label: self.label_column,
            },
            preprocess: Preprocess {
                encoding: self.encoding.unwrap_or(Encoding::Rgb8),
                jpeg_quality: quality,
                jpeg_subsampling: self.subsampling.unwrap_or_default(),
                short_side: Some(self.short_side.unwrap_or(256)).filter(|&side| side > 0),
                orientation: self.orientation.unwrap_or(Orientation::Exif),
            },
            threads: self.threads.unwrap_or_else(all_cores),
            seed: self.seed.unwrap_or(0),
            long_tail,
            holdout,
            bands: self
                .bands
                .map_or(BandEdges::default(), |Typed(bands)| bands),
            max_bad: self.max_bad.unwrap_or(0),
            bytes_per_shard: mib,
            order: self.order.unwrap_or_default(),
            part: None,
        })
    }
}

/// The splits that the source has and those that are held out. A source that names none is the training
/// split where something is held out, and otherwise lacks the usual two, which the reader then says.
fn all_splits(dataset: Dataset, source: &Path, holdout: &Holdout) -> Result<Vec<Split>, CliError> {
    let mut splits = dataset.splits_in(source)?;
    if splits.is_empty() {
        splits = match holdout.is_none() {
            true => vec![Split::Train, Split::Test],
            false => vec![Split::Train],
        };
    }
    splits.extend(holdout.splits());
    splits.sort();
    splits.dedup();
    Ok(splits)
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

fn parse_part(text: &str) -> Result<Part, String> {
    if text == "auto" {
        return Part::from_environment(|name| std::env::var(name).ok())
            .map_err(|err| err.to_string());
    }
    text.parse()
}

fn print_summary(report: &BuildReport) {
    for split in &report.splits {
        print_split(split);
    }
    if report.splits.iter().any(|split| split.part.is_some()) {
        eprintln!("hint: when all parts are done, join them with `lift-data commit`");
    }
}

/// One line on what a split has become.
pub(super) fn print_split(split: &SplitReport) {
    let part = split
        .part
        .map(|part| format!("part {part}: "))
        .unwrap_or_default();
    let bad = match split.quarantined {
        0 => String::new(),
        n => format!(", {n} bad left out (see quarantine.jsonl)"),
    };
    let kept = match split.kept_shards {
        0 => String::new(),
        n if n == split.shards => " (finished before)".to_owned(),
        n => format!(" ({} finished before)", grouped(n as u64)),
    };
    eprintln!(
        "{}: {part}{} images of {} classes{bad}, {} in {}{kept}, {:.1} s, {} images/s -> {}",
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
