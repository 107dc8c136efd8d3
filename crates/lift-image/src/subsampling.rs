//! How a JPEG stores colour: what encoders agree on.

use serde::{Deserialize, Serialize};

/// How a JPEG stores colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Subsampling {
    /// 4:2:0: one colour sample for four pixels, as nearly all photos have it.
    #[default]
    #[serde(rename = "420")]
    #[value(name = "420")]
    Quarter,
    /// 4:4:4: one for each pixel; sharper coloured edges, larger files.
    #[serde(rename = "444")]
    #[value(name = "444")]
    Full,
}
