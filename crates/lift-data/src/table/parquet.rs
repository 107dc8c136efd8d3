//! Parquet files by columns: the one way in which this crate reads them, images apart.

use std::io::ErrorKind;
use std::path::Path;

use arrow::array::RecordBatch;
use lift_shards::pages;

use super::columns::Columns;
use super::{Table, WantedColumns};
use crate::error::{Error, Result};

pub(super) fn read(file: &Path, wanted: WantedColumns<'_>) -> Result<Table> {
    let builder = open(file)?;
    let mut columns = Columns::new(file, builder.schema(), wanted)?;
    for batch in batches(file, builder, &columns.taken())? {
        columns.append(&batch?)?;
    }
    Ok(columns.finish())
}

/// Reads a file's footer.
pub(crate) fn open(file: &Path) -> Result<pages::Builder> {
    pages::open(file).map_err(unread(file))
}

/// The rows in batches, with these top-level columns only.
pub(crate) fn batches<'a>(
    file: &'a Path,
    builder: pages::Builder,
    columns: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<'a>> {
    let mask = pages::columns(builder.parquet_schema(), columns);
    let reader = builder
        .with_projection(mask)
        .with_batch_size(8192)
        .build()
        .map_err(|err| damaged(file, &err))?;
    Ok(reader.map(move |batch| batch.map_err(|err| damaged(file, &err))))
}

/// That a Parquet file cannot be read, or is none, for `map_err`.
pub(crate) fn unread(file: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |err| match err.kind() {
        ErrorKind::InvalidData => damaged(file, &err),
        _ => Error::read(file)(err),
    }
}

pub(crate) fn damaged(file: &Path, err: &dyn std::fmt::Display) -> Error {
    Error::Source {
        path: file.to_owned(),
        reason: format!("cannot read as Parquet: {err}"),
        hint: "the file is damaged or not Parquet; download or write it again".to_owned(),
    }
}
