//! What can go wrong in training and evaluation. Messages start with the file where there is one.

use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// One variant a way to be wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Shards are missing, damaged or not what they should be.
    #[error(transparent)]
    Shards(#[from] lift_shards::Error),
    /// The model or the classifier file cannot be used.
    #[error(transparent)]
    Clip(#[from] lift_models::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A setting that was typed, or left out, and cannot be; the program exits with 2.
    #[error("{0}")]
    Usage(String),
    /// A recipe that cannot be read, or inputs that do not go together.
    #[error("{0}")]
    Config(String),
    /// The classes of two inputs differ.
    #[error(
        "{path}: its classes are not those of {other}: {difference}\nhint: make the classifier from the same shards, `lift-text classifier --shards DIR`"
    )]
    ClassesDiffer {
        /// The classifier file or run.
        path: PathBuf,
        /// The shards.
        other: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// A file of a run does not hold what a run holds.
    #[error("{path}: {reason}")]
    BadRun {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What was computed is there, and a file that it was to be written to is not.
    #[error("{source}")]
    Unwritten {
        /// What was computed: a report, as JSON has it.
        report: Box<serde_json::Value>,
        /// Why the file is not there.
        source: Box<Error>,
    },
    /// A device cannot be opened, or a call to it failed.
    #[error("device {device}: {reason}")]
    Device {
        /// As it is typed.
        device: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What came through the device differs from what the CPU makes.
    #[error("device {device}: {failed} of {checks} checks failed")]
    DeviceDiffers {
        /// As it is typed.
        device: String,
        /// How many checks found a difference.
        failed: usize,
        /// Of how many.
        checks: usize,
    },
    /// Images that could not be judged.
    #[error(
        "{} could not be judged, {most} may be bad; what was written says why of each\nhint: --max-bad {bad} lets so many pass",
        lift_page::number::plain(*bad, "image")
    )]
    BadImages {
        /// How many.
        bad: u64,
        /// How many there might have been.
        most: u64,
    },
    /// Tuned tensors do not form a model.
    #[error("{0}")]
    Tensors(String),
    /// What was computed of an image is no number, though every tensor that was read is.
    #[error(
        "{image}: its {values} are not finite\nhint: numbers grew too large on the way: fp16 ends at 65,504, so use --precision fp32 or bf16; in fp32 the tuned tensors are of no use, and the run wants a lower --lr"
    )]
    NotFinite {
        /// Its id, path and shards.
        image: String,
        /// Features or logits.
        values: String,
    },
    /// The loss is no number any more.
    #[error("the loss is {loss} at step {step} (epoch {epoch}, learning rate {lr})\nhint: {cause}")]
    Diverged {
        /// The loss that was seen.
        loss: f64,
        /// Steps done.
        step: usize,
        /// Epoch, from 0.
        epoch: usize,
        /// The learning rate of the step.
        lr: f64,
        /// What it probably comes from, and what to do.
        cause: String,
    },
    /// A run was stopped, and can be gone on with.
    #[error("{run}: stopped after step {step}; `lift-train resume {run}` goes on")]
    Stopped {
        /// Its folder.
        run: PathBuf,
        /// Steps done.
        step: usize,
    },
    /// A replayed run lies too far from its reference.
    #[error("{run}: above tolerance: {what}")]
    AboveTolerance {
        /// The reference run.
        run: PathBuf,
        /// Which numbers.
        what: String,
    },
    /// A batch cannot be prepared.
    #[error(transparent)]
    Loader(#[from] lift_loader::Error),
}

/// A device's failure where the loader asks for its memory.
impl From<Error> for lift_loader::Error {
    fn from(error: Error) -> Self {
        Self::Device(Box::new(error))
    }
}

impl From<lift_image::Error> for Error {
    fn from(error: lift_image::Error) -> Self {
        Self::Shards(error.into())
    }
}

impl Error {
    /// Says of memory that did not suffice in a run how it can be gone on with.
    pub fn in_run(self, run: &Path) -> Self {
        match self {
            Self::Clip(lift_models::Error::OutOfMemory {
                device,
                reason,
                hint,
            }) => Self::Clip(lift_models::Error::OutOfMemory {
                device,
                reason,
                hint: format!(
                    "{hint}\n`lift-train resume {}` goes on, and takes --accumulate, --max-memory and --eval-batch-size",
                    run.display()
                ),
            }),
            other => other,
        }
    }

    /// Attaches `path` to an I/O error.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
