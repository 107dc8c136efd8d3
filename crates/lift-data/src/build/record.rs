//! The record of a finished shard: what the shard is, and which images are missing in it.
//!
//! Whoever finds a record may have written it or not: it is checked as a stranger's. Invariant: a record that passes is
//! of the plan's rows, all of them, and every number in it is within the plan's bounds.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use lift_shards::layout::shard_name;
use lift_shards::manifest::ShardEntry;
use lift_shards::quarantine::Quarantined;
use lift_shards::sealed;

/// The record of a finished shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finished {
    /// [`Plan::hash`] of the plan that it belongs to.
    pub(super) plan: String,
    /// Its number.
    pub(super) shard: u64,
    /// The first row that it stands for, counted with the bad images.
    pub(super) first: u64,
    /// The row after the last.
    pub(super) end: u64,
    /// Bad images that its builder allowed in all.
    pub(super) max_bad: u64,
    /// The file; `None` where all of its images are bad.
    pub(super) entry: Option<ShardEntry>,
    /// The bad images.
    pub(super) quarantined: Vec<Quarantined>,
    /// The damaged images that were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) damaged: Vec<Quarantined>,
}

impl Finished {
    /// The record that [`Finished::text`] gave, of shard `shard` of this plan.
    ///
    /// # Errors
    /// When it is none, or none of this shard: what is wrong, with the field's name.
    pub(super) fn parse(text: &[u8], plan: &Plan, shard: u64) -> Result<Self, String> {
        let record: Self =
            serde_json::from_value(sealed::open(text)?).map_err(|err| err.to_string())?;
        if record.plan != plan.hash() {
            return Err("it is of another plan".to_owned());
        }
        if record.shard != shard {
            return Err(format!("shard is {}", record.shard));
        }
        record.check(plan)?;
        Ok(record)
    }

    /// The record as a file.
    pub(super) fn text(&self) -> Vec<u8> {
        sealed::seal(self)
    }

    /// What does not fit the plan; the shard's file is not looked at.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), String> {
        let manifest = plan.manifest();
        let rows = plan.rows(self.shard);
        if (self.first, self.end) != (rows.start, rows.end) {
            return Err(format!(
                "first and end are {} and {}, the plan says {} and {}",
                self.first, self.end, rows.start, rows.end
            ));
        }
        let mut ids = HashSet::new();
        for (field, images) in [
            ("quarantined", &self.quarantined),
            ("damaged", &self.damaged),
        ] {
            for (nth, image) in images.iter().enumerate() {
                let (classes, images) = (manifest.num_classes(), manifest.rows);
                if image.label as usize >= classes {
                    let label = image.label;
                    return Err(format!(
                        "{field}[{nth}].label is {label}, there are {classes} classes"
                    ));
                }
                if image.id >= images {
                    let id = image.id;
                    return Err(format!(
                        "{field}[{nth}].id is {id}, there are {images} images"
                    ));
                }
                if !ids.insert(image.id) {
                    return Err(format!("{field}[{nth}].id is there twice"));
                }
            }
        }
        let stored = match &self.entry {
            Some(entry) => {
                entry.check().map_err(|reason| format!("entry.{reason}"))?;
                let expected = shard_name(manifest.split, self.shard);
                if entry.file != expected {
                    return Err(format!("entry.file is `{}`, not {expected}", entry.file));
                }
                entry.rows
            }
            None => 0,
        };
        let bad = self.quarantined.len() as u64;
        if stored.checked_add(bad) != Some(rows.end - rows.start) {
            return Err(format!(
                "entry.rows is {stored} beside {bad} bad images, the plan says {} together",
                rows.end - rows.start
            ));
        }
        if self.damaged.len() as u64 > stored {
            let damaged = self.damaged.len();
            return Err(format!("damaged are {damaged} of {stored} images"));
        }
        Ok(())
    }
}
