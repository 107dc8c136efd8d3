//! What can go wrong with shards and the words that they share.
//!
//! Messages start with the path (or `path: row n`) that is at fault and end with a `hint:` line where the user can act.

use std::io;
use std::path::{Path, PathBuf};

use lift_page::escape::{self, visible};

use crate::split::Split;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure, with the file, row or class it happened at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read.
    #[error("{}: cannot read: {source}{}", escape::path(path), read_hint(source))]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("{}: cannot write: {source}{}", escape::path(path), write_hint(source))]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Shards of a split are wanted, and this folder has none.
    #[error("{}: {reason}\nhint: {hint}", escape::path(dir))]
    NoShards {
        /// The folder.
        dir: PathBuf,
        /// What there is instead.
        reason: String,
        /// What to give.
        hint: String,
    },
    /// A build of a folder has not ended, so that what is in it is not the whole.
    #[error(
        "{}: not complete: {sign}\nhint: run the same `lift-data build` again, which goes on with it (parts: `lift-data commit`); of a copy, copy all of it again",
        escape::path(dir)
    )]
    Unfinished {
        /// The folder.
        dir: PathBuf,
        /// What shows it.
        sign: &'static str,
    },
    /// A folder is called by another split than it holds.
    #[error(
        "{}: the folder is called {named} and holds the {holds} split\nhint: split folders were swapped, renamed or copied; call it {holds} again, or build again",
        escape::path(dir)
    )]
    Misnamed {
        /// The folder.
        dir: PathBuf,
        /// The split that its manifest names.
        holds: Split,
        /// The split that its name promises.
        named: Split,
    },
    /// A manifest does not parse or contradicts itself.
    #[error(
        "{}: bad manifest: {reason}\nhint: build the dataset again",
        escape::path(path)
    )]
    Manifest {
        /// The manifest file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// A shard was written by a version of the format that this program does not know.
    #[error(
        "{}: format version {found}, this program reads version {supported}\nhint: build the dataset again, or use the lift-data that wrote it",
        escape::path(path)
    )]
    FormatVersion {
        /// The manifest file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
        /// The version that this program reads.
        supported: u32,
    },
    /// A shard cannot be read as the manifest describes it.
    #[error(
        "{}: bad shard: {reason}\nhint: run `lift-data verify` on its folder, and build it again",
        escape::path(path)
    )]
    Shard {
        /// The shard file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The listing of bad images is not the manifest's.
    #[error(
        "{}: {reason}\nhint: run `lift-data verify` on its folder, and build it again",
        escape::path(path)
    )]
    Listing {
        /// The listing.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The output folder already holds something.
    #[error(
        "{}: already exists and is not empty\nhint: remove it, or choose another --out",
        escape::path(path)
    )]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// No long tail has such a ratio.
    #[error(
        "imbalance ratio {ratio} is out of range\nhint: it is the largest class over the smallest, so at least 1"
    )]
    ImbalanceRatio {
        /// As asked for.
        ratio: f64,
    },
    /// Shards lie where a source of images is wanted.
    #[error(
        "{}: holds shards that `lift-data build` wrote, where a source of images is wanted\nhint: name the source that they were built from, or write their images out first with `lift-data export`",
        escape::path(dir)
    )]
    NoSource {
        /// The shards' folder.
        dir: PathBuf,
    },
    /// A row's stored bytes differ from its checksum.
    #[error(
        "{}: row {row} ({}): checksum mismatch: the stored bytes have changed since they were written\nhint: run `lift-data verify` on its folder, and build it again",
        escape::path(path),
        visible(source_path)
    )]
    Checksum {
        /// The shard file.
        path: PathBuf,
        /// The row's position in that shard, from 0.
        row: u64,
        /// Where the image came from.
        source_path: String,
    },
    /// A stored image cannot be decoded.
    #[error(
        "{}: cannot decode: {source}\nhint: build the shards again with --check decode, which finds such images, and --max-bad",
        visible(path)
    )]
    Decode {
        /// The image's path, as in the shard.
        path: String,
        /// What is wrong with it.
        source: lift_image::decode::DecodeError,
    },
    /// Pixels that cannot be resized or encoded as wanted.
    #[error(transparent)]
    Image(#[from] lift_image::Error),
    /// A list of class names that cannot be one.
    #[error(
        "{}: bad class names: {reason}\nhint: give one non-blank name a class",
        visible(origin)
    )]
    ClassNames {
        /// Where the names came from.
        origin: String,
        /// What is wrong with them.
        reason: String,
    },
    /// Two classes whose names are the same letters in other code points.
    #[error(
        "{origin}: class {first} and class {second} are one name in two spellings\nhint: write it the same way in both places, and it is one class; or give one of them another name"
    )]
    TwinNames {
        /// Where the names came from.
        origin: String,
        /// The first, with its code points.
        first: String,
        /// The second.
        second: String,
    },
}

impl Error {
    /// An [`Error::Read`] of `path`, for `map_err`.
    pub fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Read { path, source }
    }

    /// An [`Error::Write`] of a table; the library wraps what the system says, whose words are the ones to show.
    pub fn write_csv(path: &Path, err: csv::Error) -> Error {
        let source = match err.into_kind() {
            csv::ErrorKind::Io(source) => source,
            other => io::Error::other(format!("{other:?}")),
        };
        Error::write(path)(source)
    }

    /// An [`Error::Write`] of `path`, for `map_err`.
    pub fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Write { path, source }
    }
}

fn read_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "\nhint: check the path",
        io::ErrorKind::PermissionDenied => "\nhint: check the permissions",
        _ => "",
    }
}

fn write_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: make room and run the same command again; what is finished is kept"
        }
        io::ErrorKind::FileTooLarge => {
            "\nhint: raise the limit (ulimit -f), or write to another file system, and run the same command again; what is finished is kept"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\nhint: check the permissions, or write to another folder"
        }
        _ => "",
    }
}
