//! `lift-data report`: what a data set is like, on the terminal and in files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use lift_data::report::measures::Groups;
use lift_data::report::quality::Flag;
use lift_data::report::{
    Report, ReportOptions, condition, croissant, duplicates, flags, near, pictures, report, view,
};
use lift_data::source::{Columns, Others};
use lift_files::limits::Threads;
use lift_page::day;
use lift_page::number::grouped;
use lift_page::progress::Reporting;
use lift_page::terminal::{self, aligned};
use lift_shards::layout::shard_dirs;
use lift_shards::manifest::MANIFEST_FILE;
use lift_shards::{BandEdges, atomic, outputs};

use super::stats::table;
use super::{CliError, print};

/// `lift-data report`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lift-data report shards                              a summary
  lift-data report shards --html report.html           one file, to look at
  lift-data report shards --fail-if 'leaked / images > 0.01 or corrupt > 0.001'
  lift-data report lists --md report.md                class counts of lists; opens no image

`--fail-if` knows images, classes, empty_classes, lacking_classes, imbalance_ratio, gini, smallest, leaked, \
duplicates, label_conflicts; for shards also near_duplicates, corrupt_images, and shares of the images:
corrupt, greyscale, dark, bright, blurry, low_information, odd_aspect, cmyk, exif_rotated.")]
pub struct ReportArgs {
    /// Shard folder, or an image folder, list, table, or folder of them (without pixels)
    #[arg(value_name = "DIR|LIST")]
    path: PathBuf,
    /// Another shard folder to search for the same images
    #[arg(long, value_name = "DIR")]
    compare: Option<PathBuf>,
    /// Title of the page [default: the data set's name]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Write one self-contained HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write everything as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the page's content as Markdown
    #[arg(long, value_name = "FILE")]
    md: Option<PathBuf>,
    /// Write Croissant metadata of the shards
    #[arg(long, value_name = "FILE")]
    croissant: Option<PathBuf>,
    /// Write flagged files and duplicates as CSV and Parquet, and every image's values (measures.parquet)
    #[arg(long, value_name = "DIR")]
    flags: Option<PathBuf>,
    /// Repeat tail and quality for each value of a column: a camera, a site
    #[arg(long, value_name = "COLUMN")]
    group_by: Option<String>,
    /// End with exit code 1 where this SQL condition holds
    #[arg(long, value_name = "SQL")]
    fail_if: Option<String>,
    /// Bits in which hashes of near duplicates may differ, 0 to 11
    #[arg(long, value_name = "BITS", default_value_t = duplicates::DISTANCE,
          value_parser = clap::value_parser!(u32).range(0..=i64::from(near::MAX_DISTANCE)))]
    distance: u32,
    /// Many above the first, few below the second [default: the build's, or 100,20]
    #[arg(long, value_name = "N,N")]
    bands: Option<BandEdges>,
    /// Tables: the column with the path [default: path]
    #[arg(long, value_name = "NAME")]
    path_column: Option<String>,
    /// Tables, Parquet, tars: the column or field with the label [default: label]
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// Threads that decode [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<Threads>,
}

/// Rows of a table in Markdown.
const MARKDOWN_ROWS: usize = 50;

/// Reports on what is at the path.
pub fn run(args: &ReportArgs) -> Result<(), CliError> {
    // Before minutes of work: what no report knows is wrong at once.
    if let Some(text) = &args.fail_if {
        let known = known_names();
        condition::check(text, &known).map_err(|reason| wrong_condition(text, &reason))?;
    }
    let options = ReportOptions {
        path: args.path.clone(),
        columns: Columns {
            path: args.path_column.clone(),
            label: args.label_column.clone(),
            others: Others::NamedIn(args.group_by.iter().cloned().collect()),
            ..Columns::default()
        },
        measures: args.flags.is_some(),
        group_by: args.group_by.clone(),
        bands: args.bands,
        compare: args.compare.clone(),
        distance: args.distance,
        threads: args.threads.unwrap_or_else(Threads::all_cores).number(),
    };
    if args.croissant.is_some() && shard_dirs(&args.path)?.is_empty() {
        return Err(CliError::Usage(format!(
            "--croissant describes shards; {} is none",
            args.path.display()
        )));
    }
    prepare_files(args)?;
    let (report, pictures) = report(&options, Reporting::Stderr)?;
    let values = report.values();
    let holds = args.fail_if.as_ref().map(|text| {
        let holds = condition::holds(text, &values);
        holds.map_err(|reason| wrong_condition(text, &reason))
    });
    let holds = holds.transpose()?;
    let written = write_files(args, &report, &pictures);
    // Also where a file could not be written: it is what the minutes were spent on.
    print(&text(&report))?;
    written?;
    match (&args.fail_if, holds) {
        (Some(text), Some(true)) => Err(CliError::Condition {
            path: args.path.clone(),
            condition: condition::explained(text, &values),
        }),
        _ => Ok(()),
    }
}

fn wrong_condition(text: &str, reason: &str) -> CliError {
    CliError::Usage(format!("--fail-if '{text}': {reason}"))
}

/// All names that some report knows.
fn known_names() -> Vec<&'static str> {
    let mut names = vec![
        "images",
        "classes",
        "empty_classes",
        "lacking_classes",
        "imbalance_ratio",
        "gini",
        "smallest",
        "leaked",
        "duplicates",
        "label_conflicts",
        "near_duplicates",
        "corrupt",
        "corrupt_images",
    ];
    names.extend(Flag::ALL.map(Flag::as_str));
    names
}

/// Looks whether the files can be written, before minutes of work.
fn prepare_files(args: &ReportArgs) -> Result<(), CliError> {
    let mut files = vec![
        ("html", args.html.clone()),
        ("json", args.json.clone()),
        ("md", args.md.clone()),
        ("croissant", args.croissant.clone()),
    ];
    let flags = args.flags.iter();
    files.extend(flags.flat_map(|dir| flags::files(dir).map(|file| ("flags", Some(file)))));
    let files: Vec<(&str, &Path)> = files
        .iter()
        .filter_map(|(flag, path)| Some((*flag, path.as_deref()?)))
        .collect();
    if let Some(reason) = outputs::same_file(&files) {
        return Err(CliError::Usage(reason));
    }
    Ok(outputs::prepare(files.iter().map(|(_, path)| *path))?)
}

/// Writes all that can be written; the first that cannot is the error.
fn write_files(
    args: &ReportArgs,
    report: &Report,
    pictures: &pictures::Pictures,
) -> Result<(), CliError> {
    let head = view::Head {
        title: args.title.clone(),
        day: written_on(&args.path),
    };
    let page = view::page(report, pictures, &head);
    let write = |path: &Option<PathBuf>, bytes: &dyn Fn() -> Vec<u8>| match path {
        Some(path) => Ok(atomic::write(path, &bytes())?),
        None => Ok(()),
    };
    let croissant = || -> lift_data::Result<()> {
        let Some(path) = &args.croissant else {
            return Ok(());
        };
        let name = report.dataset.clone().unwrap_or_default();
        let text = json(&croissant::croissant(&args.path, &name)?);
        Ok(atomic::write(path, &text)?)
    };
    let all = [
        write(&args.html, &|| page.html().into_bytes()),
        write(&args.md, &|| page.markdown(MARKDOWN_ROWS).into_bytes()),
        write(&args.json, &|| json(report)),
        croissant(),
        match &args.flags {
            Some(dir) => flags::write(report, dir).map(drop),
            None => Ok(()),
        },
    ];
    Ok(all.into_iter().collect::<lift_data::Result<()>>()?)
}

/// The day on which the first split's manifest, or the list, was written: data does not say when it was made.
fn written_on(path: &Path) -> Option<String> {
    let split = shard_dirs(path).ok()?.into_iter().next();
    let file = match split {
        Some(split) => split.join(MANIFEST_FILE),
        None if path.is_file() => path.to_owned(),
        None => return None,
    };
    day::utc(file.metadata().ok()?.modified().ok()?)
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("results are plain data");
    text.push(b'\n');
    text
}

/// The summary on the terminal.
fn text(report: &Report) -> String {
    let stats: Vec<_> = report
        .splits
        .iter()
        .map(|tail| tail.stats.clone())
        .collect();
    let mut out = table(&stats, report.band_edges);
    out += "\n";
    out += &histogram(report);
    let mut rows = vec![vec![String::new(), "images".to_owned()]];
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    let leakage = &report.leakage;
    row("leaked", grouped(leakage.leaked));
    row("duplicates", grouped(leakage.duplicates));
    row("label conflicts", grouped(leakage.label_conflicts));
    if !report.quality.is_empty() {
        row("near duplicates", grouped(leakage.near_duplicates));
        let corrupt = report.quality.iter().map(|split| split.corrupt).sum();
        row("corrupt", grouped(corrupt));
        for flag in Flag::ALL {
            let counts: Option<Vec<u64>> = report
                .quality
                .iter()
                .map(|split| split.count(flag))
                .collect();
            let value = counts.map_or("not recorded".to_owned(), |counts| {
                grouped(counts.iter().sum())
            });
            row(flag.title(), value);
        }
    }
    out += "\n";
    out += &aligned(&rows, 1);
    if let Some(groups) = &report.groups {
        out += "\n";
        out += &group_table(groups);
    }
    out
}

fn group_table(groups: &Groups) -> String {
    let heading = [
        "",
        "split",
        "images",
        "classes",
        "imbalance ratio",
        "luma",
        "sharpness",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows[0][0] = groups.column.clone();
    let decimal = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    rows.extend(groups.rows.iter().map(|row| {
        vec![
            row.value.clone().unwrap_or_default(),
            row.split.clone(),
            grouped(row.images),
            grouped(row.classes as u64),
            decimal(row.imbalance_ratio),
            decimal(row.mean_luma),
            decimal(row.median_sharpness),
        ]
    }));
    aligned(&rows, 2)
}

/// Lines of the histogram.
const LINES: usize = 10;
/// Its longest bar.
const BAR: usize = 40;

/// The class counts in groups of classes, largest first: a bar of the mean's logarithm each.
fn histogram(report: &Report) -> String {
    let mut counts: Vec<u64> = report.classes.iter().map(|row| row.images[0]).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let lines = LINES.min(counts.len());
    // What stands before a bar takes about 26 columns.
    let longest =
        terminal::columns().map_or(BAR, |columns| BAR.min(columns.saturating_sub(30).max(8)));
    let most = (counts.first().copied().unwrap_or(0) as f64).ln_1p();
    let mut out = String::from("images a class, largest first (logarithmic bars)\n");
    let mut rows = Vec::new();
    for line in 0..lines {
        let (from, to) = (
            line * counts.len() / lines,
            (line + 1) * counts.len() / lines,
        );
        let group = &counts[from..to];
        let mean = group.iter().sum::<u64>() as f64 / group.len() as f64;
        let length = if most > 0.0 {
            (mean.ln_1p() / most * longest as f64).round() as usize
        } else {
            0
        };
        rows.push((
            format!("{}-{}", from + 1, to),
            mean,
            report.band_edges.band(mean.round() as u64),
            length,
        ));
    }
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    for (classes, mean, band, length) in rows {
        let _ = writeln!(
            out,
            "{classes:>width$}  {mean:>9.1}  {:<6}  {}",
            band.as_str(),
            "#".repeat(length)
        );
    }
    out
}
