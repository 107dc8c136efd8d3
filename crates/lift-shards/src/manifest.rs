//! The manifest of a shard folder: what is in it and how it was made.
//!
//! `manifest.json` is written last, so its presence means that the folder is complete. It does not
//! read shards. Invariant: counts, rows, class names and their hash agree with each other, a changed
//! byte is found by the hash at its end, and nothing in it depends on the time, the machine or the
//! number of threads.

mod chosen;
mod stored;

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::classes::ClassNames;
use crate::error::{Error, Result};
use crate::order::Order;
use crate::sealed;
use crate::shard::{KeptColumn, check_columns};
use crate::split::{BandEdges, Split};
use lift_image::decode::{Damaged, MAX_PIXELS, Orientation, Rules};
use lift_image::encode::Subsampling;

pub use chosen::{Chosen, ChosenFile};
pub use stored::{Check, Encoding};

/// The newest version of the shard format: 2, or 3 where columns of tables are kept or images were chosen.
pub const FORMAT_VERSION: u32 = 3;

/// The oldest version that is read, and what is written where nothing of version 3 is needed.
pub const PLAIN_VERSION: u32 = 2;

/// The manifest's file name.
pub const MANIFEST_FILE: &str = "manifest.json";

/// More than any manifest has: a shard takes some 300 bytes of it, a class its name.
pub const MAX_BYTES: u64 = 1 << 30;

/// The largest `max_pixels`.
pub const MOST_PIXELS: u64 = 1 << 28;

/// One shard file of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// File name in the shard folder.
    pub file: String,
    /// Images in it.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// XXH3-64 of the whole file, 16 hex digits.
    pub xxh3: String,
    /// Length of what follows the last row group: page index and footer.
    pub footer_bytes: u64,
    /// XXH3-64 of that part; checked before it is parsed.
    pub footer_xxh3: String,
    /// XXH3-64 of what lies before the footer and outside the image column's pages: the small columns.
    pub columns_xxh3: String,
}

fn is_usual(damaged: &Damaged) -> bool {
    *damaged == Damaged::default()
}

fn most_pixels() -> u64 {
    MAX_PIXELS
}

fn is_most_pixels(pixels: &u64) -> bool {
    *pixels == MAX_PIXELS
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The file that lists a split's bad images, or the damaged ones that were kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// Its size in bytes.
    pub bytes: u64,
    /// XXH3-64 of it, 16 hex digits.
    pub xxh3: String,
}

/// What a shard folder holds: one split of one dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the program that wrote it.
    pub format_version: u32,
    /// Version of the program that wrote it.
    pub tool_version: String,
    /// The dataset's name, such as `cifar100-lt` or `folder`.
    pub dataset: String,
    /// Which split.
    pub split: Split,
    /// Class names in label order.
    pub class_names: ClassNames,
    /// [`ClassNames::hash`] of them.
    pub class_hash: String,
    /// Images of each class in this split, in label order.
    pub class_counts: Vec<u64>,
    /// Images in this split.
    pub rows: u64,
    /// How images are stored.
    pub encoding: Encoding,
    /// JPEG quality (1 to 100), for [`Encoding::Jpeg`].
    pub jpeg_quality: Option<u8>,
    /// Colour samples of the JPEGs, for [`Encoding::Jpeg`].
    pub jpeg_subsampling: Option<Subsampling>,
    /// Short side in pixels that larger images were shrunk to; `None`: sizes were kept.
    pub short_side: Option<u32>,
    /// Whether smaller images were enlarged to it.
    pub enlarge: bool,
    /// The resampling filter where images were resized: `catmull-rom`.
    pub filter: Option<String>,
    /// Whether EXIF orientation was applied.
    pub orientation: Orientation,
    /// What became of damaged JPEGs.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub damaged: Damaged,
    /// The most pixels that an image could have.
    #[serde(default = "most_pixels", skip_serializing_if = "is_most_pixels")]
    pub max_pixels: u64,
    /// Whether images that were resized were decoded at their full size before.
    #[serde(default)]
    pub exact: bool,
    /// How well images were looked at, for [`Encoding::Original`].
    #[serde(default)]
    pub check: Option<Check>,
    /// How rows follow each other.
    pub order: Order,
    /// Images of the list that a shard stands for (the last may have fewer); a bad image makes it one
    /// row shorter.
    pub rows_per_shard: u64,
    /// Hex SHA-256 over `path label` and a line feed for each image of the list, bad ones too.
    pub list_hash: String,
    /// XXH3-64 over what a sample of the images was stored as: it tells builds apart whose sources or
    /// decoders differ though their lists and settings agree.
    pub sample_xxh3: String,
    /// What was taken of the source by more than its splits and its tail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// The columns of tables that the shards have beside their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<KeptColumn>,
    /// The seed of the long-tailed choice and of the order.
    pub seed: u64,
    /// Imbalance ratio of the long-tailed choice, where one was made.
    pub imbalance_ratio: Option<f64>,
    /// Where the bands of this dataset end, in training images a class.
    #[serde(default)]
    pub bands: BandEdges,
    /// Damaged images that were kept; `damaged.jsonl` has them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept_damaged: u64,
    /// Bad images that were left out and listed in `quarantine.jsonl`.
    pub quarantined: u64,
    /// That file, where there is one; manifests of before it was recorded lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine_file: Option<Listing>,
    /// As `quarantine_file`, of `damaged.jsonl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged_file: Option<Listing>,
    /// The shard files, in row order.
    pub shards: Vec<ShardEntry>,
}

impl Manifest {
    /// How the images of [`Encoding::Original`] are decoded: as the build took them.
    pub fn rules(&self) -> Rules {
        Rules {
            orientation: self.orientation,
            damaged: self.damaged,
            max_pixels: self.max_pixels,
        }
    }

    /// Reads and checks `dir/manifest.json`. Without it the folder is not complete.
    ///
    /// # Errors
    /// Also when the folder is called by another split than it holds: swapped or copied folders would have a model
    /// tested on its training images.
    pub fn load(dir: &Path) -> Result<Self> {
        let manifest = Self::read(dir)?;
        match manifest.misnamed(dir) {
            None => Ok(manifest),
            Some(named) => Err(Error::Misnamed {
                dir: dir.to_owned(),
                holds: manifest.split,
                named,
            }),
        }
    }

    /// The split that the folder's name promises, where it holds another.
    pub fn misnamed(&self, dir: &Path) -> Option<Split> {
        promised_split(dir).filter(|named| *named != self.split)
    }

    /// Whether the `manifest.json` in `dir` is one of ours, whole or damaged: other programs have files of that name.
    pub fn is_in(dir: &Path) -> bool {
        let has = |text: &[u8], key: &[u8]| text.windows(key.len()).any(|window| window == key);
        lift_files::bytes(&dir.join(MANIFEST_FILE), MAX_BYTES)
            .is_ok_and(|text| has(&text, b"\"format_version\"") || has(&text, b"\"class_hash\""))
    }

    /// As [`Manifest::load`], wherever it lies.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST_FILE);
        let bytes = match lift_files::bytes(&path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound && dir.is_dir() => {
                return Err(Error::NoShards {
                    dir: dir.to_owned(),
                    reason: format!("no shards: there is no {MANIFEST_FILE}"),
                    hint: "name the folder of one split that `lift-data build` wrote (such as OUT/train), or run the build again".to_owned(),
                });
            }
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::read(dir)(err));
            }
            Err(err) => return Err(Error::read(path)(err)),
        };
        let bad = |reason: String| Error::Manifest {
            path: path.clone(),
            reason,
        };
        let json: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|err| bad(err.to_string()))?;
        // The version first: another version may have other fields.
        match json
            .get("format_version")
            .and_then(serde_json::Value::as_u64)
        {
            Some(found)
                if (u64::from(PLAIN_VERSION)..=u64::from(FORMAT_VERSION)).contains(&found) => {}
            Some(found) => {
                let supported = FORMAT_VERSION;
                return Err(Error::FormatVersion {
                    path,
                    found,
                    supported,
                });
            }
            None => return Err(bad("there is no format_version".to_owned())),
        }
        let json = sealed::unseal(&bytes, json).map_err(bad)?;
        let manifest: Self = serde_json::from_value(json).map_err(|err| bad(err.to_string()))?;
        manifest.check().map_err(bad)?;
        Ok(manifest)
    }

    /// Writes `dir/manifest.json` atomically. Call it last.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join(MANIFEST_FILE);
        self.check().map_err(|reason| Error::Manifest {
            path: path.clone(),
            reason,
        })?;
        atomic::write_locked(&path, &sealed::seal(self))
    }

    /// The format's version of a manifest with such a choice and such columns.
    pub fn version(chosen: Option<&Chosen>, columns: &[KeptColumn]) -> u32 {
        if chosen.is_some() || !columns.is_empty() {
            FORMAT_VERSION
        } else {
            PLAIN_VERSION
        }
    }

    /// The number of classes.
    pub fn num_classes(&self) -> usize {
        self.class_names.len()
    }

    /// Bytes of all shard files together.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.bytes).sum()
    }

    /// What contradicts itself or cannot be, with the field's name.
    fn check(&self) -> std::result::Result<(), String> {
        self.check_settings()?;
        if checked_sum(self.shards.iter().map(|shard| shard.rows)) != Some(self.rows) {
            return Err(format!("the shards' rows do not sum to {} rows", self.rows));
        }
        if checked_sum(self.shards.iter().map(|shard| shard.bytes)).is_none() {
            return Err("the shards' bytes are more than any disk has".to_owned());
        }
        let mut files = HashSet::new();
        for (nth, shard) in self.shards.iter().enumerate() {
            let file = &shard.file;
            shard
                .check()
                .map_err(|reason| format!("shards[{nth}].{reason}"))?;
            if !files.insert(file) {
                return Err(format!("shards[{nth}].file: `{file}` is there twice"));
            }
        }
        if self.rows.checked_add(self.quarantined).is_none() {
            return Err(format!("quarantined is {}", self.quarantined));
        }
        if self.kept_damaged > self.rows {
            let (damaged, rows) = (self.kept_damaged, self.rows);
            return Err(format!("kept_damaged is {damaged} of {rows} rows"));
        }
        for (field, listing, count) in [
            ("quarantine_file", &self.quarantine_file, self.quarantined),
            ("damaged_file", &self.damaged_file, self.kept_damaged),
        ] {
            let Some(listing) = listing else { continue };
            check_hash("xxh3", &listing.xxh3).map_err(|reason| format!("{field}.{reason}"))?;
            if count == 0 {
                return Err(format!("{field} is there for no image"));
            }
        }
        Ok(())
    }

    /// As [`Manifest::check`], of what is known before the first shard.
    pub fn check_settings(&self) -> std::result::Result<(), String> {
        let expected = Self::version(self.chosen.as_ref(), &self.columns);
        if self.format_version != expected {
            let found = self.format_version;
            return Err(format!(
                "format_version is {found}, with what it says it is {expected}"
            ));
        }
        check_columns(&self.columns)?;
        if self.class_hash != self.class_names.hash() {
            return Err("class_hash is not the hash of class_names".to_owned());
        }
        if self.class_counts.len() != self.class_names.len() {
            return Err(format!(
                "{} class counts for {} class names",
                self.class_counts.len(),
                self.class_names.len()
            ));
        }
        if checked_sum(self.class_counts.iter().copied()) != Some(self.rows) {
            return Err(format!("the class counts do not sum to {} rows", self.rows));
        }
        let within = |field: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!(
                    "{field} is {value}, it is a number from {low} to {high}"
                ))
            }
        };
        if let Some(quality) = self.jpeg_quality {
            within("jpeg_quality", quality.into(), 1, 100)?;
        }
        if let Some(side) = self.short_side {
            within("short_side", side.into(), 1, u32::MAX.into())?;
        }
        within("max_pixels", self.max_pixels, 1, MOST_PIXELS)?;
        within("rows_per_shard", self.rows_per_shard, 1, u64::MAX)?;
        if let Some(ratio) = self.imbalance_ratio
            && !(ratio.is_finite() && ratio >= 1.0)
        {
            return Err(format!(
                "imbalance_ratio is {ratio}, it is a number from 1 on"
            ));
        }
        check_hash("sample_xxh3", &self.sample_xxh3)?;
        BandEdges::new(self.bands.many_above, self.bands.few_below)
            .map_err(|reason| format!("bands: {reason}"))?;
        Ok(())
    }
}

/// The split that a folder's name promises: its name as given, or else the name that it has behind `.` or a link.
pub fn promised_split(dir: &Path) -> Option<Split> {
    let named = |dir: &Path| dir.file_name()?.to_str()?.parse().ok();
    named(dir).or_else(|| named(&std::fs::canonicalize(dir).ok()?))
}

impl ShardEntry {
    /// What cannot be, with the field's name.
    pub fn check(&self) -> std::result::Result<(), String> {
        if !is_plain_name(&self.file) {
            return Err(format!("file: `{}` is not a file name", self.file));
        }
        if self.rows == 0 {
            return Err("rows is 0: a shard has an image".to_owned());
        }
        if self.footer_bytes > self.bytes {
            let (footer, bytes) = (self.footer_bytes, self.bytes);
            return Err(format!("footer_bytes is {footer}, the file has {bytes}"));
        }
        check_hash("xxh3", &self.xxh3)?;
        check_hash("footer_xxh3", &self.footer_xxh3)?;
        check_hash("columns_xxh3", &self.columns_xxh3)
    }
}

fn check_hash(field: &str, text: &str) -> std::result::Result<(), String> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 16 && text.bytes().all(is_digit) {
        Ok(())
    } else {
        Err(format!("{field} is `{text}`, not 16 hex digits"))
    }
}

fn checked_sum(mut numbers: impl Iterator<Item = u64>) -> Option<u64> {
    numbers.try_fold(0_u64, |sum, n| sum.checked_add(n))
}

/// A manifest must not lead out of its folder.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sample() -> Manifest {
        let class_names = ClassNames::new(vec!["a".to_owned(), "b".to_owned()]).unwrap();
        Manifest {
            format_version: PLAIN_VERSION,
            tool_version: "0.1.0".to_owned(),
            dataset: "folder".to_owned(),
            split: Split::Train,
            class_hash: class_names.hash(),
            class_names,
            class_counts: vec![2, 1],
            rows: 3,
            encoding: Encoding::Rgb8,
            jpeg_quality: None,
            jpeg_subsampling: None,
            short_side: Some(256),
            enlarge: false,
            filter: Some("catmull-rom".to_owned()),
            orientation: Orientation::Exif,
            exact: false,
            check: None,
            order: Order::List,
            rows_per_shard: 3,
            list_hash: "0".repeat(64),
            sample_xxh3: "0".repeat(16),
            seed: 0,
            chosen: None,
            columns: Vec::new(),
            imbalance_ratio: None,
            bands: BandEdges::default(),
            damaged: Damaged::Refuse,
            max_pixels: MAX_PIXELS,
            kept_damaged: 0,
            quarantined: 0,
            quarantine_file: None,
            damaged_file: None,
            shards: vec![ShardEntry {
                file: "train-00000.parquet".to_owned(),
                rows: 3,
                bytes: 10,
                xxh3: "0".repeat(16),
                footer_bytes: 5,
                footer_xxh3: "0".repeat(16),
                columns_xxh3: "0".repeat(16),
            }],
        }
    }

    #[test]
    fn round_trips() {
        let dir = tempfile::tempdir().unwrap();
        sample().save(dir.path()).unwrap();
        assert_eq!(Manifest::load(dir.path()).unwrap(), sample());
        let names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, [MANIFEST_FILE]);
    }

    #[test]
    fn a_folder_without_it_is_not_complete() {
        let dir = tempfile::tempdir().unwrap();
        let err = Manifest::load(dir.path()).unwrap_err();
        assert!(matches!(err, Error::NoShards { .. }));
        assert!(err.to_string().contains("\nhint: "));
        let err = Manifest::load(&dir.path().join("none")).unwrap_err();
        assert!(matches!(err, Error::Read { .. }), "{err}");
    }

    #[test]
    fn contradictions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        type Edit = fn(&mut Manifest);
        let edits: [(Edit, &str); 18] = [
            (|m| m.class_counts = vec![2, 2], "do not sum"),
            (|m| m.class_counts = vec![3], "1 class counts for 2"),
            (|m| m.class_hash = "0".to_owned(), "class_hash"),
            (|m| m.shards[0].rows = 4, "shards' rows"),
            (|m| m.shards[0].file = "../x".to_owned(), "not a file name"),
            (
                |m| m.imbalance_ratio = Some(-1.0),
                "imbalance_ratio is -1, it is a number from 1 on",
            ),
            (
                |m| m.jpeg_quality = Some(255),
                "jpeg_quality is 255, it is a number from 1 to 100",
            ),
            (|m| m.short_side = Some(0), "short_side is 0"),
            (|m| m.max_pixels = u64::MAX, "max_pixels is 1844"),
            (|m| m.rows_per_shard = 0, "rows_per_shard is 0"),
            (|m| m.sample_xxh3.clear(), "sample_xxh3 is ``"),
            (|m| m.shards[0].xxh3 = "é".repeat(8), "shards[0].xxh3 is `é"),
            (
                |m| m.shards[0].footer_bytes = 11,
                "shards[0].footer_bytes is 11, the file has 10",
            ),
            (
                |m| {
                    m.shards[0].rows = 2;
                    let again = ShardEntry {
                        rows: 1,
                        ..m.shards[0].clone()
                    };
                    m.shards.push(again);
                },
                "shards[1].file: `train-00000.parquet` is there twice",
            ),
            (
                |m| {
                    let empty = ShardEntry {
                        file: "train-00001.parquet".to_owned(),
                        rows: 0,
                        ..m.shards[0].clone()
                    };
                    m.shards.push(empty);
                },
                "shards[1].rows is 0",
            ),
            (
                |m| {
                    m.shards[0].rows = 2;
                    let endless = ShardEntry {
                        file: "train-00001.parquet".to_owned(),
                        rows: 1,
                        bytes: u64::MAX,
                        ..m.shards[0].clone()
                    };
                    m.shards.push(endless);
                },
                "more than any disk has",
            ),
            (|m| m.kept_damaged = 4, "kept_damaged is 4 of 3 rows"),
            (|m| m.quarantined = u64::MAX, "quarantined is 1844"),
        ];
        for (edit, message) in edits {
            let mut manifest = sample();
            edit(&mut manifest);
            fs::write(dir.path().join(MANIFEST_FILE), sealed::seal(&manifest)).unwrap();
            let err = Manifest::load(dir.path()).unwrap_err().to_string();
            assert!(err.contains(message), "{err}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join(MANIFEST_FILE),
            r#"{"format_version": 9, "new": 1}"#,
        )
        .unwrap();
        let err = Manifest::load(dir.path()).unwrap_err().to_string();
        assert!(err.contains("format version 9"), "{err}");
    }

    #[test]
    fn a_folder_promises_the_split_that_it_is_called() {
        let place = tempfile::tempdir().unwrap();
        let test = place.path().join("test");
        fs::create_dir(&test).unwrap();
        assert_eq!(promised_split(&test), Some(Split::Test));
        assert_eq!(promised_split(&test.join(".")), Some(Split::Test));
        assert_eq!(promised_split(place.path()), None);
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&test, &link).unwrap();
        assert_eq!(promised_split(&link), Some(Split::Test));
        let train = place.path().join("train");
        std::os::unix::fs::symlink(&test, &train).unwrap();
        assert_eq!(promised_split(&train), Some(Split::Train));
    }
}
