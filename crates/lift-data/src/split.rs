//! The words of long-tailed recognition: which split, and which band a class falls in.
//!
//! It holds no image and no list. Invariant: bands are decided by the *training* count of a class,
//! whatever split is being evaluated.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the two splits of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What the model learns from; its class counts are long-tailed.
    Train,
    /// What it is judged on; usually balanced.
    Test,
}

impl Split {
    /// `train` or `test`, also the name of the split's folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "train" => Ok(Split::Train),
            "test" => Ok(Split::Test),
            _ => Err(format!(
                "`{text}` is no split; the splits are train and test"
            )),
        }
    }
}

/// How often a class occurs in the training split, in three steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Band {
    /// More than 100 training images.
    Many,
    /// 20 to 100 training images.
    Medium,
    /// Fewer than 20 training images.
    Few,
}

impl Band {
    /// The bands from head to tail.
    pub const ALL: [Band; 3] = [Band::Many, Band::Medium, Band::Few];

    /// `many`, `medium` or `few`.
    pub fn as_str(self) -> &'static str {
        match self {
            Band::Many => "many",
            Band::Medium => "medium",
            Band::Few => "few",
        }
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where the bands end, in training images a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandEdges {
    /// A class with more images than this is `many`.
    pub many_above: u64,
    /// A class with fewer images than this is `few`.
    pub few_below: u64,
}

impl Default for BandEdges {
    /// The field's usual edges (OLTR, CVPR 2019): many > 100, few < 20.
    fn default() -> Self {
        Self {
            many_above: 100,
            few_below: 20,
        }
    }
}

impl BandEdges {
    /// The band of a class with `n` training images.
    pub fn band(&self, n: u64) -> Band {
        if n > self.many_above {
            Band::Many
        } else if n < self.few_below {
            Band::Few
        } else {
            Band::Medium
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn band_edges_are_inclusive_in_the_middle() {
        let band = |n| BandEdges::default().band(n);
        assert_eq!(
            [0, 19, 20, 100, 101, 5000].map(band),
            [
                Band::Few,
                Band::Few,
                Band::Medium,
                Band::Medium,
                Band::Many,
                Band::Many
            ]
        );
    }

    #[test]
    fn split_round_trips_as_text() {
        for split in [Split::Train, Split::Test] {
            assert_eq!(split.to_string().parse(), Ok(split));
            assert_eq!(
                serde_json::to_string(&split).unwrap(),
                format!("\"{split}\"")
            );
        }
        assert!("val".parse::<Split>().is_err());
    }
}
