//! What another table says of the images, by their paths or another column.
//!
//! Invariant: no image is lost or doubled; one that the table does not have gets columns without values.

use std::collections::HashMap;
use std::path::Path;

use lift_page::number::counted;
use lift_page::progress::Reporting;
use lift_shards::shard::free_name;
use lift_shards::split::Split;
use polars::prelude::{
    Column, DataFrame, DataType, IdxCa, NewChunkedArray, PlSmallStr, StringChunked,
};

use super::{Join, prefix_below};
use crate::error::{Error, Result};
use crate::source::{OWN_COLUMNS, Source, SplitList, plain_path, split_of};
use crate::table::{Table, WantedColumns};

pub(super) fn join(
    path: &Path,
    source: &mut Source,
    join: &Join,
    reporting: Reporting,
) -> Result<()> {
    let wanted = WantedColumns {
        column: &|_| true,
        as_written: &[&join.theirs],
    };
    let table = Table::read(&join.file, wanted)?;
    let keys = texts(table.column(&join.theirs, "--on")?);
    let root = source
        .splits
        .first()
        .map_or(path, |list| &list.root)
        .to_owned();
    // A table that says the split of each row is joined by it too: `train/a.jpg` is not `test/a.jpg`.
    let words = table
        .frame
        .column("split")
        .ok()
        .filter(|_| join.ours == "path");
    let words = words.and_then(|words| words.str().ok());
    let splits: Option<Vec<Split>> =
        words.and_then(|words| words.iter().map(|word| split_of(word?)).collect());
    let split_at = |row: usize| splits.as_ref().map(|splits| splits[row]);
    let mut row_of: HashMap<(Option<Split>, String), u32> = HashMap::new();
    for (row, key) in keys.iter().enumerate() {
        let Some(key) = key else { continue };
        let key = if join.ours == "path" {
            plain_path(key, &root)
        } else {
            key.to_owned()
        };
        if let Some(first) = row_of.insert((split_at(row), key.clone()), row as u32) {
            return Err(twice(&table, &key, [first as usize, row]));
        }
    }
    let class_names = source.class_names.as_slice().to_vec();
    let (mut images, mut found, mut example) = (0_u64, 0_u64, None);
    for list in &mut source.splits {
        let keys = our_keys(list, &join.ours, &class_names)?;
        let prefix = prefix_below(path, &list.root).filter(|_| join.ours == "path");
        let split = splits.is_some().then_some(list.split);
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys.iter() {
            let of = |key: String| row_of.get(&(split, key)).copied();
            let short = key.and_then(|key| of(key.to_owned()));
            let longer = key
                .zip(prefix.as_ref())
                .and_then(|(key, prefix)| of(format!("{prefix}{key}")));
            if let (Some(a), Some(b), Some(key)) = (short, longer, key) {
                return Err(twice(&table, key, [a.min(b) as usize, a.max(b) as usize]));
            }
            rows.push(short.or(longer));
        }
        images += rows.len() as u64;
        found += rows.iter().flatten().count() as u64;
        if example.is_none() {
            example = keys.iter().flatten().next().map(str::to_owned);
        }
        add_columns(list, &table, &join.theirs, rows, splits.is_some());
    }
    if found == 0 {
        let theirs = keys.iter().flatten().next().unwrap_or_default();
        return Err(Error::Source {
            path: join.file.clone(),
            reason: "no row of it is of an image".to_owned(),
            hint: format!(
                "its `{}` are such as `{theirs}`, the images' `{}` such as `{}`; other columns are named with --on OURS=THEIRS",
                join.theirs,
                join.ours,
                example.unwrap_or_default()
            ),
        });
    }
    if found < images {
        reporting.note(&format!(
            "{}: no row on {}, whose columns stay empty",
            join.file.display(),
            counted(images - found, "image")
        ));
    }
    Ok(())
}

fn twice(table: &Table, key: &str, [first, again]: [usize; 2]) -> Error {
    let place = |row: usize| table.place.name(row, || table.file.clone());
    Error::Source {
        path: place(again),
        reason: format!("`{key}` is there already, at {}", place(first).display()),
        hint: "a joined table has one row an image; --on names the column".to_owned(),
    }
}

/// What the images have to be found by.
fn our_keys(list: &SplitList, ours: &str, class_names: &[String]) -> Result<StringChunked> {
    let named = |of: &dyn Fn(&crate::source::Item) -> String| {
        let values = list.items.iter().map(of);
        StringChunked::from_iter_options(ours.into(), values.map(Some))
    };
    Ok(match ours {
        "path" => named(&|item| item.path.clone()),
        "label" => named(&|item| item.label.to_string()),
        "class" => named(&|item| class_names[item.label as usize].clone()),
        other => match list.columns.column(other) {
            Ok(column) => texts(column),
            Err(_) => {
                let mut there = vec!["path", "label", "class"];
                let columns = list.columns.columns();
                there.extend(columns.iter().map(|column| column.name().as_str()));
                return Err(Error::Setting {
                    reason: format!("--on: the images have no column `{other}`"),
                    hint: format!("they have {}", there.join(", ")),
                });
            }
        },
    })
}

/// A column as text, by which numbers and what looks like them are compared.
fn texts(column: &Column) -> StringChunked {
    let texts = column.cast(&DataType::String);
    let texts = texts.and_then(|column| column.str().cloned());
    texts.expect("every column of a table can be text")
}

fn add_columns(
    list: &mut SplitList,
    table: &Table,
    key: &str,
    rows: Vec<Option<u32>>,
    is_by_split: bool,
) {
    let rows = IdxCa::from_iter_options(PlSmallStr::EMPTY, rows.into_iter());
    let theirs = table.frame.drop(key).expect("the key is a column");
    let mut columns = list.columns.columns().to_vec();
    for column in theirs.columns() {
        // Its split is the images' own, which they are joined by.
        if is_by_split && column.name() == "split" {
            continue;
        }
        let is_taken = |name: &str| {
            OWN_COLUMNS.contains(&name) || columns.iter().any(|known| known.name() == name)
        };
        let name = free_name(column.name(), is_taken);
        let taken = column.take(&rows).expect("the rows are the table's");
        columns.push(taken.with_name(name.into()));
    }
    list.columns = DataFrame::new(list.items.len(), columns).expect("a row an image");
}
