//! `lift-data export`: rows back to image files, or to a table.

use std::path::PathBuf;

use clap::Args;

use lift_data::export::{ClassFolder, ExportFormat, ExportReport, export};
use lift_page::escape::visible;
use lift_page::progress::Reporting;
use lift_page::terminal;
use lift_shards::layout::require_shard_dirs;
use lift_shards::{ShardReader, Split};

use super::stopped;
use super::{CliError, grouped, print_json};

/// `lift-data export`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Writes OUT/<split>.csv (id, path, label, class, width, height, num_bytes, checksum, file) and, unless \
--format csv, OUT/<split>/<class>/<id>.<extension>: stored files byte for byte, stored pixels as PNG. An \
export that was cut off goes on when the same command is run again. Classes of one name have folders with \
their labels, as `crane (134)`; names that are too long are cut, what no file name holds becomes %XX.

Examples:
  lift-data export shards --out photos
  lift-data export shards --split test --format csv --out tables
  lift-data export shards --split train --rows 0..100 --out look")]
pub struct ExportArgs {
    /// Shard folder, or a folder with train/ and test/ shard folders
    dir: PathBuf,
    /// Folder that gets the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Image files with the table, or the table alone
    #[arg(long, value_enum, default_value_t = ExportFormat::Images)]
    format: ExportFormat,
    /// This split only [default: all that are there]
    #[arg(long, value_name = "SPLIT")]
    split: Option<Split>,
    /// These rows only, from 0, the end not among them
    #[arg(long, value_name = "FROM..TO", value_parser = rows)]
    rows: Option<(usize, usize)>,
    /// Print what was written as one JSON document
    #[arg(long)]
    json: bool,
}

/// Exports the splits that were asked for.
pub fn run(args: &ExportArgs) -> Result<(), CliError> {
    stopped::say_how_to_go_on("run the same command again, which goes on with the export")?;
    let mut written = Vec::new();
    for dir in require_shard_dirs(&args.dir)? {
        let reader = ShardReader::open(&dir)?;
        let split = reader.manifest().split;
        if args.split.is_some_and(|wanted| wanted != split) {
            continue;
        }
        let range = match args.rows {
            None => 0..reader.len(),
            Some((from, to)) if to <= reader.len() => from..to,
            Some((_, to)) => {
                let (dir, rows) = (dir.display(), reader.len());
                let message = format!("--rows ends at {to}, {dir} has {rows} rows");
                return Err(CliError::Usage(message));
            }
        };
        let (out, format) = (&args.out, args.format);
        let one = export(&dir, &reader, range, out, format, Reporting::Stderr)?;
        written.push((split, one));
    }
    if written.is_empty() {
        let split = args.split.map_or("all", Split::as_str);
        let message = format!("{} has no split `{split}`", args.dir.display());
        return Err(CliError::Usage(message));
    }
    let mut reports = Vec::new();
    for (split, one) in written {
        let report = one.finish()?;
        let images = report.images.as_ref();
        terminal::say(format_args!(
            "{split}: {} rows -> {}{}",
            grouped(report.rows),
            report.table.display(),
            images.map_or(String::new(), |dir| format!(", {}", dir.display())),
        ));
        say_folders(&report);
        reports.push(report);
    }
    if args.json {
        print_json(&serde_json::json!({ "splits": reports }))
    } else {
        Ok(())
    }
}

/// Classes whose folder is called otherwise that are named; all are in the table and in the JSON.
const NAMED: usize = 5;

fn say_folders(report: &ExportReport) {
    for ClassFolder {
        label,
        class,
        folder,
    } in report.folders.iter().take(NAMED)
    {
        let (class, folder) = (visible(class), visible(folder));
        terminal::say(format_args!("note: class {label} ({class}) is in {folder}"));
    }
    if let Some(more) = report.folders.len().checked_sub(NAMED).filter(|&n| n > 0) {
        terminal::say(format_args!(
            "note: and {more} more classes are not in a folder of their name; {} says which",
            report.table.display()
        ));
    }
}

/// `3..7` as (3, 7), not empty.
fn rows(text: &str) -> Result<(usize, usize), String> {
    let (from, to) = text.split_once("..").ok_or("rows are FROM..TO")?;
    let number = |text: &str| {
        let parsed = text.trim().parse::<usize>();
        parsed.map_err(|_| format!("`{text}` is not a row number"))
    };
    match (number(from)?, number(to)?) {
        (from, to) if from < to => Ok((from, to)),
        _ => Err("there is no row in it".to_owned()),
    }
}
