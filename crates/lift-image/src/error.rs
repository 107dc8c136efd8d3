//! What can go wrong with pixels; what can with bytes that should be an image is [`crate::decode::DecodeError`].

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A way to fail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A crop or a size that does not fit the image or the buffer.
    #[error("cannot resize: {reason}")]
    Resize {
        /// What does not fit.
        reason: String,
    },
    /// Pixels that the format cannot hold.
    #[error("cannot encode: {reason}")]
    Encode {
        /// What does not fit.
        reason: String,
    },
}
