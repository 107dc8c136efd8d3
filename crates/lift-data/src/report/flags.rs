//! The flagged images and the duplicates as tables, for other programs: Parquet and CSV with the same rows.
//!
//! Invariant: rows are sorted by flag, split and row; both files have the same columns in the same order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use serde::Serialize;

use super::{Report, names};
use crate::error::{Error, Result};
use crate::table::{self, Form};
use lift_shards::atomic;
use lift_shards::table_file::{self, TableForm};

#[derive(Debug, Serialize)]
struct FlagLine<'a> {
    flag: &'a str,
    split: &'a str,
    row: i64,
    id: i64,
    path: &'a str,
    label: i64,
    class: &'a str,
    /// What was measured, or nothing for an image that could not be read.
    value: Option<f64>,
    reason: &'a str,
}

#[derive(Debug, Serialize)]
struct PairLine<'a> {
    kind: &'a str,
    distance: i64,
    difference: f64,
    split: &'a str,
    id: i64,
    path: &'a str,
    label: i64,
    class: &'a str,
    other_split: &'a str,
    other_id: i64,
    other_path: &'a str,
    other_label: i64,
    other_class: &'a str,
}

/// The files that [`write`] writes.
pub fn files(dir: &Path) -> [PathBuf; 5] {
    [
        "flags.csv",
        "flags.parquet",
        "duplicates.csv",
        "duplicates.parquet",
        "measures.parquet",
    ]
    .map(|name| dir.join(name))
}

/// Writes `flags.csv`, `flags.parquet`, `duplicates.csv`, `duplicates.parquet` and `measures.parquet`, which has every
/// image, into `dir`; says where.
pub fn write(report: &Report, dir: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir).map_err(Error::write(dir))?;
    let classes = names(&report.classes);
    let class = |label: u32| classes.get(&label).map_or("", String::as_str);
    let mut flags = Vec::new();
    for split in &report.quality {
        flags.extend(split.flagged.iter().map(|image| FlagLine {
            flag: image.flag.as_str(),
            split: &split.split,
            row: i64::from(image.row),
            id: image.id as i64,
            path: &image.path,
            label: i64::from(image.label),
            class: class(image.label),
            value: Some(f64::from(image.value)),
            reason: "",
        }));
        flags.extend(split.quarantine.iter().map(|image| FlagLine {
            flag: "corrupt",
            split: &split.split,
            row: -1,
            id: image.id as i64,
            path: &image.path,
            label: i64::from(image.label),
            class: class(image.label),
            value: None,
            reason: &image.reason,
        }));
        flags.extend(split.undecodable.iter().map(|image| FlagLine {
            flag: "corrupt",
            split: &split.split,
            row: i64::from(image.row),
            id: image.id as i64,
            path: &image.path,
            label: i64::from(image.label),
            class: class(image.label),
            value: None,
            reason: &image.reason,
        }));
    }
    flags.sort_by_key(|line| line.flag);
    let pairs: Vec<_> = report
        .leakage
        .all_pairs
        .iter()
        .map(|pair| {
            let [a, b] = &pair.images;
            PairLine {
                kind: if pair.exact { "exact" } else { "near" },
                distance: i64::from(pair.distance),
                difference: pair.difference,
                split: &a.split,
                id: a.id as i64,
                path: &a.path,
                label: i64::from(a.label),
                class: &a.class,
                other_split: &b.split,
                other_id: b.id as i64,
                other_path: &b.path,
                other_label: i64::from(b.label),
                other_class: &b.class,
            }
        })
        .collect();
    let files = files(dir);
    atomic::write(&files[0], &csv(&flags, &FLAG_COLUMNS, &files[0])?)?;
    write_parquet(flag_columns(&flags), &files[1])?;
    atomic::write(&files[2], &csv(&pairs, &PAIR_COLUMNS, &files[2])?)?;
    write_parquet(pair_columns(&pairs), &files[3])?;
    if let Some(measures) = &report.measures {
        table::write(measures, &files[4], Form::Parquet)?;
    }
    Ok(files.to_vec())
}

const FLAG_COLUMNS: [&str; 9] = [
    "flag", "split", "row", "id", "path", "label", "class", "value", "reason",
];
const PAIR_COLUMNS: [&str; 13] = [
    "kind",
    "distance",
    "difference",
    "split",
    "id",
    "path",
    "label",
    "class",
    "other_split",
    "other_id",
    "other_path",
    "other_label",
    "other_class",
];

fn csv(lines: &[impl Serialize], columns: &[&str], path: &Path) -> Result<Vec<u8>> {
    let failed = |err: csv::Error| lift_shards::Error::write_csv(path, err);
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(Vec::new());
    // Written by hand, so that a table without rows has its heading too.
    writer.write_record(columns).map_err(failed)?;
    for line in lines {
        writer.serialize(line).map_err(failed)?;
    }
    writer
        .into_inner()
        .map_err(|err| Error::write(path)(err.into_error()))
}

type Columns = Vec<(&'static str, ArrayRef, bool)>;

fn flag_columns(lines: &[FlagLine<'_>]) -> Columns {
    let values: Float64Array = lines.iter().map(|l| l.value).collect();
    vec![
        ("flag", text(lines, |l| l.flag), false),
        ("split", text(lines, |l| l.split), false),
        ("row", whole(lines, |l| l.row), false),
        ("id", whole(lines, |l| l.id), false),
        ("path", text(lines, |l| l.path), false),
        ("label", whole(lines, |l| l.label), false),
        ("class", text(lines, |l| l.class), false),
        ("value", Arc::new(values), true),
        ("reason", text(lines, |l| l.reason), false),
    ]
}

fn pair_columns(lines: &[PairLine<'_>]) -> Columns {
    let difference = Float64Array::from_iter_values(lines.iter().map(|l| l.difference));
    vec![
        ("kind", text(lines, |l| l.kind), false),
        ("distance", whole(lines, |l| l.distance), false),
        ("difference", Arc::new(difference), false),
        ("split", text(lines, |l| l.split), false),
        ("id", whole(lines, |l| l.id), false),
        ("path", text(lines, |l| l.path), false),
        ("label", whole(lines, |l| l.label), false),
        ("class", text(lines, |l| l.class), false),
        ("other_split", text(lines, |l| l.other_split), false),
        ("other_id", whole(lines, |l| l.other_id), false),
        ("other_path", text(lines, |l| l.other_path), false),
        ("other_label", whole(lines, |l| l.other_label), false),
        ("other_class", text(lines, |l| l.other_class), false),
    ]
}

fn text<'a, L>(lines: &'a [L], of: impl Fn(&'a L) -> &'a str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(lines.iter().map(of)))
}

fn whole<L>(lines: &[L], of: impl Fn(&L) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(lines.iter().map(of)))
}

fn write_parquet(columns: Columns, path: &Path) -> Result<()> {
    let table = RecordBatch::try_from_iter_with_nullable(columns);
    let table = table.map_err(|err| table_file::unmade(path, err))?;
    Ok(table_file::write(path, TableForm::Parquet, &table)?)
}
