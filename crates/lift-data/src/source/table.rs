//! Tables of paths and labels: CSV, JSON lines, Parquet or Arrow; a file, or a folder of one a split.
//!
//! It opens no image. Labels are numbers, booleans or class names. A single table may say in a column which
//! split a row is of. Invariant: rows keep the table's order, and every error names the file and the line or row.

use std::path::{Path, PathBuf};

use polars::prelude::{DataFrame, StringChunked};

use super::image_file::Reach;
use super::labels::{FoundLabels, FoundList, resolve};
use super::list_files::{ListFiles, ListKind};
use super::listed::{OF_A_LIST, Root};
use super::split_names::{SplitPlaces, split_of};
use super::{Columns, Item, Source, class_names_beside};
use crate::error::{Error, Result};
use crate::table::{EXTENSIONS, Table, WantedColumns, is_named_table};
use lift_shards::classes::ClassNames;
use lift_shards::split::Split;

const KIND: ListKind = ListKind {
    word: "table",
    extensions: &EXTENSIONS,
    alone: "say which with --split train or --split test, cut it with --holdout, or name the column that says it with --split-column",
    missing: "name a table, or a folder of tables",
    none: "a folder of tables holds one a split; for one of them use --split",
};

/// The column that says which split a row is of, unless another is named.
const SPLIT: &str = "split";

/// Whether `source` is a table, or a folder with tables named for their split.
///
/// # Errors
/// When it is a folder with such tables and such lists: they may say different things.
pub fn is_table(source: &Path) -> Result<bool> {
    if source.is_file() {
        return Ok(is_named_table(source));
    }
    let has_tables = !ListFiles::find(source, KIND.extensions)?
        .splits()
        .is_empty();
    if has_tables && !super::list::splits_in(source)?.is_empty() {
        return Err(Error::Source {
            path: source.to_owned(),
            reason: "it holds both tables and lists of splits".to_owned(),
            hint: "leave one kind there, or name one file as --source, with --split".to_owned(),
        });
    }
    Ok(has_tables)
}

/// The splits that a table names in its column, or that a folder has tables of: `train.csv` or `train.parquet`,
/// and so on. Without a test split that of `val` is it.
pub fn splits_in(source: &Path, columns: &Columns) -> Result<Vec<Split>> {
    if !source.is_file() {
        return Ok(ListFiles::find(source, KIND.extensions)?.splits());
    }
    let split = columns.split.as_deref().unwrap_or(SPLIT);
    let table = Table::read(
        source,
        WantedColumns {
            column: &|name| name == split,
            as_written: &[split],
        },
    )?;
    Ok(match rows_by_split(&table, columns)? {
        Some(rows) => rows.places.splits(),
        None => Vec::new(),
    })
}

/// Reads the tables of `splits`.
///
/// `source` is a table (then there is one split, or a column says which), or a folder of tables. Paths start
/// at `root`, by default the tables' folder. Class names are `class_names`, or those of `classnames.txt` beside
/// the tables, or what is found in all of them.
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
    let mut column_names = Vec::new();
    let mut list_of = |split: Split, table: &Table| {
        column_names.clone_from(&table.names);
        found_list(split, table, columns, root, &start)
    };
    let whole = source
        .is_file()
        .then(|| read_table(source, columns))
        .transpose()?;
    let parted = match &whole {
        Some(table) => rows_by_split(table, columns)?,
        None => None,
    };
    let mut of_split = |split: Split, wanted: usize| match (&whole, &parted) {
        (Some(table), Some(rows)) => list_of(split, &table.rows(rows.of(source, split)?)),
        (Some(table), None) => {
            files.of_split(source, split, wanted, &KIND)?;
            list_of(split, table)
        }
        (None, _) => {
            let file = files.of_split(source, split, wanted, &KIND)?;
            let table = read_table(&file, columns)?;
            agrees_with_its_name(&table, split, columns)?;
            list_of(split, &table)
        }
    };
    let lists = splits.iter().map(|&split| of_split(split, splits.len()));
    let mut lists = lists.collect::<Result<Vec<_>>>()?;
    // Which classes there are must not depend on the splits that were asked for.
    if class_names.is_none() {
        let there = match &parted {
            Some(rows) => rows.places.splits(),
            None => files.splits(),
        };
        for split in there.into_iter().filter(|split| !splits.contains(split)) {
            lists.push(of_split(split, 1)?);
        }
    }
    let (class_names, mut lists) = resolve(source, lists, class_names)?;
    lists.truncate(splits.len());
    let mut left_out = files.left_out();
    if parted.is_none() && whole.is_some() && column_names.iter().any(|name| name == SPLIT) {
        left_out.columns.insert(SPLIT.to_owned());
    }
    Ok(Source {
        class_names,
        splits: lists,
        left_out,
        column_names,
    })
}

fn read_table(file: &Path, columns: &Columns) -> Result<Table> {
    let [path, label] = columns.path_and_label();
    let split = columns.split.as_deref().unwrap_or(SPLIT);
    let mut as_written = vec![path, label, split];
    as_written.extend(columns.as_written.iter().map(String::as_str));
    let wanted = |name: &str| [path, label, split].contains(&name) || columns.others.want(name);
    let table = Table::read(
        file,
        WantedColumns {
            column: &wanted,
            as_written: &as_written,
        },
    )?;
    for (name, flag) in [(path, "--path-column"), (label, "--label-column")] {
        table.column(name, flag)?;
    }
    if table.frame.height() == 0 {
        return Err(Error::Source {
            path: file.to_owned(),
            reason: "the table has no row".to_owned(),
            hint: "every row is an image's path and its label".to_owned(),
        });
    }
    Ok(table)
}

fn found_list(
    split: Split,
    table: &Table,
    columns: &Columns,
    root: &Path,
    start: &Root<'_>,
) -> Result<FoundList> {
    let [path, label] = columns.path_and_label();
    let place = |row: usize| table.place.name(row, || table.file.clone());
    let paths = texts(table, path, "--path-column")?;
    let items = paths.iter().enumerate().map(|(row, path)| {
        let path = path.filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| Error::Source {
            path: place(row),
            reason: "the path is empty".to_owned(),
            hint: "every row needs an image's path (or bytes) and its label".to_owned(),
        })?;
        start.item(path, || place(row))
    });
    let items: Vec<Item> = items.collect::<Result<_>>()?;
    let labels = FoundLabels::of(table.column(label, "--label-column")?, place)?;
    let mut used = vec![path, label];
    used.extend(split_column(table, columns)?.map(|(name, _)| name));
    Ok(FoundList {
        split,
        root: root.to_owned(),
        bounds: start.bounds()?,
        items,
        labels,
        columns: others(&table.frame, columns, &used),
        place: table.place.clone(),
    })
}

/// The columns of a table that say more than the `used` ones, which say where an image is, what is on it and of which
/// split it is.
pub(super) fn others(frame: &DataFrame, columns: &Columns, used: &[&str]) -> DataFrame {
    let known = |name: &str| used.contains(&name) && super::OWN_COLUMNS.contains(&name);
    let taken = frame.columns().iter().filter(|column| {
        let name = column.name().as_str();
        !known(name) && columns.others.want(name)
    });
    let named = super::renamed(taken.cloned(), &super::OWN_COLUMNS);
    DataFrame::new_infer_height(named).expect("columns of one table have names of their own")
}

fn texts<'a>(table: &'a Table, name: &str, flag: &str) -> Result<&'a StringChunked> {
    let column = table.column(name, flag)?;
    column.str().map_err(|_| Error::Source {
        path: table.file.clone(),
        reason: format!("column `{name}` holds {}, not text", column.dtype()),
        hint: format!("name the column with the paths with {flag}"),
    })
}

/// The rows of each split, where a column says it.
struct RowsBySplit {
    places: SplitPlaces,
    /// Of each word for a split, in the order of their first rows.
    rows: Vec<(String, Vec<u32>)>,
}

impl RowsBySplit {
    fn of(&self, source: &Path, split: Split) -> Result<&[u32]> {
        let word = self.places.one(source, split)?;
        let rows = word.and_then(|word| {
            let same = |(known, _): &&(String, Vec<u32>)| Path::new(known) == word;
            self.rows.iter().find(same)
        });
        let rows = rows.ok_or_else(|| Error::Source {
            path: source.to_owned(),
            reason: format!("its column of splits names no {split}"),
            hint: "choose another --split, or make one with --holdout".to_owned(),
        });
        rows.map(|(_, rows)| rows.as_slice())
    }
}

/// Parts a table's rows by the column that says their split; `None` where it has none.
fn rows_by_split(table: &Table, columns: &Columns) -> Result<Option<RowsBySplit>> {
    let Some((name, words)) = split_column(table, columns)? else {
        return Ok(None);
    };
    let mut parted = RowsBySplit {
        places: SplitPlaces::default(),
        rows: Vec::new(),
    };
    for (row, word) in words.iter().enumerate() {
        let same = |known: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(known));
        let known = |(known, _): &&mut (String, Vec<u32>)| same(known);
        if let Some((_, rows)) = parted.rows.iter_mut().find(known) {
            rows.push(row as u32);
            continue;
        }
        let split = word.and_then(split_of);
        let (Some(word), Some(split)) = (word, split) else {
            let said = match word {
                Some(word) => format!("`{word}` in column `{name}` is no split"),
                None => format!("column `{name}` is empty here"),
            };
            return Err(Error::Source {
                path: table.place.name(row, || table.file.clone()),
                reason: said,
                hint: "splits are train, val or test (validation, dev, eval); name another column with --split-column".to_owned(),
            });
        };
        parted.places.add(split, word, PathBuf::from(word));
        parted.rows.push((word.to_owned(), vec![row as u32]));
    }
    Ok(Some(parted))
}

/// Fails where a table that is named for a split has rows that say to be of another.
fn agrees_with_its_name(table: &Table, split: Split, columns: &Columns) -> Result<()> {
    let Some((name, words)) = split_column(table, columns)? else {
        return Ok(());
    };
    // Without test rows those for validation are the test split.
    let is_it = |word: &str| match (split, split_of(word)) {
        (Split::Test, Some(Split::Val)) => true,
        (split, found) => found == Some(split),
    };
    let other = words.iter().position(|word| !word.is_some_and(is_it));
    match other {
        None => Ok(()),
        Some(row) => Err(Error::Source {
            path: table.place.name(row, || table.file.clone()),
            reason: format!(
                "column `{name}` says `{}`, and the file is called for the {split} split",
                words.get(row).unwrap_or_default()
            ),
            hint: "rename the column, or give the rows of all splits as one table".to_owned(),
        }),
    }
}

/// The column that says the split, with its name.
fn split_column<'a>(
    table: &'a Table,
    columns: &'a Columns,
) -> Result<Option<(&'a str, &'a StringChunked)>> {
    let name = match &columns.split {
        Some(name) => name.as_str(),
        None if table.names.iter().any(|name| name == SPLIT) => SPLIT,
        None => return Ok(None),
    };
    let words = match texts(table, name, "--split-column") {
        Err(_) if columns.split.is_none() => return Ok(None),
        words => words?,
    };
    // A column of that name may be of something else, such as folds by number.
    let names_splits = words.iter().flatten().any(|word| split_of(word).is_some());
    Ok((columns.split.is_some() || names_splits).then_some((name, words)))
}
