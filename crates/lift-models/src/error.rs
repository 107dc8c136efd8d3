//! What can go wrong while a model is read or run. Messages start with the file.

use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// One variant a way to be wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}{}", io_hint(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A safetensors file whose header or data is damaged.
    #[error(
        "{path}: not a whole safetensors file: {reason}\nhint: fetch the file again; a size that differs from the publisher's means a cut download"
    )]
    BadSafetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of `torch.save` that is damaged or no state dict.
    #[error("{path}: {reason}\nhint: {hint}")]
    BadPickle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, or what it wants to call.
        reason: String,
        /// What the user can do.
        hint: String,
    },
    /// `config.json` or another JSON file does not say what is needed.
    #[error("{path}: {reason}")]
    BadConfig {
        /// The file.
        path: PathBuf,
        /// Which field, and what was expected.
        reason: String,
    },
    /// The model folder lacks a file.
    #[error("{path}: no such file\nhint: {hint}")]
    MissingFile {
        /// The file that was looked for.
        path: PathBuf,
        /// Which files belong where.
        hint: String,
    },
    /// A model cannot be fetched by its name on the hub.
    #[error("{id}: {reason}\nhint: {hint}")]
    Hub {
        /// `org/name`, and the revision where one was given.
        id: String,
        /// What is wrong, with the address where there is one.
        reason: String,
        /// What the user can do.
        hint: String,
    },
    /// An environment variable cannot be used.
    #[error("{name}: {reason}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// Tensor names fit none of the known layouts.
    #[error(
        "{path}: unknown checkpoint layout\nhint: expected Hugging Face CLIPModel names (`vision_model.…`), OpenAI / open_clip names (`visual.…`) or timm ViT names (`cls_token`, `blocks.…`); the file has {first:?}"
    )]
    UnknownLayout {
        /// The file.
        path: PathBuf,
        /// The first tensor name of the file.
        first: String,
    },
    /// The tensors differ from what the configuration asks for.
    #[error("{path}: the checkpoint does not fit its configuration:\n{}", problems.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n") + BAD_CHECKPOINT_HINT)]
    BadCheckpoint {
        /// The file.
        path: PathBuf,
        /// One line a tensor: missing, extra or wrongly shaped.
        problems: Vec<String>,
    },
    /// The tensors have the right names and shapes, and NaN or infinity in them.
    #[error("{path}: nothing can be computed with this checkpoint:\n{}\nhint: fetch the model again; if its publisher's file is like that, it is of no use", tensors.iter().map(|t| format!("  {t}")).collect::<Vec<_>>().join("\n"))]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// One line a tensor, with the place.
        tensors: Vec<String>,
    },
    /// The tokenizer cannot be built or refuses a text.
    #[error("{path}: {reason}")]
    Tokenizer {
        /// `tokenizer.json`.
        path: PathBuf,
        /// What the tokenizer said.
        reason: String,
    },
    /// A resolution that does not fit the patches of the tower.
    #[error(
        "resolution {asked} does not fit patches of {patch} pixels\nhint: use a multiple of {patch} up to 4096, such as {nearest}"
    )]
    Resolution {
        /// As asked for.
        asked: i64,
        /// Side of a patch.
        patch: i64,
        /// One that fits.
        nearest: i64,
    },
    /// Memory does not suffice.
    #[error("{device}: out of memory: {reason}\nhint: {hint}")]
    OutOfMemory {
        /// Where.
        device: String,
        /// What was asked for, and when.
        reason: String,
        /// What should fit.
        hint: String,
    },
    /// The device that was asked for is not there.
    #[error("device {asked}: {reason}")]
    Device {
        /// As typed.
        asked: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// libtorch refused an operation that tch does not have.
    #[error("libtorch: {0}")]
    Libtorch(String),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl Error {
    /// Attaches `path` to an I/O error.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// For a model by its name on the hub.
    pub(crate) fn hub(id: &impl std::fmt::Display, reason: String, hint: &str) -> Self {
        Self::Hub {
            id: id.to_string(),
            reason,
            hint: hint.into(),
        }
    }
}

const BAD_CHECKPOINT_HINT: &str =
    "\nhint: the tensors and the config.json must come from the same, whole model";

fn io_hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::NotFound => "\nhint: check the path",
        std::io::ErrorKind::PermissionDenied => "\nhint: check the permissions",
        _ => "",
    }
}
