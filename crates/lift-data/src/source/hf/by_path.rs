//! Images of which a Parquet file stores the path and not the bytes, as `datasets` writes them where files are not embedded.
//!
//! Footers say which row groups have such rows; of the others nothing is read. Invariant: a path starts at the Parquet
//! file's folder or, where nothing is there, at the dataset's, and may lead no further than a list's may.

use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use lift_shards::pages;
use parquet::arrow::ProjectionMask;

use super::rows::image_leaf;
use crate::error::{Error, Result};
use crate::source::Item;
use crate::source::listed::{MAX_PATH, Root};
use crate::table::parquet::{damaged, unread};

/// Where the paths start.
pub(super) const START: &str = "the Parquet file's folder, or the dataset's";

/// Rows read at a time where bytes are read too, only to see which are there.
const ROWS_WITH_BYTES: usize = 32;

/// Rows of paths read at a time.
const ROWS: usize = 8192;

/// The rows of `file` that have no bytes and a path, ascending, with that path.
pub(super) fn paths(file: &Path, column: &str) -> Result<Vec<(u64, String)>> {
    let bad = |err: &dyn std::fmt::Display| damaged(file, err);
    let footer = pages::footer(file).map_err(unread(file))?;
    let open = || pages::with_footer(file, footer.clone()).map_err(unread(file));
    let builder = open()?;
    let metadata = footer.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let Ok(bytes_leaf) = image_leaf(&builder, column) else {
        return Ok(Vec::new());
    };
    let name = format!("{column}.path");
    let leaves = schema.columns();
    let Some(path_leaf) = leaves.iter().position(|leaf| leaf.path().string() == name) else {
        return Ok(Vec::new());
    };
    let (mut found, mut start) = (Vec::new(), 0);
    for (group, of_group) in metadata.row_groups().iter().enumerate() {
        let rows = of_group.num_rows() as u64;
        let statistics = of_group.column(bytes_leaf).statistics();
        let without_bytes = statistics.and_then(|known| known.null_count_opt());
        let (wanted, batch_rows) = match without_bytes {
            Some(0) => {
                start += rows;
                continue;
            }
            Some(all) if all == rows => (vec![path_leaf], ROWS),
            _ => (vec![bytes_leaf, path_leaf], ROWS_WITH_BYTES),
        };
        let reader = open()?
            .with_projection(ProjectionMask::leaves(schema, wanted))
            .with_row_groups(vec![group])
            .with_batch_size(batch_rows)
            .build()
            .map_err(|err| bad(&err))?;
        let mut row = start;
        for batch in reader {
            let batch = batch.map_err(|err| bad(&err))?;
            let of_batch = without_bytes_in(&batch).map_err(|err| bad(&err))?;
            found.extend(of_batch.into_iter().map(|(at, path)| (row + at, path)));
            row += batch.num_rows() as u64;
        }
        start += rows;
    }
    Ok(found)
}

/// The rows of a batch, whose only column is the image, that have a path and no bytes.
fn without_bytes_in(batch: &RecordBatch) -> std::result::Result<Vec<(u64, String)>, ArrowError> {
    let Some(image) = batch.column(0).as_struct_opt() else {
        return Ok(Vec::new());
    };
    let Some(paths) = image.column_by_name("path") else {
        return Ok(Vec::new());
    };
    let paths = cast(paths, &DataType::Utf8View)?;
    let paths = paths.as_string_view();
    let bytes = image.column_by_name("bytes");
    let is_wanted = |row: &usize| {
        let has_bytes = bytes.is_some_and(|bytes| bytes.is_valid(*row));
        image.is_valid(*row) && !has_bytes && paths.is_valid(*row) && !paths.value(*row).is_empty()
    };
    let rows = (0..batch.num_rows()).filter(is_wanted);
    if let Some(row) = rows.clone().find(|&row| paths.value(row).len() > MAX_PATH) {
        let reason = format!("a path of {} bytes", paths.value(row).len());
        return Err(ArrowError::InvalidArgumentError(reason));
    }
    Ok(rows
        .map(|row| (row as u64, paths.value(row).to_owned()))
        .collect())
}

/// The image at the path that a row of `file`, which is `below` in the root, stores; its label is not set.
///
/// # Errors
/// When it is an address on a network, or lies where it may not.
pub(super) fn item(
    root: &Root<'_>,
    (file, below): (&Path, &Path),
    row: u64,
    written: &str,
) -> Result<Item> {
    let place = || PathBuf::from(format!("{}#{row}", file.display()));
    if written.contains("://") {
        return Err(Error::Source {
            path: place(),
            reason: format!("only the address of the image is stored, {written}"),
            hint:
                "images are not fetched: download them, and store their bytes or where they lie now"
                    .to_owned(),
        });
    }
    let is_relative = !written.starts_with('/');
    let beside = file.with_file_name(written);
    match below.with_file_name(written).to_str() {
        Some(beside_below) if is_relative && beside.exists() => root.item(beside_below, place),
        _ => root.item(written, place),
    }
}
