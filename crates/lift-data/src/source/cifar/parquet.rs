//! CIFAR as Hugging Face stores it: Parquet with an `img` struct (`bytes`, `path`) and a label column.
//!
//! Invariant: rows are counted over all files of a split, in the order of the files' names.

use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use super::Kind;
use crate::error::{Error, Result};
use crate::source::container::ContainerFiles;
use crate::source::{Content, Item};
use crate::table::parquet;
use lift_shards::split::Split;

/// Whether `dir` has files of any split.
pub fn is_there(dir: &Path) -> Result<bool> {
    Ok(!ContainerFiles::find(dir, "parquet", None)?
        .splits()
        .is_empty())
}

/// The files of `split`, sorted by name.
pub fn files(dir: &Path, split: Split) -> Result<Vec<PathBuf>> {
    // More than one split is wanted as far as this goes: files without a name are none of CIFAR's.
    ContainerFiles::find(dir, "parquet", None)?.of_split(dir, split, 2, "parquet")
}

/// The labels of all rows.
pub fn read_labels(files: &[PathBuf], kind: Kind, num_classes: usize) -> Result<Vec<u32>> {
    let name = kind.parquet_label();
    let mut labels = Vec::new();
    for file in files {
        let mut row = 0;
        for batch in batches(file, &[name])? {
            let batch = batch?;
            let column = batch
                .column_by_name(name)
                .and_then(|column| column.as_primitive_opt::<Int64Type>())
                .ok_or_else(|| wrong_column(file, name))?;
            for label in column {
                let Some(label) = label else {
                    return Err(Error::Source {
                        path: format!("{}: row {row}", file.display()).into(),
                        reason: format!("its `{name}` is null"),
                        hint: "download the file again".to_owned(),
                    });
                };
                if !(0..num_classes as i64).contains(&label) {
                    let location = format!("{}: row {row}", file.display());
                    return Err(Error::Label {
                        location,
                        label,
                        num_classes,
                    });
                }
                labels.push(label as u32);
                row += 1;
            }
        }
    }
    Ok(labels)
}

/// The images of the rows at `kept`, in that order.
pub fn read_images(
    dir: &Path,
    files: &[PathBuf],
    labels: &[u32],
    kept: &[usize],
) -> Result<Vec<Item>> {
    let mut place = vec![None; labels.len()];
    for (position, &index) in kept.iter().enumerate() {
        place[index] = Some(position);
    }
    let mut items: Vec<Option<Item>> = vec![None; kept.len()];
    let mut index = 0;
    for file in files {
        let name = file.strip_prefix(dir).unwrap_or(file).display();
        let mut row = 0;
        for batch in batches(file, &["img"])? {
            let batch = batch?;
            let image = batch
                .column_by_name("img")
                .and_then(|column| column.as_struct_opt());
            let (image, bytes) = image
                .and_then(|image| Some((image, image.column_by_name("bytes")?)))
                .and_then(|(image, bytes)| Some((image, bytes.as_binary_view_opt()?)))
                .ok_or_else(|| wrong_column(file, "img.bytes"))?;
            for i in 0..bytes.len() {
                if let Some(position) = place.get(index).copied().flatten() {
                    items[position] = Some(Item {
                        path: format!("{name}#{row}"),
                        label: labels[index],
                        // One that is null is a bad image of its own, as an empty file is.
                        content: Content::Memory(if image.is_null(i) || bytes.is_null(i) {
                            Vec::new()
                        } else {
                            small(bytes.value(i)).ok_or_else(|| wrong_column(file, "img.bytes"))?
                        }),
                    });
                }
                index += 1;
                row += 1;
            }
        }
    }
    items
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| wrong_column(dir, "img"))
}

/// An image's bytes, which are held for all images at once; one of 32 pixels a side takes a few thousand.
fn small(bytes: &[u8]) -> Option<Vec<u8>> {
    (bytes.len() < 1 << 16).then(|| bytes.to_vec())
}

/// The rows of a Parquet file, in batches, with `columns` only.
fn batches<'a>(
    file: &'a Path,
    columns: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<'a>> {
    parquet::batches(file, parquet::open(file)?, columns)
}

fn wrong_column(file: &Path, name: &str) -> Error {
    Error::Source {
        path: file.to_owned(),
        reason: format!("column `{name}` is missing or of another type"),
        hint: "the columns are `img` (struct of bytes and path), and `label` for CIFAR-10 or `fine_label` for CIFAR-100"
            .to_owned(),
    }
}
