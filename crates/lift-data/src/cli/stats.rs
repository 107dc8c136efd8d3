//! `lift-data stats`: a class distribution as a table or as JSON.

use std::path::PathBuf;

use clap::Args;

use lift_data::source::Columns;
use lift_data::stats::{ClassRow, Described, Stats, stats};
use lift_page::escape;
use lift_page::terminal::{aligned, aligned_as, say};
use lift_shards::BandEdges;

use super::{CliError, grouped, print, print_json};

/// `lift-data stats`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lift-data stats shards              all splits of a build
  lift-data stats photos              an image folder, before building
  lift-data stats ImageNet_LT_train.txt --json

Bands follow the training counts: many > 100, medium 20 to 100, few < 20 images a class, unless the \
build or --bands says otherwise. `-` is a band without classes.")]
pub struct StatsArgs {
    /// Shard folder, image folder, list or table, or a folder of lists, Parquet files or tars
    #[arg(value_name = "DIR|LIST")]
    path: PathBuf,
    /// Many above the first, few below the second [default: the build's, or 100,20]
    #[arg(long, value_name = "N,N")]
    bands: Option<BandEdges>,
    /// Tables: the column with the path [default: path]
    #[arg(long, value_name = "NAME")]
    path_column: Option<String>,
    /// Tables, Parquet, tars: the column or field with the label [default: label]
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Describes what is at the path.
pub fn run(args: &StatsArgs) -> Result<(), CliError> {
    let columns = Columns {
        path: args.path_column.clone(),
        label: args.label_column.clone(),
        ..Columns::default()
    };
    let described = stats(&args.path, args.bands, &columns)?;
    for note in described.left_out.notes() {
        say(format_args!("note: {}: {note}", escape::path(&args.path)));
    }
    if args.json {
        return print_json(&described);
    }
    print(&table(&described.splits, described.band_edges))?;
    print(&class_table(&described))
}

/// Classes at each end of the table.
const SHOWN: usize = 10;

/// The largest and the smallest classes; few enough classes are all there.
fn class_table(described: &Described) -> String {
    let mut classes: Vec<&ClassRow> = described.classes.iter().collect();
    if classes.is_empty() {
        return String::new();
    }
    let images = |row: &ClassRow| row.images.first().copied().unwrap_or_default();
    classes.sort_by_key(|row| std::cmp::Reverse(images(row)));
    let mut heading = ["label", "class", "band"].map(str::to_owned).to_vec();
    heading.extend(described.splits.iter().map(split_name));
    let columns = heading.len();
    let mut rows = vec![heading];
    for (place, row) in classes.iter().enumerate() {
        let from_end = classes.len() - place;
        if classes.len() <= 2 * SHOWN + 1 || place < SHOWN || from_end <= SHOWN {
            let mut cells = vec![
                row.label.to_string(),
                row.name.clone(),
                row.band.to_string(),
            ];
            cells.extend(row.images.iter().map(|&images| grouped(images)));
            rows.push(cells);
        } else if place == SHOWN {
            let more = classes.len() - 2 * SHOWN;
            let mut cells = vec![String::new(); columns];
            cells[1] = format!("({more} more; --json has all)");
            rows.push(cells);
        }
    }
    let right: Vec<bool> = (0..columns)
        .map(|column| column == 0 || column > 2)
        .collect();
    format!("\n{}", aligned_as(&rows, &right))
}

fn split_name(stats: &Stats) -> String {
    stats
        .split
        .map_or("all".to_owned(), |split| split.to_string())
}

/// The splits side by side.
pub fn table(splits: &[Stats], edges: BandEdges) -> String {
    let row = |name: &str, value: &dyn Fn(&Stats) -> String| {
        let mut cells = vec![name.to_owned()];
        cells.extend(splits.iter().map(value));
        cells
    };
    let mut rows = vec![
        row("", &split_name),
        row("images", &|s| grouped(s.images)),
        row("classes", &|s| grouped(s.classes as u64)),
        row("largest class", &|s| grouped(s.largest)),
        row("smallest class", &|s| grouped(s.smallest)),
        row("imbalance ratio", &|s| {
            s.imbalance_ratio
                .map_or("-".to_owned(), |x| format!("{x:.1}"))
        }),
        row("Gini", &|s| {
            s.gini.map_or("-".to_owned(), |x| format!("{x:.3}"))
        }),
    ];
    let bands = [
        format!("many (> {})", edges.many_above),
        format!("medium ({} to {})", edges.few_below, edges.many_above),
        format!("few (< {})", edges.few_below),
    ];
    for (band, name) in bands.iter().enumerate() {
        rows.push(row(&format!("{name}: classes"), &|s| {
            or_dash(s.bands[band].classes, s.bands[band].classes as u64)
        }));
        rows.push(row(&format!("{name}: images"), &|s| {
            or_dash(s.bands[band].classes, s.bands[band].images)
        }));
    }
    aligned(&rows, 1)
}

/// A band without classes has no number.
fn or_dash(classes: usize, number: u64) -> String {
    match classes {
        0 => "-".to_owned(),
        _ => grouped(number),
    }
}
