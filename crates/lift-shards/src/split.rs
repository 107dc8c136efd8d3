//! The words of long-tailed recognition: which split, and which band a class falls in.
//!
//! It holds no image and no list. Invariant: bands are decided by the *training* count of a class,
//! whatever split is being evaluated.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the splits of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What the model learns from; its class counts are long-tailed.
    Train,
    /// What settings are chosen on.
    Val,
    /// What it is judged on; usually balanced.
    Test,
}

impl Split {
    /// The splits in their usual order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];

    /// `train`, `val` or `test`, also the name of the split's folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
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
            "val" => Ok(Split::Val),
            "test" => Ok(Split::Test),
            _ => Err(format!(
                "`{text}` is no split; the splits are train, val and test"
            )),
        }
    }
}

/// How often a class occurs in the training split, in three steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Band {
    /// More than 100 training images, by the usual edges.
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
    /// Edges for which no class falls in two bands; else says what is wrong with them.
    pub fn new(many_above: u64, few_below: u64) -> Result<Self, String> {
        if few_below > many_above.saturating_add(1) {
            return Err(format!(
                "a class of {} images would be both many (> {many_above}) and few (< {few_below})",
                many_above.saturating_add(1)
            ));
        }
        Ok(Self {
            many_above,
            few_below,
        })
    }

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

impl fmt::Display for BandEdges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.many_above, self.few_below)
    }
}

impl FromStr for BandEdges {
    type Err = String;

    /// `100,20`: many above the first, few below the second.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not two whole numbers such as 100,20");
        let (many, few) = text.split_once(',').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse().map_err(|_| wrong());
        Self::new(number(many)?, number(few)?)
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
    fn edges_are_two_numbers_in_order() {
        let edges: BandEdges = "50, 5".parse().unwrap();
        assert_eq!(edges.to_string().parse(), Ok(edges));
        assert_eq!([4, 5, 50, 51].map(|n| edges.band(n) as u8), [2, 1, 1, 0]);
        // Without a medium band.
        let edges: BandEdges = "9,10".parse().unwrap();
        assert_eq!([9, 10].map(|n| edges.band(n)), [Band::Few, Band::Many]);
        for wrong in ["", "100", "20,100", "a,b", "-1,5", "1,2,3"] {
            assert!(wrong.parse::<BandEdges>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn split_round_trips_as_text() {
        for split in Split::ALL {
            assert_eq!(split.to_string().parse(), Ok(split));
            assert_eq!(
                serde_json::to_string(&split).unwrap(),
                format!("\"{split}\"")
            );
        }
        assert!("valid".parse::<Split>().is_err());
    }
}
