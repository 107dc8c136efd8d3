//! `lift-data split`: the lists of a source's splits, without building.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use lift_data::lists::{without_images, write_lists};
use lift_data::sampling::Holdout;
use lift_page::progress::Reporting;
use lift_page::terminal;
use lift_shards::BandEdges;

use super::data_table::{DataTable, DatasetName, ProfileName, Typed};
use super::stats::table;
use super::{CliError, print, print_json};

/// `lift-data split`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Writes OUT/train.txt, val.txt, test.txt (those that there are) and classnames.txt, one `path label` a \
line, which `lift-data build list` reads. The images must be files: see docs/your-data.md.

Example:
  lift-data split folder --source photos --holdout val=0.1,test=0.1 --out lists
  lift-data build list --source lists --root photos --out shards")]
pub struct SplitArgs {
    /// What the source is
    #[arg(value_enum)]
    dataset: DatasetName,
    /// Folder (or list file) that holds the images
    #[arg(long, value_name = "DIR")]
    source: PathBuf,
    /// Folder that gets the lists
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Take this share of each class from training: 0.1 (test), or val=0.1,test=0.1
    #[arg(long, value_name = "F")]
    holdout: Option<Typed<Holdout>>,
    /// Cut training to this largest class over smallest [default: all; CIFAR: 100]
    #[arg(long, value_name = "X")]
    imbalance_ratio: Option<f64>,
    /// Shape of the tail [default: exp]
    #[arg(long, value_enum)]
    profile: Option<ProfileName>,
    /// Power of --profile pareto [default: 6, as ImageNet-LT]
    #[arg(long, value_name = "X", hide_short_help = true)]
    pareto_power: Option<f64>,
    /// Keep at most N training images a class
    #[arg(long, value_name = "N")]
    max_per_class: Option<u64>,
    /// Let the tail keep N training images a class, where it has them
    #[arg(long, value_name = "N", hide_short_help = true)]
    min_per_class: Option<u64>,
    /// Seed of the choice [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Bands: many above the first, few below the second [default: 100,20]
    #[arg(long, value_name = "N,N")]
    bands: Option<Typed<BandEdges>>,
    /// list: where paths start [default: the list's folder]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    root: Option<PathBuf>,
    /// Class names, one a line in label order
    #[arg(long, value_name = "FILE")]
    classnames: Option<PathBuf>,
    /// Take image files that lie outside of the source: behind links, or by a list's paths
    #[arg(long, hide_short_help = true)]
    follow_outside: bool,
    /// Lists: take images that are listed more than once
    #[arg(long, hide_short_help = true)]
    allow_repeats: bool,
    /// Tables: the column with the path [default: path]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    path_column: Option<String>,
    /// Tables: the column with the label [default: label]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    label_column: Option<String>,
    /// A single table: the column that says which split a row is of [default: split]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    split_column: Option<String>,
    /// Take images of which this SQL condition is true: path, label, class, split, columns
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// A table that says more of the images, by --on
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    join: Option<PathBuf>,
    /// What --join is joined by, or OURS=THEIRS [default: path]
    #[arg(long, value_name = "COLUMN", hide_short_help = true)]
    on: Option<String>,
    /// Leave out the images that a table names: flags.csv or duplicates.parquet of a report
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    exclude: Option<PathBuf>,
    /// At most N images a split, drawn: each class its share, at least one
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Keep a column's values on one side of --holdout or --folds
    #[arg(long, value_name = "COLUMN", hide_short_help = true)]
    group_by: Option<String>,
    /// Part training into N folds, of which --fold is the test split
    #[arg(long, value_name = "N", hide_short_help = true)]
    folds: Option<u32>,
    /// Which of them, from 0
    #[arg(long, value_name = "I", hide_short_help = true)]
    fold: Option<u32>,
    /// Print the summary as one JSON document on standard output
    #[arg(long)]
    json: bool,
}

/// Writes the lists and describes them.
pub fn run(args: SplitArgs) -> Result<(), CliError> {
    let json = args.json;
    let report = write_lists(&args.into_table().into_options()?, Reporting::Stderr)?;
    for (split, classes) in without_images(&report.splits) {
        terminal::say(format_args!(
            "{split}: classes without an image: {classes}; their accuracy cannot be measured on it"
        ));
    }
    terminal::say(format_args!(
        "written to {}; build with: lift-data build list --source {} --root {} --out SHARDS",
        report.dir.display(),
        report.dir.display(),
        if report.root.as_os_str().is_empty() {
            ".".into()
        } else {
            report.root.display().to_string()
        },
    ));
    if json {
        return print_json(&report);
    }
    print(&table(&report.splits, report.band_edges))
}

impl SplitArgs {
    /// The same settings as `build` has them; how images are stored does not matter here.
    fn into_table(self) -> DataTable {
        DataTable {
            dataset: Some(self.dataset),
            source: vec![self.source],
            out: Some(self.out),
            holdout: self.holdout,
            imbalance_ratio: self.imbalance_ratio,
            profile: self.profile,
            pareto_power: self.pareto_power,
            max_per_class: self.max_per_class,
            min_per_class: self.min_per_class,
            seed: self.seed,
            bands: self.bands,
            root: self.root,
            classnames: self.classnames,
            follow_outside: self.follow_outside,
            allow_repeats: self.allow_repeats,
            path_column: self.path_column,
            label_column: self.label_column,
            split_column: self.split_column,
            condition: self.condition,
            join: self.join,
            on: self.on,
            exclude: self.exclude,
            limit: self.limit,
            group_by: self.group_by,
            folds: self.folds,
            fold: self.fold,
            ..DataTable::default()
        }
    }
}
