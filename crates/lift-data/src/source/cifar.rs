//! CIFAR-10 and CIFAR-100 in any of the forms in which people have them: the python archive, the
//! binary archive (unpacked or as `.tar.gz`), or Hugging Face Parquet.
//!
//! A dataset has 60,000 images of 3 kB, so the chosen ones are held in memory, as PNG files. Invariant:
//! the same rows give the same items from every form (but for their `path`), and the training images
//! are those that LIFT's reference code would choose from the same row order.

mod archive;
mod parquet;
mod pickle;
mod raw;

use std::path::{Path, PathBuf};

use polars::prelude::DataFrame;

use super::{Bounds, LeftOut, Source, SplitList};
use crate::error::{Error, Result};
use crate::profile::{LongTail, Rounding};
use lift_shards::classes::ClassNames;
use lift_shards::longtail;
use lift_shards::split::Split;

/// Which of the two datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ten classes.
    Cifar10,
    /// A hundred classes, the fine labels.
    Cifar100,
}

/// How the archive stores rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Python,
    Binary,
}

/// Where the dataset was found.
enum Origin {
    /// A folder with `train-*.parquet` and `test-*.parquet`.
    Parquet(PathBuf),
    /// A folder with the unpacked archive's files.
    Folder(PathBuf, Format),
    /// A `.tar.gz`.
    Archive(PathBuf, Format),
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Cifar10 => "CIFAR-10",
            Kind::Cifar100 => "CIFAR-100",
        }
    }

    /// The label's column in Parquet.
    fn parquet_label(self) -> &'static str {
        match self {
            Kind::Cifar10 => "label",
            Kind::Cifar100 => "fine_label",
        }
    }

    /// The label's key in a pickle.
    fn pickle_labels(self) -> &'static str {
        match self {
            Kind::Cifar10 => "labels",
            Kind::Cifar100 => "fine_labels",
        }
    }

    /// Bytes of label in front of a binary row; the last is the one that counts (CIFAR-100 has the
    /// coarse label first).
    fn binary_label_bytes(self) -> usize {
        match self {
            Kind::Cifar10 => 1,
            Kind::Cifar100 => 2,
        }
    }

    /// The folder that the archive unpacks to.
    fn folder(self, format: Format) -> &'static str {
        match (self, format) {
            (Kind::Cifar10, Format::Python) => "cifar-10-batches-py",
            (Kind::Cifar10, Format::Binary) => "cifar-10-batches-bin",
            (Kind::Cifar100, Format::Python) => "cifar-100-python",
            (Kind::Cifar100, Format::Binary) => "cifar-100-binary",
        }
    }

    fn archive(self, format: Format) -> &'static str {
        match (self, format) {
            (Kind::Cifar10, Format::Python) => "cifar-10-python.tar.gz",
            (Kind::Cifar10, Format::Binary) => "cifar-10-binary.tar.gz",
            (Kind::Cifar100, Format::Python) => "cifar-100-python.tar.gz",
            (Kind::Cifar100, Format::Binary) => "cifar-100-binary.tar.gz",
        }
    }

    /// The files of a split, in the order of their rows.
    fn files(self, split: Split, format: Format) -> Vec<String> {
        let names: &[&str] = match (self, split) {
            (_, Split::Val) => &[],
            (Kind::Cifar10, Split::Train) => &[
                "data_batch_1",
                "data_batch_2",
                "data_batch_3",
                "data_batch_4",
                "data_batch_5",
            ],
            (Kind::Cifar10, Split::Test) => &["test_batch"],
            (Kind::Cifar100, Split::Train) => &["train"],
            (Kind::Cifar100, Split::Test) => &["test"],
        };
        let end = match format {
            Format::Python => "",
            Format::Binary => ".bin",
        };
        names.iter().map(|name| format!("{name}{end}")).collect()
    }
}

/// Reads `splits` of `kind` from `source`: a `.tar.gz`, a folder with the dataset's files, or a folder
/// that holds either. The training split is cut to `long_tail`, chosen by `seed`.
pub fn read(
    source: &Path,
    kind: Kind,
    splits: &[Split],
    class_names: ClassNames,
    long_tail: &LongTail,
    seed: u32,
) -> Result<Source> {
    let origin = find(source, kind)?;
    let num_classes = class_names.len();
    let lists = splits
        .iter()
        .map(|&split| {
            let choose = |labels: &[u32]| match split {
                Split::Train => choose(labels, num_classes, long_tail, seed),
                Split::Val | Split::Test => Ok((0..labels.len()).collect()),
            };
            let items = match &origin {
                Origin::Parquet(dir) => {
                    let files = parquet::files(dir, split)?;
                    let labels = parquet::read_labels(&files, kind, num_classes)?;
                    parquet::read_images(dir, &files, &labels, &choose(&labels)?)?
                }
                Origin::Folder(..) | Origin::Archive(..) => {
                    let rows = read_rows(&origin, kind, split, num_classes)?;
                    rows.items(&choose(&rows.labels)?)
                }
            };
            Ok(SplitList {
                split,
                root: source.to_owned(),
                bounds: Bounds::default(),
                items,
                columns: DataFrame::default(),
                imbalance_ratio: long_tail
                    .imbalance_ratio()
                    .filter(|_| split == Split::Train),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Source {
        class_names,
        splits: lists,
        left_out: LeftOut::default(),
        column_names: Vec::new(),
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
    let keep = long_tail.counts(&counts, Rounding::Reference)?;
    Ok(longtail::select(labels, &keep, seed))
}

fn read_rows(origin: &Origin, kind: Kind, split: Split, num_classes: usize) -> Result<raw::Rows> {
    let mut rows = raw::Rows::default();
    let mut append = |file: &Path, name: &str, format: Format, bytes: &[u8]| match format {
        Format::Python => rows.append_pickle(file, name, bytes, kind, num_classes),
        Format::Binary => rows.append_binary(file, name, bytes, kind, num_classes),
    };
    match origin {
        Origin::Parquet(_) => {}
        Origin::Folder(dir, format) => {
            for name in kind.files(split, *format) {
                let file = dir.join(&name);
                let bytes = archive::read_file(&file)?;
                append(&file, &name, *format, &bytes)?;
            }
        }
        Origin::Archive(path, format) => {
            let names = kind.files(split, *format);
            let members = archive::read_members(path, kind.folder(*format), &names)?;
            for (name, bytes) in names.iter().zip(members) {
                append(&path.join(name), name, *format, &bytes)?;
            }
        }
    }
    Ok(rows)
}

/// The form in which `source` holds the dataset. Where it holds several they are the same images, and
/// the first counts: Parquet, python, binary; unpacked before packed.
fn find(source: &Path, kind: Kind) -> Result<Origin> {
    let formats = [Format::Python, Format::Binary];
    let holds = |dir: &Path, format| {
        [Split::Train, Split::Test]
            .iter()
            .flat_map(|&split| kind.files(split, format))
            .any(|name| dir.join(name).is_file())
    };
    if source.is_file() {
        for format in formats {
            let names = [Split::Train, Split::Test].map(|split| kind.files(split, format));
            if archive::has_member(source, kind.folder(format), &names.concat())? {
                return Ok(Origin::Archive(source.to_owned(), format));
            }
        }
    } else {
        if source.is_dir() && parquet::is_there(source)? {
            return Ok(Origin::Parquet(source.to_owned()));
        }
        for dir in [None, Some(())] {
            for format in formats {
                let dir = match dir {
                    None => source.to_owned(),
                    Some(()) => source.join(kind.folder(format)),
                };
                if holds(&dir, format) {
                    return Ok(Origin::Folder(dir, format));
                }
            }
        }
        for format in formats {
            let path = source.join(kind.archive(format));
            if path.is_file() {
                return Ok(Origin::Archive(path, format));
            }
        }
    }
    Err(Error::Source {
        path: source.to_owned(),
        reason: format!("there is no {} in it", kind.as_str()),
        hint: format!(
            "name {}, {}, a folder that holds one of them or what it unpacks to, or the folder with \
             train-*.parquet and test-*.parquet from Hugging Face (uoft-cs/{})",
            kind.archive(Format::Python),
            kind.archive(Format::Binary),
            kind.as_str().to_lowercase().replace('-', ""),
        ),
    })
}

#[cfg(test)]
mod tests;
