//! SQL over what a data set says of its images: shards, tables, or a source before it is built.
//!
//! Every split is a table, `classes` has a row a class; a table's file is called by its name without the
//! ending. Image bytes are never read. Invariant: without an `order by` the rows stand in the order of the
//! shards or the file where SQL promises one, and nothing is written but the answer.

use std::fs;
use std::path::{Path, PathBuf};

use polars::prelude::{Column, DataFrame, IntoColumn, StringChunkedBuilder};

use crate::error::{Error, Result};
use crate::source::{Columns, Others, SplitList, hf, renamed};
use crate::sql::{self, Tables};
use crate::stats;
use crate::table::{Table, WantedColumns, from_batch, is_named_table};
use lift_shards::classes::ClassNames;
use lift_shards::layout::shard_dirs;
use lift_shards::shard::ShardReader;
use lift_shards::split::{BandEdges, Split};

/// What a single table is called besides its name.
const DATA: &str = "data";

/// The tables of what is at `path`: shards of one or several splits, a table, a folder of tables (a report's), or
/// a source.
///
/// # Errors
/// When it is none of these, or damaged.
pub fn tables(path: &Path) -> Result<Tables> {
    let shards = shard_dirs(path)?;
    if !shards.is_empty() {
        let readers = shards.iter().map(|dir| Ok((dir, ShardReader::open(dir)?)));
        let readers: Vec<_> = readers.collect::<Result<_>>()?;
        let mut tables = Tables::new();
        let mut counts = Vec::new();
        for (dir, reader) in &readers {
            let manifest = reader.manifest();
            tables.push((manifest.split.to_string(), shard_table(dir, reader)?));
            counts.push((manifest.split, manifest.class_counts.clone()));
        }
        let manifest = readers[0].1.manifest();
        let same =
            |(_, reader): &&(_, ShardReader)| reader.manifest().class_names == manifest.class_names;
        if readers.iter().filter(same).count() == readers.len() {
            let classes = class_table(&manifest.class_names, &counts, manifest.bands);
            tables.push(("classes".to_owned(), classes));
        }
        return Ok(tables);
    }
    if path.is_file() && is_named_table(path) {
        let table = Table::read(path, WantedColumns::ALL)?;
        return Ok(vec![
            (DATA.to_owned(), table.frame.clone()),
            (stem(path), table.frame),
        ]);
    }
    let is_of_images = |file: &Path| hf::holds_images(file, &Columns::default());
    if path.is_dir() && !tables_files(path)?.iter().any(|file| is_of_images(file)) {
        let tables = tables_in(path)?;
        if !tables.is_empty() {
            return Ok(tables);
        }
    }
    source_tables(path)
}

/// The tables that lie in a folder, by name.
fn tables_in(dir: &Path) -> Result<Tables> {
    let read = tables_files(dir)?.into_iter().map(|path| {
        let table = Table::read(&path, WantedColumns::ALL)?;
        Ok((stem(&path), table.frame))
    });
    read.collect()
}

/// One file a name.
fn tables_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(Error::read(dir))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::read(dir))?.path();
        if path.is_file() && is_named_table(&path) {
            files.push(path);
        }
    }
    // Of two forms of one table the Parquet file has the types.
    files.sort_by_key(|path| {
        (
            stem(path),
            path.extension().is_none_or(|end| end != "parquet"),
        )
    });
    files.dedup_by_key(|path| stem(path));
    Ok(files)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The splits of a source that is not built yet.
fn source_tables(path: &Path) -> Result<Tables> {
    let columns = Columns {
        others: Others::All,
        ..Columns::default()
    };
    let listed = stats::read_source(path, &columns)?;
    let names = &listed.source.class_names;
    let mut counts = Vec::new();
    let mut tables = Tables::new();
    for list in &listed.source.splits {
        let name = if listed.names_splits {
            list.split.to_string()
        } else {
            DATA.to_owned()
        };
        counts.push((list.split, list.class_counts(names.len())));
        tables.push((name, list_table(list, names)));
    }
    let classes = class_table(names, &counts, BandEdges::default());
    tables.push(("classes".to_owned(), classes));
    Ok(tables)
}

pub(crate) fn list_table(list: &SplitList, names: &ClassNames) -> DataFrame {
    let items = &list.items;
    let labels: Vec<i64> = items.iter().map(|item| item.label.into()).collect();
    let mut columns = vec![
        texts("path", items.iter().map(|item| item.path.as_str())),
        Column::new("label".into(), labels),
        texts(
            "class",
            items
                .iter()
                .map(|item| names.name(item.label).unwrap_or_default()),
        ),
    ];
    columns.extend_from_slice(list.columns.columns());
    DataFrame::new(items.len(), columns).expect("tables' columns have names beside ours")
}

pub(crate) fn shard_table(dir: &Path, reader: &ShardReader) -> Result<DataFrame> {
    let manifest = reader.manifest();
    let rows = reader.len();
    let number = |name: &str, of: &dyn Fn(usize) -> i64| {
        Column::new(name.into(), (0..rows).map(of).collect::<Vec<i64>>())
    };
    let class = |row| {
        manifest
            .class_names
            .name(reader.row(row).label)
            .unwrap_or_default()
    };
    let checksums: Vec<String> = (0..rows)
        .map(|row| format!("{:016x}", reader.row(row).checksum))
        .collect();
    let mut columns = vec![
        number("id", &|row| reader.row(row).id as i64),
        texts("path", (0..rows).map(|row| reader.path(row))),
        number("label", &|row| reader.row(row).label.into()),
        texts("class", (0..rows).map(class)),
        number("width", &|row| reader.row(row).width.into()),
        number("height", &|row| reader.row(row).height.into()),
        number("num_bytes", &|row| reader.row(row).num_bytes.into()),
        Column::new("checksum".into(), checksums),
        number("shard", &|row| reader.row(row).shard.into()),
    ];
    let kept = from_batch(dir, &reader.kept_columns()?)?;
    columns.extend(kept.columns().to_vec());
    let columns = renamed(columns, &[]);
    Ok(DataFrame::new(rows, columns).expect("a row an image"))
}

fn class_table(names: &ClassNames, counts: &[(Split, Vec<u64>)], edges: BandEdges) -> DataFrame {
    let labels: Vec<i64> = (0..names.len() as i64).collect();
    let mut columns = vec![
        Column::new("label".into(), labels),
        texts("class", names.as_slice().iter().map(String::as_str)),
    ];
    for (split, counts) in counts {
        let counts: Vec<i64> = counts.iter().map(|&count| count as i64).collect();
        columns.push(Column::new(split.as_str().into(), counts));
    }
    // Bands are the training counts'.
    if let Some((_, counts)) = counts.iter().find(|(split, _)| *split == Split::Train) {
        columns.push(texts(
            "band",
            counts.iter().map(|&count| edges.band(count).as_str()),
        ));
    }
    DataFrame::new(names.len(), columns).expect("a row a class")
}

fn texts<'a>(name: &str, values: impl Iterator<Item = &'a str>) -> Column {
    let mut builder = StringChunkedBuilder::new(name.into(), 0);
    values.for_each(|value| builder.append_value(value));
    builder.finish().into_column()
}

/// What `question` answers over the tables.
///
/// # Errors
/// When it cannot be asked: what is wrong, and which tables and columns there are.
pub fn ask(tables: Tables, question: &str) -> Result<DataFrame> {
    let there = tables.iter().map(|(name, frame)| {
        let columns = frame.get_column_names();
        let columns: Vec<&str> = columns.iter().map(|name| name.as_str()).collect();
        format!("{name} ({})", columns.join(", "))
    });
    let hint = format!("the tables are {}", there.collect::<Vec<_>>().join("; "));
    sql::ask(tables, question).map_err(|reason| Error::Setting {
        reason: format!("the query cannot be answered: {reason}"),
        hint,
    })
}
