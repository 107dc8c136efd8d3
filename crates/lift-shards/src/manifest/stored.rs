//! How images are stored, and how well they were looked at before.

use serde::{Deserialize, Serialize};

/// How the image column holds an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Decoded pixels: three bytes a pixel, rows from the top.
    Rgb8,
    /// A JPEG file of the resized image.
    Jpeg,
    /// A PNG file of the resized image: its pixels without loss, smaller than pixels and slower to read.
    Png,
    /// The source file's bytes, neither resized nor encoded again.
    Original,
}

impl Encoding {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 4] = [
        (
            Self::Rgb8,
            "rgb8",
            "Decoded pixels: three bytes a pixel, rows from the top",
        ),
        (Self::Jpeg, "jpeg", "A JPEG file of the resized image"),
        (
            Self::Png,
            "png",
            "A PNG file of the resized image: its pixels without loss, smaller than pixels and slower to read",
        ),
        (
            Self::Original,
            "original",
            "The source file's bytes, neither resized nor encoded again",
        ),
    ];
}

impl Encoding {
    /// Whether an image is stored as a file that image libraries open, not as bare pixels.
    pub fn is_file(self) -> bool {
        match self {
            Encoding::Rgb8 => false,
            Encoding::Jpeg | Encoding::Png | Encoding::Original => true,
        }
    }
}

/// How well images are looked at that are stored as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Its header says what it is and how large; a JPEG has its end. Other damage shows when it is loaded.
    #[default]
    Header,
    /// All of it can be decoded.
    Decode,
}

impl Check {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 2] = [
        (
            Self::Header,
            "header",
            "Its header says what it is and how large; a JPEG has its end. Other damage shows when it is loaded",
        ),
        (Self::Decode, "decode", "All of it can be decoded"),
    ];
}
