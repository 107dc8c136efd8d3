//! Tables of any form as one frame of typed columns: CSV, TSV, JSON lines, Parquet, Arrow.
//!
//! A column is whole numbers, numbers, booleans or text; dates are text as ISO writes them, lists and
//! structures are no column. Image bytes never come here. Invariant: rows keep the file's order, only the
//! columns that are asked for are held, and every error names the file and the line or row.

mod arrow_files;
pub(crate) mod columns;
mod csv;
mod json_lines;
pub(crate) mod parquet;
mod texts;
mod typed;
mod written;

use std::path::{Path, PathBuf};

use lift_files::Purpose;
use polars::prelude::{Column, DataFrame, IdxCa, PlSmallStr};

pub(crate) use typed::{ColumnBuilder, typed, whole_number};
pub use written::{Form, csv as to_csv, is_number, json, require_plain, text, write};

use crate::error::{Error, Result};

/// What a table's name ends in.
pub const EXTENSIONS: [&str; 7] = [
    "csv", "tsv", "jsonl", "ndjson", "parquet", "arrow", "feather",
];

/// Whether a file's name is a table's.
pub fn is_named_table(file: &Path) -> bool {
    Kind::of(file).is_some()
}

/// A table's rows.
#[derive(Debug)]
pub struct Table {
    /// Where it was read.
    pub file: PathBuf,
    /// The columns that were asked for, in the file's order.
    pub frame: DataFrame,
    /// All columns that the file has and a frame can hold.
    pub names: Vec<String>,
    /// Columns of lists, structures or bytes, with their types.
    pub nested: Vec<(String, String)>,
    /// How its rows are named.
    pub(crate) place: Place,
}

/// How a row is named in messages.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// `file:line`, from where the rows start in the file.
    Lines { file: PathBuf, offsets: Vec<u64> },
    /// `file: row n`, from 0.
    Rows { file: PathBuf, rows: Vec<u64> },
    /// The item's own path.
    Items,
}

/// Which columns are read.
#[derive(Clone, Copy)]
pub struct WantedColumns<'a> {
    /// Whether a column of this name is.
    pub column: &'a dyn Fn(&str) -> bool,
    /// Of text files, the columns that stay as they are written: `07` is a name, and no 7.
    pub as_written: &'a [&'a str],
}

impl WantedColumns<'_> {
    /// All columns, each as what it holds.
    pub const ALL: Self = Self {
        column: &|_| true,
        as_written: &[],
    };
}

enum Kind {
    Csv,
    JsonLines,
    Parquet,
    Arrow,
}

impl Kind {
    fn of(file: &Path) -> Option<Self> {
        let ending = file.extension()?.to_string_lossy().to_lowercase();
        match ending.as_str() {
            "csv" | "tsv" => Some(Kind::Csv),
            "jsonl" | "ndjson" => Some(Kind::JsonLines),
            "parquet" => Some(Kind::Parquet),
            "arrow" | "feather" => Some(Kind::Arrow),
            _ => None,
        }
    }
}

impl Table {
    /// Reads the columns of `file` that are `wanted`.
    ///
    /// # Errors
    /// When it is no table, or damaged; see the module.
    pub fn read(file: &Path, wanted: WantedColumns<'_>) -> Result<Self> {
        let text = || lift_files::text(file, Purpose::List).map_err(Error::read(file));
        match Kind::of(file) {
            Some(Kind::Csv) => csv::read(file, &text()?, wanted),
            Some(Kind::JsonLines) => json_lines::read(file, &text()?, wanted),
            Some(Kind::Parquet) => parquet::read(file, wanted),
            Some(Kind::Arrow) => arrow_files::read(file, wanted),
            None => Err(Error::Source {
                path: file.to_owned(),
                reason: "not the name of a table".to_owned(),
                hint: format!("tables end in {}", EXTENSIONS.join(", ")),
            }),
        }
    }

    /// A column that must be there; `flag` would name another.
    ///
    /// # Errors
    /// When it is not, or no column that a frame holds.
    pub fn column(&self, name: &str, flag: &str) -> Result<&Column> {
        if let Ok(column) = self.frame.column(name) {
            return Ok(column);
        }
        match self.nested.iter().find(|(nested, _)| nested == name) {
            Some((_, kind)) => Err(wrong_type(&self.file, name, kind)),
            None => Err(no_column(&self.file, name, flag, &self.names)),
        }
    }

    /// Some rows of the table, in this order.
    pub(crate) fn rows(&self, rows: &[u32]) -> Self {
        Self {
            file: self.file.clone(),
            frame: take(&self.frame, rows),
            names: self.names.clone(),
            nested: self.nested.clone(),
            place: self.place.rows(rows),
        }
    }
}

impl Place {
    /// Of some of the rows, in this order.
    fn rows(&self, rows: &[u32]) -> Self {
        let of = |all: &[u64]| rows.iter().map(|&row| all[row as usize]).collect();
        match self {
            Place::Lines { file, offsets } => Place::Lines {
                file: file.clone(),
                offsets: of(offsets),
            },
            Place::Rows { file, rows: all } => Place::Rows {
                file: file.clone(),
                rows: of(all),
            },
            Place::Items => Place::Items,
        }
    }

    /// A row's name; `item` is what it is called where it has no other.
    pub(crate) fn name(&self, row: usize, item: impl FnOnce() -> PathBuf) -> PathBuf {
        match self {
            Place::Lines { file, offsets } => line_at(file, offsets[row]),
            Place::Rows { file, rows } => {
                PathBuf::from(format!("{}: row {}", file.display(), rows[row]))
            }
            Place::Items => item(),
        }
    }
}

/// Some rows of a frame, in this order.
pub(crate) fn take(frame: &DataFrame, rows: &[u32]) -> DataFrame {
    if frame.width() == 0 {
        return DataFrame::default();
    }
    let rows = IdxCa::from_vec(PlSmallStr::EMPTY, rows.to_vec());
    frame.take(&rows).expect("the rows are the frame's")
}

/// Columns that Arrow holds as a frame's.
pub(crate) fn from_batch(file: &Path, batch: &arrow::array::RecordBatch) -> Result<DataFrame> {
    let mut columns = columns::Columns::new(file, &batch.schema(), WantedColumns::ALL)?;
    columns.append(batch)?;
    Ok(columns.finish().frame)
}

/// `file:line` of the first text at or after a place in the file's text: a reader counts the blank lines
/// before a row to it.
fn line_at(file: &Path, offset: u64) -> PathBuf {
    let find = |text: String| {
        let rest = text.get(usize::try_from(offset).ok()?..)?;
        let start = text.len() - rest.trim_start().len();
        Some(1 + text[..start].matches('\n').count())
    };
    match lift_files::text(file, Purpose::List).ok().and_then(find) {
        Some(number) => PathBuf::from(format!("{}:{number}", file.display())),
        // The file went away while it was read: its name has to do.
        None => file.to_owned(),
    }
}

pub(crate) fn no_column(file: &Path, name: &str, flag: &str, there: &[String]) -> Error {
    Error::Source {
        path: file.to_owned(),
        reason: format!("there is no column `{name}`"),
        hint: format!(
            "name the right one with {flag}; there are {}",
            there.join(", ")
        ),
    }
}

fn wrong_type(file: &Path, name: &str, kind: &str) -> Error {
    Error::Source {
        path: file.to_owned(),
        reason: format!("column `{name}` holds {kind}"),
        hint: "labels are whole numbers, booleans or class names, paths are text; take the part that says it into a column of its own".to_owned(),
    }
}
