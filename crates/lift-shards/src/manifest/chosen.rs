//! What a manifest says of the choice of its images.

use serde::{Deserialize, Serialize};

/// What was taken of a source by more than its splits and its tail.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Chosen {
    /// The SQL condition that every image fulfils.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// A table that said more of the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<ChosenFile>,
    /// A table of images that were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<ChosenFile>,
    /// The most images that a split was to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The column whose values hold-outs do not part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// The part of the training split that is the test split, such as `0/5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<String>,
}

/// A file that a choice was made by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChosenFile {
    /// Its name, without folders.
    pub file: String,
    /// Hex SHA-256 of it.
    pub sha256: String,
    /// The columns that were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
}
