//! What can go wrong between shards and batches.

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// One variant a way to be wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A shard or an image in it cannot be read.
    #[error(transparent)]
    Shards(#[from] lift_shards::Error),
    /// Shards are to lie in memory, and there is not enough.
    #[error("{0}")]
    Memory(String),
    /// Threads cannot be started.
    #[error("cannot start {threads} loader threads: {source}")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system said.
        source: rayon::ThreadPoolBuildError,
    },
    /// Memory that a device copies from cannot be had, or the device failed.
    #[error(transparent)]
    Device(Box<dyn std::error::Error + Send + Sync>),
    /// The thread that prepares batches ended before its work did.
    #[error(
        "the loader stopped before its last image\nhint: this is a bug of lift-train; the lines above say where"
    )]
    Stopped,
}

impl From<lift_image::Error> for Error {
    fn from(error: lift_image::Error) -> Self {
        Self::Shards(error.into())
    }
}
