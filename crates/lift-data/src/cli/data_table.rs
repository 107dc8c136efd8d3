//! What says which images a build has and how they are stored, as it is typed: flags, and the `[data]` table of a
//! recipe.
//!
//! What they mean stands in [`super::build_options`], and how a recipe's are joined with flags in [`super::recipe`].

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use lift_data::dataset::Taxonomy;
use lift_data::sampling::Holdout;
use lift_files::limits::Threads;
use lift_image::decode::{Damaged, Orientation};
use lift_image::encode::Subsampling;
use lift_page::{
    schema::{self, Shape},
    terminal::words,
};
use lift_shards::manifest::{Check, MOST_PIXELS};
use lift_shards::order::Order;
use lift_shards::{BandEdges, Encoding};

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
    #[arg(long, value_parser = words(&Encoding::WORDS))]
    pub(super) encoding: Option<Encoding>,
    /// JPEG quality for --encoding jpeg [default: 95]
    #[arg(long, value_name = "1-100", value_parser = clap::value_parser!(u8).range(1..=100), hide_short_help = true)]
    pub(super) quality: Option<u8>,
    /// Colour of --encoding jpeg: 420 (a quarter) or 444 (full) [default: 420]
    #[arg(long, value_parser = words(&Subsampling::WORDS), hide_short_help = true)]
    pub(super) subsampling: Option<Subsampling>,
    /// Shrink to this short side in pixels, 0 keeps sizes [default: 256]
    #[arg(long, value_name = "PIXELS")]
    pub(super) short_side: Option<u32>,
    /// Enlarge smaller images to it as well
    #[arg(long, hide_short_help = true)]
    pub(super) enlarge: bool,
    /// Turn images as EXIF says, or not [default: exif; ignore for the paper's datasets]
    #[arg(long, value_parser = words(&Orientation::WORDS), hide_short_help = true)]
    pub(super) orientation: Option<Orientation>,
    /// Damaged JPEGs are bad images, or are kept and listed in damaged.jsonl [default: refuse]
    #[arg(long, value_parser = words(&Damaged::WORDS), hide_short_help = true)]
    pub(super) damaged: Option<Damaged>,
    /// The most pixels that an image may have [default: 178956970]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_PIXELS), hide_short_help = true)]
    pub(super) max_pixels: Option<u64>,
    /// Decode large JPEGs at their full size before they are shrunk (slower)
    #[arg(long, hide_short_help = true)]
    pub(super) exact: bool,
    /// How images are checked with --encoding original: header, or decode (slower) [default: header]
    #[arg(long, value_parser = words(&Check::WORDS), hide_short_help = true)]
    pub(super) check: Option<Check>,
    /// Threads that decode and resize [default: all cores]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(super) threads: Option<Threads>,
    /// Seed of the hold-outs, the long-tailed choice and the order [default: 0]
    #[arg(long, value_name = "N", hide_short_help = true)]
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
    #[arg(long, value_name = "N,N", hide_short_help = true)]
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
    /// Columns of the table (and of --join) that go into the shards: names, all, or none [default: none; shards: all]
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        hide_short_help = true
    )]
    #[serde(deserialize_with = "names")]
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
    #[arg(long, value_name = "DIR", hide_short_help = true)]
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
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(super) max_bad: Option<u64>,
    /// About how many MiB of images a shard gets [default: 256]
    #[arg(long, value_name = "MIB", hide_short_help = true)]
    pub(super) shard_mib: Option<NonZeroUsize>,
    /// Rows as in the list, or shuffled by the seed [default: list]
    #[arg(long, value_parser = words(&Order::WORDS), hide_short_help = true)]
    pub(super) order: Option<Order>,
}

/// The schema of the `[data]` table.
pub(super) fn schema() -> serde_json::Value {
    let command = DataTable::augment_args(clap::Command::new("data"));
    let shapes = [
        ("source", Shape::OneOrList),
        ("keep_columns", Shape::OneOrList),
        ("threads", Shape::Count),
        ("holdout", Shape::TextOrNumber),
        ("bands", Shape::TextOrNumber),
    ];
    schema::of_table(&command, &shapes)
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
#[serde(try_from = "TextOrNumber")]
#[serde(bound = "T: FromStr<Err = String>")]
pub(super) struct Typed<T>(pub(super) T);

impl<T: FromStr<Err = String>> FromStr for Typed<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// As a recipe has it: `"val=0.1"`, or 0.1.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(f64),
}

impl<T: FromStr<Err = String>> TryFrom<TextOrNumber> for Typed<T> {
    type Error = String;

    fn try_from(typed: TextOrNumber) -> Result<Self, String> {
        match typed {
            TextOrNumber::Text(text) => text.parse(),
            TextOrNumber::Number(number) => number.to_string().parse(),
        }
    }
}

/// A recipe has names as one text with commas, as they are typed, or as a list.
fn names<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Several(Vec<String>),
    }
    Ok(Some(match Names::deserialize(input)? {
        Names::One(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        Names::Several(names) => names,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_what_a_recipe_may_hold() {
        let read = |text: &str| toml::from_str::<DataTable>(text).map(drop);
        let read = |text: &str| read(text).map_err(|error| error.to_string());
        assert_eq!(schema::disagreements(&schema(), read), Vec::<String>::new());
    }
}
