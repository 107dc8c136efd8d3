//! The datasets that this program knows by name, from the compiled-in `datasets/NAME.toml`.
//!
//! A dataset's file gives its class names and the image counts that a right build has; how its source
//! is read is code. Invariant: every file parses (a test reads them all).

use serde::Deserialize;

use crate::classes::ClassNames;
use crate::error::{Error, Result};
use crate::split::Split;

const FILES: [(&str, &str); 2] = [
    (
        "cifar100-lt",
        include_str!("../../../datasets/cifar100-lt.toml"),
    ),
    (
        "shapes-lt",
        include_str!("../../../datasets/shapes-lt.toml"),
    ),
];

/// What is known of a named dataset.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// Its name on the command line.
    pub name: String,
    /// One sentence on what it is.
    pub about: String,
    /// Class names in label order.
    pub class_names: ClassNames,
    /// Images that a right build has.
    #[serde(default)]
    pub expected: Vec<Expected>,
}

/// How many images a split has.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Which split.
    pub split: Split,
    /// For this imbalance ratio only; `None`: always.
    pub imbalance_ratio: Option<f64>,
    /// Images in all.
    pub images: u64,
}

impl DatasetSpec {
    /// The dataset called `name`; an unknown name is an error that lists the known ones.
    pub fn find(name: &str) -> Result<Self> {
        let (_, text) = FILES
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| {
                let known: Vec<_> = names().collect();
                Error::Setting {
                    reason: format!("`{name}` is not a dataset with known class names"),
                    hint: format!("known are {}", known.join(", ")),
                }
            })?;
        Ok(toml::from_str(text).expect("compiled-in dataset files parse"))
    }

    /// The image count that `split` must have at `imbalance_ratio`, where it is known.
    pub fn expected_images(&self, split: Split, imbalance_ratio: Option<f64>) -> Option<u64> {
        let applies = |expected: &&Expected| {
            expected.split == split
                && (expected.imbalance_ratio.is_none()
                    || expected.imbalance_ratio == imbalance_ratio)
        };
        self.expected
            .iter()
            .find(applies)
            .map(|expected| expected.images)
    }
}

/// The names of the datasets with known class names.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_parses_and_bears_its_name() {
        for name in names() {
            assert_eq!(DatasetSpec::find(name).unwrap().name, name);
        }
        let err = DatasetSpec::find("mnist").unwrap_err().to_string();
        assert!(err.contains("known are cifar100-lt, shapes-lt"), "{err}");
    }

    #[test]
    fn shapes_are_named_as_they_are_drawn() {
        let spec = DatasetSpec::find("shapes-lt").unwrap();
        assert_eq!(spec.class_names.as_slice(), crate::shapes::class_names());
    }

    #[test]
    fn cifar_has_its_published_counts() {
        let spec = DatasetSpec::find("cifar100-lt").unwrap();
        assert_eq!(spec.class_names.len(), 100);
        assert_eq!(
            spec.expected_images(Split::Train, Some(100.0)),
            Some(10_847)
        );
        assert_eq!(spec.expected_images(Split::Train, Some(37.0)), None);
        assert_eq!(spec.expected_images(Split::Test, None), Some(10_000));
    }
}
