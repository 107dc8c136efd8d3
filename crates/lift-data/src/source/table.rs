//! Tables of paths and labels: CSV with a header (commas, semicolons or tabs), or Parquet.
//!
//! It opens no image. Labels are numbers or class names. Invariant: rows keep the table's order, and
//! every error names the file and the line (CSV) or row (Parquet).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use lift_files::Purpose;
use parquet::arrow::ProjectionMask;

use super::image_file::Reach;
use super::labels::{FoundLabels, FoundList, Place, Words, resolve};
use super::list_files::{ListFiles, ListKind};
use super::listed::{OF_A_LIST, Root};
use super::{Columns, Item, Source, class_names_beside};
use crate::error::{Error, Result};
use lift_shards::classes::ClassNames;
use lift_shards::pages;
use lift_shards::split::Split;

const KIND: ListKind = ListKind {
    word: "table",
    extensions: &["csv", "tsv", "parquet"],
    alone: "say which with --split train or --split test, or cut it with --holdout",
    missing: "name a table, or a folder of tables",
    none: "a folder of tables holds one a split; for one of them use --split",
};

/// Whether `source` is a table, or a folder with tables named for their split.
///
/// # Errors
/// When it is a folder with such tables and such lists: they may say different things.
pub fn is_table(source: &Path) -> Result<bool> {
    if source.is_file() {
        let known = |extension: &std::ffi::OsStr| {
            let mut known = KIND.extensions.iter();
            known.any(|known| extension.eq_ignore_ascii_case(known))
        };
        return Ok(source.extension().is_some_and(known));
    }
    let has_tables = !splits_in(source)?.is_empty();
    if has_tables && !super::list::splits_in(source)?.is_empty() {
        return Err(Error::Source {
            path: source.to_owned(),
            reason: "it holds both tables and lists of splits".to_owned(),
            hint: "leave one kind there, or name one file as --source, with --split".to_owned(),
        });
    }
    Ok(has_tables)
}

/// The splits that `dir` has tables of: `train.csv` or `train.parquet`, and so on. Without a test
/// table that of `val` is the test split.
pub fn splits_in(dir: &Path) -> Result<Vec<Split>> {
    Ok(ListFiles::find(dir, KIND.extensions)?.splits())
}

/// Reads the tables of `splits`.
///
/// `source` is a table (then there is one split), or a folder of tables. Paths start at `root`, by
/// default the tables' folder. Class names are `class_names`, or those of `classnames.txt` beside the
/// tables, or what is found in all tables of the folder.
pub fn read(
    source: &Path,
    splits: &[Split],
    root: Option<&Path>,
    class_names: Option<ClassNames>,
    columns: &Columns,
    reach: Reach,
) -> Result<Source> {
    let parent = if source.is_dir() {
        source
    } else {
        source.parent().unwrap_or(Path::new(""))
    };
    let root = root.unwrap_or(parent);
    let start = Root::new(root, reach, OF_A_LIST)?;
    let class_names = class_names_beside(parent, class_names)?;
    let files = ListFiles::find(source, KIND.extensions)?;
    let table_of = |split: Split, wanted: usize| -> Result<FoundList> {
        let file = files.of_split(source, split, wanted, &KIND)?;
        let (items, labels, place) = read_table(&file, columns, &start)?;
        Ok(FoundList {
            split,
            root: root.to_owned(),
            bounds: start.bounds()?,
            items,
            labels,
            place,
        })
    };
    let lists = splits.iter().map(|&split| table_of(split, splits.len()));
    let mut lists = lists.collect::<Result<Vec<_>>>()?;
    // Which classes there are must not depend on the splits that were asked for.
    if class_names.is_none() {
        for split in files.splits() {
            if !splits.contains(&split) {
                lists.push(table_of(split, 1)?);
            }
        }
    }
    let (class_names, mut lists) = resolve(source, lists, class_names)?;
    lists.truncate(splits.len());
    Ok(Source {
        class_names,
        splits: lists,
        left_out: files.left_out(),
    })
}

/// Items, their labels, and how their places are named.
type Rows = (Vec<Item>, FoundLabels, Place);

fn read_table(file: &Path, columns: &Columns, root: &Root<'_>) -> Result<Rows> {
    let path = columns.path.as_deref().unwrap_or("path");
    let label = columns.label.as_deref().unwrap_or("label");
    let is_parquet = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    let (items, labels, place) = if is_parquet {
        read_parquet(file, path, label, root)?
    } else {
        read_csv(file, path, label, root)?
    };
    if items.is_empty() {
        return Err(Error::Source {
            path: file.to_owned(),
            reason: "the table has no row".to_owned(),
            hint: "every row is an image's path and its label".to_owned(),
        });
    }
    Ok((items, labels, place))
}

fn read_csv(file: &Path, path: &str, label: &str, root: &Root<'_>) -> Result<Rows> {
    let of_csv = |err: csv::Error| {
        let reason = match err.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => format!("{len} fields, the header has {expected_len}"),
            _ => err.to_string(),
        };
        Error::Source {
            path: err.position().map_or_else(
                || file.to_owned(),
                |position| line_at(file, position.byte()),
            ),
            reason,
            hint: "a CSV list has a header line, and commas, semicolons or tabs throughout; quote values that hold one".to_owned(),
        }
    };
    let text = lift_files::text(file, Purpose::List).map_err(Error::read(file))?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .delimiter(delimiter(&text))
        .from_reader(text.as_bytes());
    let headers = reader.headers().map_err(of_csv)?;
    let headers: Vec<String> = headers.iter().map(str::to_owned).collect();
    let column = |name: &str, flag: &str| {
        headers
            .iter()
            .position(|header| header == name)
            .ok_or_else(|| no_column(file, name, flag, &headers))
    };
    let (path, label) = (
        column(path, "--path-column")?,
        column(label, "--label-column")?,
    );
    let (mut items, mut words, mut offsets) = (Vec::new(), Words::default(), Vec::new());
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(of_csv)? {
        let offset = record.position().map_or(0, csv::Position::byte);
        let value = &record[path];
        if value.is_empty() || record[label].is_empty() {
            let what = if value.is_empty() { "path" } else { "label" };
            return Err(bad_at(&line_at(file, offset), "", what));
        }
        items.push(root.item(value, || line_at(file, offset))?);
        words.push(&record[label]);
        offsets.push(offset);
    }
    let file = file.to_owned();
    Ok((
        items,
        FoundLabels::Words(words),
        Place::Lines { file, offsets },
    ))
}

/// What stands between the fields of the first line that has any: a comma, or else what programs write in its place, those of
/// countries with decimal commas and those that say TSV.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().find(|line| !line.trim().is_empty());
    // Commas within quotes are a name's.
    let bare: String = header.unwrap_or_default().split('"').step_by(2).collect();
    let has = |delimiter: &&u8| bare.as_bytes().contains(delimiter);
    *[b',', b';', b'\t'].iter().find(has).unwrap_or(&b',')
}

fn read_parquet(file: &Path, path: &str, label: &str, root: &Root<'_>) -> Result<Rows> {
    let mut items = Vec::new();
    let mut labels = LabelBuilder::default();
    for batch in column_batches(file, &[(path, "--path-column"), (label, "--label-column")])? {
        let batch = batch?;
        let paths = named_column(&batch, path)
            .and_then(|column| cast(column, &DataType::Utf8View).ok())
            .ok_or_else(|| wrong_type(file, path, "text"))?;
        let paths = paths.as_string_view();
        for row in 0..paths.len() {
            if paths.is_null(row) || paths.value(row).is_empty() {
                return Err(bad_at(file, &format!(": row {}", items.len()), "path"));
            }
            let place = || PathBuf::from(format!("{}: row {}", file.display(), items.len()));
            items.push(root.item(paths.value(row), place)?);
        }
        labels.append(file, &batch, label)?;
    }
    let place = Place::Rows {
        file: file.to_owned(),
    };
    Ok((items, labels.finish(), place))
}

/// `file:line` of the first text at or after a place in the file's text: the reader counts the blank lines
/// before a row to it.
pub(super) fn line_at(file: &Path, offset: u64) -> PathBuf {
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

/// Label values of one or more Parquet files.
#[derive(Default)]
pub(super) struct LabelBuilder {
    numbers: Vec<i64>,
    words: Words,
    /// Rows of the files before, for messages.
    rows_before: usize,
}

impl LabelBuilder {
    pub(super) fn append(&mut self, file: &Path, batch: &RecordBatch, name: &str) -> Result<()> {
        let wrong = || wrong_type(file, name, "whole numbers or text");
        let column = named_column(batch, name).ok_or_else(wrong)?;
        let is_text = match column.data_type() {
            DataType::Dictionary(_, value) => !value.is_integer(),
            other => !other.is_integer(),
        };
        let rows = self.numbers.len() + self.words.len();
        let empty_at = |row: usize| {
            let row = rows + row - self.rows_before;
            bad_at(file, &format!(": row {row}"), "label")
        };
        if is_text && self.numbers.is_empty() {
            let column = cast(column, &DataType::Utf8View).map_err(|_| wrong())?;
            let values = column.as_string_view();
            for row in 0..values.len() {
                if values.is_null(row) || values.value(row).is_empty() {
                    return Err(empty_at(row));
                }
                self.words.push(values.value(row));
            }
        } else if !is_text && self.words.len() == 0 {
            let column = cast(column, &DataType::Int64).map_err(|_| wrong())?;
            let values = column.as_primitive::<Int64Type>();
            if let Some(row) = (0..values.len()).find(|&row| values.is_null(row)) {
                return Err(empty_at(row));
            }
            self.numbers.extend_from_slice(values.values());
        } else {
            return Err(wrong());
        }
        Ok(())
    }

    /// What follows are rows of another file.
    pub(super) fn next_file(&mut self) {
        self.rows_before = self.numbers.len() + self.words.len();
    }

    pub(super) fn finish(self) -> FoundLabels {
        if self.words.len() > 0 {
            FoundLabels::Words(self.words)
        } else {
            FoundLabels::Numbers(self.numbers)
        }
    }
}

/// The rows of a Parquet file in batches, with these top-level columns only. Each comes with the flag
/// that would name another.
pub(super) fn column_batches<'a>(
    file: &'a Path,
    columns: &[(&str, &str)],
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<'a>> {
    let builder = open_parquet(file)?;
    let names: Vec<String> = builder
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    for (name, flag) in columns {
        if !names.iter().any(|known| known == name) {
            return Err(no_column(file, name, flag, &names));
        }
    }
    let mask = ProjectionMask::columns(
        builder.parquet_schema(),
        columns.iter().map(|(name, _)| *name),
    );
    let reader = builder
        .with_projection(mask)
        .with_batch_size(8192)
        .build()
        .map_err(|err| bad_parquet(file, &err))?;
    Ok(reader.map(move |batch| batch.map_err(|err| bad_parquet(file, &err))))
}

/// Reads a Parquet file's footer.
pub(super) fn open_parquet(file: &Path) -> Result<pages::Builder> {
    pages::open(file).map_err(unread(file))
}

/// That a Parquet file cannot be read, or is none, for `map_err`.
pub(super) fn unread(file: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |err| match err.kind() {
        ErrorKind::InvalidData => bad_parquet(file, &err),
        _ => Error::read(file)(err),
    }
}

pub(super) fn bad_parquet(file: &Path, err: &dyn std::fmt::Display) -> Error {
    Error::Source {
        path: file.to_owned(),
        reason: format!("cannot read as Parquet: {err}"),
        hint: "the file is damaged or not Parquet; download or write it again".to_owned(),
    }
}

fn named_column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a dyn Array> {
    batch.column_by_name(name).map(|column| &**column)
}

pub(super) fn no_column(file: &Path, name: &str, flag: &str, there: &[String]) -> Error {
    Error::Source {
        path: file.to_owned(),
        reason: format!("there is no column `{name}`"),
        hint: format!(
            "name the right one with {flag}; there are {}",
            there.join(", ")
        ),
    }
}

fn wrong_type(file: &Path, name: &str, wanted: &str) -> Error {
    Error::Source {
        path: file.to_owned(),
        reason: format!("column `{name}` does not hold {wanted} throughout"),
        hint: "labels are whole numbers or class names, paths are text".to_owned(),
    }
}

fn bad_at(file: &Path, place: &str, what: &str) -> Error {
    Error::Source {
        path: PathBuf::from(format!("{}{place}", file.display())),
        reason: format!("the {what} is empty"),
        hint: "every row needs an image's path (or bytes) and its label".to_owned(),
    }
}
