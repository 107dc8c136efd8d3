//! Everything that can go wrong in this crate, one variant a way to be wrong.
//!
//! Messages start with the path (or `path:line`, or `path: row n`) that is at fault and end with a
//! `hint:` line where the user can act. Nothing is reported here: errors are returned, and the
//! binary prints them once.

use std::io;
use std::path::{Path, PathBuf};

use crate::split::Split;
use lift_page::escape::{self, visible};

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
    /// A source image cannot be read or decoded, and none may be bad.
    #[error(
        "{}: {reason}\nhint: repair or remove the file, or leave out up to N bad ones with --max-bad N",
        visible(path)
    )]
    BadImage {
        /// The image's path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More images were bad than the user allowed.
    #[error(
        "{}: {reason} (bad image number {count}, --max-bad is {allowed})\nhint: repair or remove the bad files, or allow more with --max-bad",
        visible(path)
    )]
    TooManyBad {
        /// The image at which the limit was passed.
        path: String,
        /// What is wrong with it.
        reason: String,
        /// How many were bad by then.
        count: u64,
        /// How many were allowed.
        allowed: u64,
    },
    /// The last image of a training class, or of a split, is bad: nothing would be left of it.
    #[error("{}: {reason}: {}\nhint: {hint}", visible(path), visible(what))]
    LastImage {
        /// The image's path.
        path: String,
        /// What is wrong with it.
        reason: String,
        /// What it was the last of.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Source and output lie in each other.
    #[error(
        "{}: the output folder {how} the source {}\nhint: choose an --out beside the source, neither in it nor around it: a build reads all that lies in its source",
        escape::path(out),
        escape::path(source_dir)
    )]
    Overlap {
        /// The output folder.
        out: PathBuf,
        /// How it lies to the source: `lies inside`.
        how: &'static str,
        /// The source's folder.
        source_dir: PathBuf,
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
    /// A class of the training split has no image.
    #[error(
        "{}: class {label} ({}) has no training image\nhint: {}",
        escape::path(path),
        visible(name),
        empty_class_hint(*from_one)
    )]
    EmptyClass {
        /// The source that was read.
        path: PathBuf,
        /// The class.
        label: u32,
        /// Its name.
        name: String,
        /// Whether it is the first class, and every other one has images.
        from_one: bool,
    },
    /// A label beyond the class names.
    #[error("{}: label {label} is out of range: there are {num_classes} classes, labels are 0 to {}\nhint: labels count from 0; check the list against the class names", visible(location), num_classes.saturating_sub(1))]
    Label {
        /// The file with its line or row.
        location: String,
        /// The label found.
        label: i64,
        /// How many classes there are.
        num_classes: usize,
    },
    /// A line of a list file that is not `path label`.
    #[error(
        "{}:{line}: {reason}\nhint: every line is `relative/path.jpg label`, the label a whole number from 0",
        escape::path(path)
    )]
    ListLine {
        /// The list file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A source without the files that its dataset needs.
    #[error("{}: {reason}\nhint: {hint}", escape::path(path))]
    Source {
        /// What was looked at.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// A file that the user asked for cannot be fetched, or is not the right one.
    #[error(
        "{address}: {reason}\nhint: check the address (--list-url), or get the file by hand and name its folder with --lists"
    )]
    Download {
        /// Where it was fetched from.
        address: String,
        /// What went wrong.
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
    /// The output folder belongs to a build with other settings.
    #[error("{}: holds {what} with other settings: {}\nhint: give the same settings to go on with it, remove it, or choose another --out", escape::path(dir), differences.join("; "))]
    OtherBuild {
        /// The split's folder.
        dir: PathBuf,
        /// What is in it.
        what: &'static str,
        /// What differs, a phrase each.
        differences: Vec<String>,
    },
    /// Another process builds into the same folder.
    #[error(
        "{}: another build is writing here\nhint: wait for it to end, or choose another --out",
        escape::path(dir)
    )]
    Busy {
        /// The split's folder.
        dir: PathBuf,
    },
    /// What an unfinished build says of itself cannot be used.
    #[error(
        "{}: not the plan of a build: {reason}\nhint: remove the unfinished folder and build again",
        escape::path(path)
    )]
    BuildState {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// Not all shards are there to be joined.
    #[error(
        "{}: {missing} of {of} shards are missing or damaged: {which}{}\nhint: run their parts again; a part keeps what it has finished",
        escape::path(dir),
        visible(damage)
    )]
    Missing {
        /// The split's folder.
        dir: PathBuf,
        /// How many are missing.
        missing: u64,
        /// How many there must be.
        of: u64,
        /// Their numbers, or the first of them.
        which: String,
        /// What is wrong with the first damaged one, in brackets; empty where none is.
        damage: String,
    },
    /// A settings file that cannot be used.
    #[error(
        "{}: {reason}\nhint: [data] takes the flags of `lift-data build` with underscores, and `dataset`",
        escape::path(path)
    )]
    Config {
        /// The settings file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// A setting that does not fit the others.
    #[error("{reason}\nhint: {hint}")]
    Setting {
        /// What does not fit.
        reason: String,
        /// What to do.
        hint: String,
    },
}

impl Error {
    /// An [`Error::Read`] of `path`, for `map_err`.
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Read { path, source }
    }

    /// An [`Error::Write`] of a table; the library wraps what the system says, whose words are the ones to show.
    pub(crate) fn write_csv(path: &Path, err: csv::Error) -> Error {
        let source = match err.into_kind() {
            csv::ErrorKind::Io(source) => source,
            other => io::Error::other(format!("{other:?}")),
        };
        Error::write(path)(source)
    }

    /// An [`Error::Write`] of `path`, for `map_err`.
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Write { path, source }
    }
}

fn empty_class_hint(from_one: bool) -> &'static str {
    match from_one {
        true => {
            "every other class has images, as if labels began at 1: they count from 0, so take 1 off each label; or add images of it"
        }
        false => "add images of it, or take it out of the class names",
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
