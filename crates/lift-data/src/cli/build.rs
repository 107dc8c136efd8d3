//! `lift-data build`: shards from a dataset's images.

use std::path::PathBuf;

use clap::Args;

use lift_data::build::{BuildReport, Forecast, Part, SplitReport, THREAD_NAME, build, forecast};
use lift_page::escape;
use lift_page::progress::Reporting;
use lift_page::terminal;

use super::data_table::DataTable;
use super::recipe::read_recipe;
use super::stopped;
use super::{CliError, counted, grouped, print, print_json, size};

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
    /// Say how many images, shards and bytes it would be, and stop
    #[arg(long, conflicts_with = "part")]
    dry_run: bool,
    /// Print the summary as one JSON document on standard output
    #[arg(long)]
    json: bool,
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
    if args.dry_run {
        let forecasts = forecast(&options, Reporting::Stderr)?;
        return if args.json {
            print_json(&serde_json::json!({ "splits": forecasts }))
        } else {
            print(&forecasts.iter().map(line).collect::<String>())
        };
    }
    stopped::say_how_to_go_on("run the same command again; finished shards are kept")?;
    let report = build(&options, Reporting::Stderr)?;
    print_summary(&report);
    if args.json {
        print_json(&report)
    } else {
        Ok(())
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
        let variable = |name: &str| {
            let value = std::env::var_os(name)?;
            Some(value.to_string_lossy().into_owned())
        };
        return Part::from_environment(variable).map_err(|err| err.to_string());
    }
    text.parse()
}

fn line(forecast: &Forecast) -> String {
    let bad = match forecast.bad_in_sample {
        0 => String::new(),
        bad => format!(", {bad} of {} sampled are bad", forecast.sampled),
    };
    format!(
        "{}: {} of {}, about {} in {}{bad} -> {}\n",
        forecast.split,
        counted(forecast.images, "image"),
        counted(forecast.classes as u64, "class"),
        size(forecast.expected_bytes),
        counted(forecast.shards, "shard"),
        escape::path(&forecast.dir),
    )
}

fn print_summary(report: &BuildReport) {
    for split in &report.splits {
        print_split(split);
    }
    if report.splits.iter().any(|split| split.part.is_some()) {
        terminal::say("hint: when all parts are done, join them with `lift-data commit`");
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
    let damaged = match split.damaged {
        0 => String::new(),
        n => format!(", {n} damaged kept (see damaged.jsonl)"),
    };
    let kept = match split.kept_shards {
        0 => String::new(),
        n if n == split.shards => " (finished before)".to_owned(),
        n => format!(" ({} finished before)", grouped(n as u64)),
    };
    terminal::say(format_args!(
        "{}: {part}{} of {}{bad}{damaged}, {} in {}{kept}, {:.1} s, {} images/s -> {}",
        split.split,
        counted(split.images, "image"),
        counted(split.classes as u64, "class"),
        size(split.bytes),
        counted(split.shards as u64, "shard"),
        split.seconds,
        grouped(split.images_per_second as u64),
        escape::path(&split.dir),
    ));
}
