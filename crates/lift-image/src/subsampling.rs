//! How a JPEG stores colour: what encoders agree on.

use serde::{Deserialize, Serialize};

/// How a JPEG stores colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subsampling {
    /// 4:2:0: one colour sample for four pixels, as nearly all photos have it.
    #[default]
    #[serde(rename = "420")]
    Quarter,
    /// 4:4:4: one for each pixel; sharper coloured edges, larger files.
    #[serde(rename = "444")]
    Full,
}

impl Subsampling {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 2] = [
        (
            Self::Quarter,
            "420",
            "4:2:0: one colour sample for four pixels, as nearly all photos have it",
        ),
        (
            Self::Full,
            "444",
            "4:4:4: one for each pixel; sharper coloured edges, larger files",
        ),
    ];
}
