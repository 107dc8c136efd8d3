//! CIFAR-100 as Hugging Face stores it: Parquet with an `img` struct (`bytes`, `path`) and `fine_label`.
//!
//! The whole dataset has 60,000 images of 2 kB, so the chosen ones are held in memory. Invariant: the
//! training images are those that LIFT's reference code would choose from the same row order.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Content, Item, Source, SplitList};
use crate::classes::ClassNames;
use crate::error::{Error, Result};
use crate::longtail;
use crate::profile::LongTail;
use crate::split::Split;

/// Reads `splits` from the `train-*.parquet` and `test-*.parquet` in `dir`; the training split is cut
/// to `long_tail`, chosen by `seed`.
pub fn read(
    dir: &Path,
    splits: &[Split],
    class_names: ClassNames,
    long_tail: &LongTail,
    seed: u32,
) -> Result<Source> {
    let lists = splits
        .iter()
        .map(|&split| {
            let files = parquet_files(dir, split)?;
            let labels = read_labels(&files, class_names.len())?;
            let (kept, imbalance_ratio) = match split {
                Split::Train => {
                    let kept = choose(&labels, class_names.len(), long_tail, seed)?;
                    (kept, long_tail.imbalance_ratio())
                }
                Split::Val | Split::Test => ((0..labels.len()).collect(), None),
            };
            let items = read_images(dir, &files, &labels, &kept)?;
            Ok(SplitList {
                split,
                root: dir.to_owned(),
                items,
                imbalance_ratio,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Source {
        class_names,
        splits: lists,
    })
}

fn choose(
    labels: &[u32],
    num_classes: usize,
    long_tail: &LongTail,
    seed: u32,
) -> Result<Vec<usize>> {
    let mut counts = vec![0_u64; num_classes];
    for &label in labels {
        counts[label as usize] += 1;
    }
    let keep = long_tail.counts(&counts)?;
    Ok(longtail::select(labels, &keep, seed))
}

fn parquet_files(dir: &Path, split: Split) -> Result<Vec<PathBuf>> {
    let prefix = format!("{split}-");
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::read(dir))? {
        let path = entry.map_err(Error::read(dir))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with(&prefix) && name.ends_with(".parquet") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::Source {
            path: dir.to_owned(),
            reason: format!("there is no {prefix}*.parquet in it"),
            hint: "name the folder with CIFAR-100's Parquet files from Hugging Face (uoft-cs/cifar100, folder cifar100)".to_owned(),
        });
    }
    Ok(files)
}

fn read_labels(files: &[PathBuf], num_classes: usize) -> Result<Vec<u32>> {
    let mut labels = Vec::new();
    for file in files {
        let mut row = 0;
        for batch in batches(file, &["fine_label"])? {
            let batch = batch?;
            let column = batch
                .column_by_name("fine_label")
                .filter(|column| column.null_count() == 0)
                .and_then(|column| column.as_primitive_opt::<Int64Type>())
                .ok_or_else(|| wrong_column(file, "fine_label"))?;
            for &label in column.values() {
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

fn read_images(dir: &Path, files: &[PathBuf], labels: &[u32], kept: &[usize]) -> Result<Vec<Item>> {
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
            let bytes = batch
                .column_by_name("img")
                .and_then(|column| column.as_struct_opt())
                .and_then(|column| column.column_by_name("bytes"))
                .filter(|column| column.null_count() == 0)
                .and_then(|column| column.as_binary_opt::<i32>())
                .ok_or_else(|| wrong_column(file, "img.bytes"))?;
            for i in 0..bytes.len() {
                if let Some(position) = place.get(index).copied().flatten() {
                    items[position] = Some(Item {
                        path: format!("{name}#{row}"),
                        label: labels[index],
                        content: Content::Memory(bytes.value(i).to_vec()),
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

/// The rows of a Parquet file, in batches, with `columns` only.
fn batches<'a>(
    file: &'a Path,
    columns: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<'a>> {
    let bad = |reason: String| Error::Source {
        path: file.to_owned(),
        reason: format!("cannot read as Parquet: {reason}"),
        hint: "download the file again".to_owned(),
    };
    let handle = File::open(file).map_err(Error::read(file))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(handle).map_err(|err| bad(err.to_string()))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder
        .with_projection(mask)
        .with_batch_size(1024)
        .build()
        .map_err(|err| bad(err.to_string()))?;
    Ok(reader.map(move |batch| batch.map_err(|err| bad(err.to_string()))))
}

fn wrong_column(file: &Path, name: &str) -> Error {
    Error::Source {
        path: file.to_owned(),
        reason: format!("column `{name}` is missing or of another type"),
        hint: "the columns of CIFAR-100 are `img` (struct of bytes and path) and `fine_label`"
            .to_owned(),
    }
}
