//! `lift-data inspect`: a shard folder's manifest, schema, and one row, to look at.

use std::fmt::Write;
use std::path::PathBuf;

use arrow::array::Array;
use arrow::util::display::array_value_to_string;
use clap::Args;
use serde::Serialize;

use lift_image::decode::Decoder;
use lift_image::encode::png;
use lift_page::terminal;
use lift_shards::layout::require_shard_dirs;
use lift_shards::shard::{ColumnKind, ShardShape, shard_shape};
use lift_shards::{Manifest, ShardReader, atomic};

use super::{CliError, grouped, print, print_json, size};

/// `lift-data inspect`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lift-data inspect shards/train
  lift-data inspect shards/train --row 17 --png row.png
  lift-data inspect shards/train --row 17 --json")]
pub struct InspectArgs {
    /// Shard folder of one split
    dir: PathBuf,
    /// Show this row, from 0
    #[arg(long, value_name = "N")]
    row: Option<usize>,
    /// Write the row's pixels as a PNG file
    #[arg(long, value_name = "FILE", requires = "row")]
    png: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Inspection<'a> {
    manifest: &'a Manifest,
    shard: Option<ShardShape>,
    row: Option<RowView>,
}

/// One row without its bytes.
#[derive(Debug, Serialize)]
struct RowView {
    row: usize,
    id: u64,
    path: String,
    label: u32,
    class: String,
    width: u32,
    height: u32,
    num_bytes: u32,
    checksum: String,
    shard: String,
    /// The columns that were kept.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    columns: serde_json::Map<String, serde_json::Value>,
}

/// Shows the folder, and the row if one was asked for.
pub fn run(args: &InspectArgs) -> Result<(), CliError> {
    let dirs = require_shard_dirs(&args.dir)?;
    let [dir] = dirs.as_slice() else {
        let names: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        return Err(CliError::Usage(format!(
            "{} has several splits; name one of {}",
            args.dir.display(),
            names.join(", ")
        )));
    };
    let reader = ShardReader::open(dir)?;
    let manifest = reader.manifest();
    let first = manifest.shards.first();
    let shard = first.map(|entry| shard_shape(&dir.join(&entry.file)));
    let row = args.row.map(|row| view(&reader, row)).transpose()?;
    if let (Some(path), Some(row)) = (&args.png, args.row) {
        let mut decoder = Decoder::default();
        let image = reader.rgb(row, &mut decoder)?;
        let (width, height) = (image.width, image.height);
        atomic::write(path, &png(image)?)?;
        terminal::say(format_args!(
            "row {row}: {width}x{height} pixels -> {}",
            path.display()
        ));
    }
    let inspection = Inspection {
        manifest,
        shard: shard.transpose()?,
        row,
    };
    if args.json {
        return print_json(&inspection);
    }
    print(&inspection.text())
}

fn view(reader: &ShardReader, index: usize) -> Result<RowView, CliError> {
    if index >= reader.len() {
        let rows = reader.len();
        let message = format!("--row {index}: there are {rows} rows, counted from 0");
        return Err(CliError::Usage(message));
    }
    let (row, manifest) = (reader.row(index), reader.manifest());
    let class = manifest.class_names.name(row.label).unwrap_or_default();
    let kept = reader.kept_columns()?;
    let values = manifest.columns.iter().zip(kept.columns());
    let values = values.map(|(column, values)| {
        let text = array_value_to_string(values, index).expect("every kept column can be text");
        let value = match column.kind {
            _ if values.is_null(index) => serde_json::Value::Null,
            ColumnKind::String => text.into(),
            _ => serde_json::from_str(&text).unwrap_or(text.into()),
        };
        (column.name.clone(), value)
    });
    Ok(RowView {
        row: index,
        id: row.id,
        path: reader.path(index).to_owned(),
        label: row.label,
        class: class.to_owned(),
        width: row.width,
        height: row.height,
        num_bytes: row.num_bytes,
        checksum: format!("{:016x}", row.checksum),
        shard: reader.shard_file(index).to_owned(),
        columns: values.collect(),
    })
}

impl Inspection<'_> {
    fn text(&self) -> String {
        let manifest = self.manifest;
        let kept = match manifest.short_side {
            Some(side) => format!("short side at most {side}"),
            None => "sizes kept".to_owned(),
        };
        let encoding = serde_json::to_value(manifest.encoding).expect("plain data");
        let mut fields = vec![
            (
                "dataset",
                format!("{} {}", manifest.dataset, manifest.split),
            ),
            ("written by", format!("lift-data {}", manifest.tool_version)),
            ("format", manifest.format_version.to_string()),
            ("images", grouped(manifest.rows)),
            ("classes", grouped(manifest.num_classes() as u64)),
            ("encoding", encoding.as_str().unwrap_or_default().to_owned()),
            ("resized", kept),
            ("left out", grouped(manifest.quarantined)),
            ("shards", grouped(manifest.shards.len() as u64)),
            ("bytes", size(manifest.bytes())),
        ];
        if let Some(ratio) = manifest.imbalance_ratio {
            fields.push(("imbalance ratio", ratio.to_string()));
        }
        if let Some(chosen) = &manifest.chosen {
            let chosen = serde_json::to_string(chosen).expect("plain data");
            fields.push(("chosen", chosen));
        }
        if !manifest.columns.is_empty() {
            let names = manifest.columns.iter().map(|column| column.name.as_str());
            fields.push(("kept columns", names.collect::<Vec<_>>().join(", ")));
        }
        let mut text = table(&fields);
        if let Some(shard) = &self.shard {
            let (file, rows, groups) = (&shard.file, grouped(shard.rows), shard.row_groups);
            let _ = write!(
                text,
                "\n{file}: {rows} rows, {groups} row group(s)\n{}",
                shard.schema
            );
        }
        if let Some(row) = &self.row {
            let mut fields = vec![
                ("row", row.row.to_string()),
                ("id", row.id.to_string()),
                ("path", row.path.clone()),
                ("class", format!("{} ({})", row.label, row.class)),
                ("pixels", format!("{}x{}", row.width, row.height)),
                ("bytes", grouped(row.num_bytes.into())),
                ("checksum", row.checksum.clone()),
                ("shard", row.shard.clone()),
            ];
            let kept = row.columns.iter();
            fields.extend(kept.map(|(name, value)| {
                let text = match value {
                    serde_json::Value::String(text) => text.clone(),
                    serde_json::Value::Null => "-".to_owned(),
                    value => value.to_string(),
                };
                (name.as_str(), text)
            }));
            text.push('\n');
            text += &table(&fields);
        }
        text
    }
}

fn table(fields: &[(&str, String)]) -> String {
    let row = |(name, value): &(&str, String)| vec![(*name).to_owned(), value.clone()];
    terminal::aligned(&fields.iter().map(row).collect::<Vec<_>>(), 2)
}
