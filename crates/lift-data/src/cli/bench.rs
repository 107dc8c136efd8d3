//! `lift-data bench`: how fast this machine can prepare these images, before anything is built.

use clap::Args;

use lift_data::build::{BareReport, Dataset, bare};
use lift_files::limits;
use lift_page::progress::Reporting;

use super::data_table::DataTable;
use super::{CliError, grouped, print, print_json};

/// `lift-data bench`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lift-data bench folder --source photos
  lift-data bench folder --source photos --encoding jpeg --seconds 10 --json

Some of the images are read into memory and prepared as `lift-data build` would with the same settings, pass after \
pass on one thread. A build has to read, hash and write as well, on all cores.")]
pub struct BenchArgs {
    #[command(flatten)]
    data: DataTable,
    /// Go on for so long
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = limits::seconds)]
    seconds: f64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(args: BenchArgs) -> Result<(), CliError> {
    args.data.refuse_what_writes("bench")?;
    let options = args.data.without_output().into_options()?;
    if options.dataset == Dataset::Shards {
        let reason = "bench measures image files, and shards are copied; name their source";
        return Err(CliError::Usage(reason.to_owned()));
    }
    let report = bare(&options, args.seconds, Reporting::Stderr)?;
    if args.json {
        print_json(&report)
    } else {
        print(&text(&report))
    }
}

fn text(report: &BareReport) -> String {
    let rate = |value: f64| grouped(value.round() as u64);
    let shares = report.shares.map_or(String::new(), |shares| {
        let steps = [
            ("decode", shares.decode),
            ("resize", shares.resize),
            ("encode", shares.encode),
        ];
        let steps = steps.map(|(step, share)| format!("{step} {:.0} %", share * 100.0));
        format!("time          {}\n", steps.join(", "))
    });
    format!(
        "images/CPU-s  {}\nimages/s      {}\n{shares}sample        {} images in memory, one thread\n",
        rate(report.images_per_cpu_second),
        rate(report.images_per_second),
        grouped(report.sampled as u64),
    )
}
