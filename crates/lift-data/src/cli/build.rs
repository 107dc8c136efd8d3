//! `lift-data build`: flags over the `[data]` table of a recipe over defaults.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use lift_data::build::{
    BYTES_PER_SHARD, BuildOptions, BuildReport, Dataset, Part, Preprocess, SplitReport,
    THREAD_NAME, build,
};
use lift_data::decode::Orientation;
use lift_data::manifest::Subsampling;
use lift_data::order::Order;
use lift_data::progress::Reporting;
use lift_data::{ClassNames, Encoding, Error, Split};

use super::{CliError, all_cores, grouped, print_json, shards, size};

const EXAMPLES: &str = "\
Examples:
  A folder with train/<class>/*.jpg and test/<class>/*.jpg:
    lift-data build folder --source photos --out shards
  ImageNet-LT from its lists, images below /data/imagenet:
    lift-data build list --source lists --root /data/imagenet --classnames names.txt --out shards
  CIFAR-100-LT, imbalance ratio 50, from Hugging Face Parquet:
    lift-data build cifar100-lt --imbalance-ratio 50 --source cifar100 --out shards
  What a recipe says in its [data] table, with other shards:
    lift-data build --config pipelines/cifar100-lt.toml --out elsewhere
  One of eight processes that build together, then what joins their parts:
    lift-data build list --source lists --root /data/imagenet --out shards --part 3/8
    lift-data commit shards

The shards go to OUT/train and OUT/test; each is complete when its manifest.json is there. A build that
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
struct DataTable {
    /// What the source is
    #[arg(value_enum)]
    dataset: Option<DatasetName>,
    /// Folder (or list file) that holds the images
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// Folder that gets train/ and test/
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Which splits to build [default: all]
    #[arg(long, value_enum)]
    split: Option<Splits>,
    /// How images are stored: pixels, JPEG, PNG, or the file as it is [default: rgb8]
    #[arg(long, value_enum)]
    encoding: Option<Encoding>,
    /// JPEG quality for --encoding jpeg [default: 95]
    #[arg(long, value_name = "1-100", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: Option<u8>,
    /// Colour of --encoding jpeg: 420 (a quarter) or 444 (full) [default: 420]
    #[arg(long, value_enum)]
    subsampling: Option<Subsampling>,
    /// Shrink to this short side in pixels, 0 keeps sizes [default: 256]
    #[arg(long, value_name = "PIXELS")]
    short_side: Option<u32>,
    /// Turn images as EXIF says, or not [default: exif]
    #[arg(long, value_enum)]
    orientation: Option<Orientation>,
    /// Threads that decode and resize [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Seed of the long-tailed choice and the order [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// cifar100-lt: largest class over smallest [default: 100]
    #[arg(long, value_name = "X")]
    imbalance_ratio: Option<f64>,
    /// list: where paths start [default: the list's folder]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Class names, one a line in label order
    #[arg(long, value_name = "FILE")]
    classnames: Option<PathBuf>,
    /// Leave out up to N bad images a split [default: 0]
    #[arg(long, value_name = "N")]
    max_bad: Option<u64>,
    /// About how many MiB of images a shard gets [default: 256]
    #[arg(long, value_name = "MIB")]
    shard_mib: Option<NonZeroUsize>,
    /// Rows as in the list, or shuffled by the seed [default: list]
    #[arg(long, value_enum)]
    order: Option<Order>,
}

#[derive(Debug, Clone, Copy, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum DatasetName {
    /// The drawn shapes: class folders from `lift-data draw shapes-lt`
    ShapesLt,
    /// CIFAR-100 (Hugging Face Parquet) cut to a long tail
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
            root: self.root.or(other.root),
            classnames: self.classnames.or(other.classnames),
            max_bad: self.max_bad.or(other.max_bad),
            shard_mib: self.shard_mib.or(other.shard_mib),
            order: self.order.or(other.order),
        }
    }

    fn into_options(self) -> Result<BuildOptions, CliError> {
        let missing = |what: &str| CliError::Usage(format!("{what} is missing"));
        let dataset = match self
            .dataset
            .ok_or_else(|| missing("the dataset (shapes-lt, cifar100-lt, folder or list)"))?
        {
            DatasetName::ShapesLt => Dataset::ShapesLt,
            DatasetName::Cifar100Lt => Dataset::Cifar100Lt,
            DatasetName::Folder => Dataset::Folder,
            DatasetName::List => Dataset::List,
        };
        let only = |flag: &str, of: &str| {
            Err(CliError::Usage(format!(
                "{flag} is for {of}, not for {}",
                dataset.as_str()
            )))
        };
        if self.imbalance_ratio.is_some() && dataset != Dataset::Cifar100Lt {
            return only("--imbalance-ratio", "cifar100-lt");
        }
        if self.root.is_some() && dataset != Dataset::List {
            return only("--root", "list");
        }
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
                jpeg_subsampling: self.subsampling.unwrap_or_default(),
                short_side: Some(self.short_side.unwrap_or(256)).filter(|&side| side > 0),
                orientation: self.orientation.unwrap_or(Orientation::Exif),
            },
            threads: self.threads.unwrap_or_else(all_cores),
            seed: self.seed.unwrap_or(0),
            imbalance_ratio: self.imbalance_ratio.unwrap_or(100.0),
            max_bad: self.max_bad.unwrap_or(0),
            bytes_per_shard: mib,
            order: self.order.unwrap_or_default(),
            part: None,
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
