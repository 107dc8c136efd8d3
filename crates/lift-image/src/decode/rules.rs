//! What decides how an image is decoded, beside its bytes.
//!
//! It decodes nothing. Invariant: what a build was told stands in its manifest, so that who reads its shards decodes by
//! the same rules.

use image::ImageFormat;
use image::metadata::Orientation as Turn;
use serde::{Deserialize, Serialize};

use super::{DecodeError, upright};

/// The most pixels an image may have, unless the user says otherwise: no camera has as many, and Pillow takes more for
/// an attack as well.
pub const MAX_PIXELS: u64 = 178_956_970;

/// What becomes of an EXIF orientation tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Orientation {
    /// The image is turned upright as the tag says.
    Exif,
    /// The pixels stay as they are stored (what the paper's code does).
    Ignore,
}

impl Orientation {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 2] = [
        (
            Self::Exif,
            "exif",
            "The image is turned upright as the tag says",
        ),
        (
            Self::Ignore,
            "ignore",
            "The pixels stay as they are stored (what the paper's code does)",
        ),
    ];
}

/// What becomes of a JPEG whose coded data is damaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Damaged {
    /// It is a bad image.
    #[default]
    Refuse,
    /// It is taken, with grey or wrong pixels where data is missing, and marked.
    Keep,
}

impl Damaged {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 2] = [
        (Self::Refuse, "refuse", "It is a bad image"),
        (
            Self::Keep,
            "keep",
            "It is taken, with grey or wrong pixels where data is missing, and marked",
        ),
    ];
}

/// How images are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether EXIF turns them.
    pub orientation: Orientation,
    /// What becomes of damaged JPEGs.
    pub damaged: Damaged,
    /// The most pixels one may have.
    pub max_pixels: u64,
}

impl From<Orientation> for Rules {
    /// Nothing damaged, and [`MAX_PIXELS`].
    fn from(orientation: Orientation) -> Self {
        Self {
            orientation,
            damaged: Damaged::Refuse,
            max_pixels: MAX_PIXELS,
        }
    }
}

impl Rules {
    pub(super) fn check_pixels(&self, width: u32, height: u32) -> Result<(), DecodeError> {
        if (1..=self.max_pixels).contains(&(u64::from(width) * u64::from(height))) {
            Ok(())
        } else {
            Err(DecodeError::Size {
                width,
                height,
                most: self.max_pixels,
            })
        }
    }

    /// How the image is to be turned.
    pub(super) fn turn(&self, bytes: &[u8], format: ImageFormat) -> Turn {
        match self.orientation {
            Orientation::Exif => upright::turn(bytes, format),
            Orientation::Ignore => Turn::NoTransforms,
        }
    }
}
