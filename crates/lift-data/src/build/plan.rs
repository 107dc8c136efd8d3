//! What a build will be, fixed before its first shard: all that decides the bytes.
//!
//! A plan is a manifest without an outcome: no shards yet, and the counts are those of the list. The
//! folder keeps it while it is being built, so that other settings are refused instead of mixed in.
//! Invariant: two builds with equal plans write equal shards.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use twox_hash::XxHash3_64;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::BuildOptions;
use super::sample::Sample;
use crate::choice;
use crate::source::SplitList;
use lift_image::decode::MAX_PIXELS;
use lift_shards::classes::ClassNames;
use lift_shards::manifest::{Chosen, Encoding, Manifest};
use lift_shards::sealed;
use lift_shards::shard::KeptColumn;

/// The fields of a manifest that come out of a build and do not go into it.
const OUTCOME: [&str; 7] = [
    "class_counts",
    "rows",
    "quarantined",
    "kept_damaged",
    "quarantine_file",
    "damaged_file",
    "shards",
];

/// The plan of one split.
#[derive(Debug)]
pub(crate) struct Plan {
    manifest: Manifest,
    text: Vec<u8>,
    /// The kept columns, a row an image of the list; none where the plan was read back.
    kept: RecordBatch,
}

impl Plan {
    pub(super) fn new(
        options: &BuildOptions,
        class_names: &ClassNames,
        list: &SplitList,
        sample: &Sample,
        chosen: Option<&Chosen>,
    ) -> Self {
        let kept = choice::as_arrow(&list.columns);
        let columns = KeptColumn::of(&kept);
        let preprocess = options.preprocess;
        let resized = preprocess.encoding != Encoding::Original && preprocess.short_side.is_some();
        let jpeg = preprocess.encoding == Encoding::Jpeg;
        let manifest = Manifest {
            format_version: Manifest::version(chosen, &columns),
            tool_version: crate::VERSION.to_owned(),
            dataset: options.dataset.name(),
            split: list.split,
            class_hash: class_names.hash(),
            class_names: class_names.clone(),
            class_counts: list.class_counts(class_names.len()),
            rows: list.items.len() as u64,
            encoding: preprocess.encoding,
            jpeg_quality: jpeg.then_some(preprocess.jpeg_quality),
            jpeg_subsampling: jpeg.then_some(preprocess.jpeg_subsampling),
            short_side: preprocess.short_side.filter(|_| resized),
            enlarge: resized && preprocess.enlarge,
            filter: resized.then(|| "catmull-rom".to_owned()),
            orientation: preprocess.orientation,
            damaged: preprocess.damaged,
            max_pixels: preprocess.max_pixels,
            exact: resized && preprocess.exact,
            check: (preprocess.encoding == Encoding::Original).then_some(preprocess.check),
            order: options.order,
            rows_per_shard: sample.rows_per_shard(options.bytes_per_shard),
            list_hash: list_hash(list),
            sample_xxh3: sample.xxh3.clone(),
            chosen: chosen.cloned(),
            columns,
            seed: options.seed.into(),
            imbalance_ratio: list.imbalance_ratio,
            bands: options.bands,
            quarantined: 0,
            kept_damaged: 0,
            quarantine_file: None,
            damaged_file: None,
            shards: Vec::new(),
        };
        Self {
            kept,
            ..Self::of(manifest)
        }
    }

    fn of(manifest: Manifest) -> Self {
        let text = sealed::seal(&manifest);
        let kept = RecordBatch::new_empty(Arc::new(Schema::empty()));
        Self {
            manifest,
            text,
            kept,
        }
    }

    /// The plan that [`Plan::text`] gave.
    ///
    /// # Errors
    /// When it is none, whoever wrote it: nothing that is read of it later can be out of range.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let manifest: Manifest =
            serde_json::from_value(sealed::open(text)?).map_err(|err| err.to_string())?;
        manifest.check_settings()?;
        let has_outcome = !manifest.shards.is_empty()
            || manifest.quarantined > 0
            || manifest.kept_damaged > 0
            || manifest.quarantine_file.is_some()
            || manifest.damaged_file.is_some();
        if has_outcome {
            return Err("it has the outcome of a build".to_owned());
        }
        if manifest.rows == 0 {
            return Err("rows is 0: there is nothing to build".to_owned());
        }
        Ok(Self::of(manifest))
    }

    /// The plan as a file.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// What a finished shard's record says it belongs to.
    pub(super) fn hash(&self) -> String {
        format!("{:016x}", XxHash3_64::oneshot(&self.text))
    }

    /// The manifest as far as it is known.
    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(super) fn kept(&self) -> &RecordBatch {
        &self.kept
    }

    pub(super) fn num_shards(&self) -> u64 {
        self.manifest
            .rows
            .div_ceil(self.manifest.rows_per_shard.max(1))
    }

    /// The rows that shard `shard` would have if no image was bad.
    pub(super) fn rows(&self, shard: u64) -> Range<u64> {
        let until = |shard: u64| {
            let rows = shard.saturating_mul(self.manifest.rows_per_shard);
            rows.min(self.manifest.rows)
        };
        until(shard)..until(shard + 1)
    }

    /// What `other`, a plan or a manifest that lies in a folder, has that this plan has not: a phrase
    /// for each setting, empty when they are the same build.
    ///
    /// What follows from another difference is not named beside it: the size of the shards follows from the images,
    /// and the images from the list.
    pub(super) fn differences(&self, other: &Manifest) -> Vec<String> {
        let members = |manifest: &Manifest| match serde_json::to_value(manifest) {
            Ok(Value::Object(mut members)) => {
                // Not written where they are as usual.
                members.entry("damaged").or_insert("refuse".into());
                members.entry("max_pixels").or_insert(MAX_PIXELS.into());
                members.entry("chosen").or_insert(Value::Null);
                members.entry("columns").or_insert(Value::Null);
                members
            }
            _ => unreachable!("a manifest is an object"),
        };
        let (ours, theirs) = (members(&self.manifest), members(other));
        let names = ours.keys().map(String::as_str);
        let different: Vec<&str> = names
            .filter(|name| !OUTCOME.contains(name) && ours[*name] != theirs[*name])
            .collect();
        let there = other.rows + other.quarantined;
        let here = self.manifest.rows;
        let follows = |name: &str| {
            // Another seed makes another list, of as many images.
            if name == "list_hash" && there == here && different.contains(&"seed") {
                return true;
            }
            let causes = CAUSES.iter().filter(|(effect, _)| *effect == name);
            let mut causes = causes.flat_map(|(_, causes)| *causes);
            causes.any(|cause| different.contains(cause))
        };
        let named = different.iter().filter(|name| !follows(name));
        named
            .map(|name| match *name {
                "class_names" | "class_hash" => "the class names differ".to_owned(),
                "list_hash" => other_list(there, here),
                "sample_xxh3" => {
                    "the source differs: other images of the same names, or decoded otherwise"
                        .to_owned()
                }
                "chosen" => "what is chosen of the source differs (--where, --join, --exclude, --limit, --group-by, --fold)".to_owned(),
                "columns" => "the kept columns or their values differ (--keep-columns)".to_owned(),
                "rows_per_shard" => format!(
                    "the shards have {} images there and {} here (--shard-mib)",
                    theirs[*name], ours[*name]
                ),
                name => format!(
                    "{name} is {} there and {} here",
                    shown(&theirs[name]),
                    shown(&ours[name])
                ),
            })
            .collect()
    }
}

/// Fields, and those of which another value makes another value of theirs. A list also changes with `--holdout` and
/// `--max-per-class`, which no field has.
const CAUSES: [(&str, &[&str]); 14] = [
    ("format_version", &["chosen", "columns"]),
    ("list_hash", &["chosen"]),
    ("class_hash", &["class_names"]),
    ("list_hash", &["imbalance_ratio"]),
    ("sample_xxh3", &DECIDE_IMAGES),
    ("rows_per_shard", &DECIDE_IMAGES),
    ("rows_per_shard", &["sample_xxh3"]),
    ("jpeg_quality", &["encoding"]),
    ("jpeg_subsampling", &["encoding"]),
    ("check", &["encoding"]),
    ("short_side", &["encoding"]),
    ("enlarge", &["encoding", "short_side"]),
    ("exact", &["encoding", "short_side"]),
    ("filter", &["encoding", "short_side"]),
];

/// The fields that decide which images are stored, and as what.
const DECIDE_IMAGES: [&str; 18] = [
    "chosen",
    "dataset",
    "class_names",
    "list_hash",
    "imbalance_ratio",
    "seed",
    "encoding",
    "jpeg_quality",
    "jpeg_subsampling",
    "short_side",
    "enlarge",
    "filter",
    "orientation",
    "damaged",
    "max_pixels",
    "exact",
    "check",
    "tool_version",
];

fn other_list(there: u64, here: u64) -> String {
    let counts = if there == here {
        format!("{here} images, of other names or labels")
    } else {
        format!("{there} images there and {here} here")
    };
    format!("the source differs, or what is taken of it (--holdout, --max-per-class): {counts}")
}

/// A field's value in words.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Object(bands) => {
            let edges = ["many_above", "few_below"].map(|edge| bands[edge].to_string());
            edges.join(",")
        }
        value => value.to_string(),
    }
}

fn list_hash(list: &SplitList) -> String {
    let mut sha = Sha256::new();
    let mut line = String::new();
    for item in &list.items {
        line.clear();
        let _ = writeln!(line, "{} {}", item.path, item.label);
        sha.update(&line);
    }
    let digest = sha.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
