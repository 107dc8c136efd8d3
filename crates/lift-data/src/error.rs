//! Everything that can go wrong in this crate, one variant a way to be wrong.
//!
//! Messages start with the path (or `path:line`, or `path: row n`) that is at fault and end with a
//! `hint:` line where the user can act. Nothing is reported here: errors are returned, and the
//! binary prints them once.

use std::io;
use std::path::PathBuf;

use lift_page::escape::{self, visible};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure, with the file, row or class it happened at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Shards, or a file that cannot be read or written.
    #[error(transparent)]
    Shards(#[from] lift_shards::Error),
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
    /// That `path` cannot be read, for `map_err`.
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let error = lift_shards::Error::read(path);
        |source| error(source).into()
    }

    /// That `path` cannot be written, for `map_err`.
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let error = lift_shards::Error::write(path);
        |source| error(source).into()
    }
}

impl From<lift_image::Error> for Error {
    fn from(error: lift_image::Error) -> Self {
        Self::Shards(error.into())
    }
}

fn empty_class_hint(from_one: bool) -> &'static str {
    if from_one {
        "every other class has images, as if labels began at 1: they count from 0, so take 1 off each label; or add images of it"
    } else {
        "add images of it, or take it out of the class names; where --where or --exclude left it none for training, leave out its other images too"
    }
}
