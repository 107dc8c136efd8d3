//! A finished dataset whose shards or listings are gone, cut or changed: what is whole of it is kept, and the rest is
//! built again from the source.
//!
//! It reads all of every shard. Invariant: the dataset is as it was until the plan and the records of its whole shards
//! are on disk; from then on it is an unfinished build.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use super::folder::{BuildFolder, FolderState};
use super::part::Part;
use super::plan::Plan;
use super::record::Finished;
use crate::error::{Error, Result};
use lift_page::escape;
use lift_page::progress::Reporting;
use lift_shards::layout::shard_name;
use lift_shards::manifest::{Manifest, ShardEntry};
use lift_shards::order::Positions;
use lift_shards::quarantine::{self, Quarantined};
use lift_shards::verify::{check_shard, wrong_counts};

/// What was found of a finished dataset.
struct ShardCheck<'a> {
    /// The shards that are whole.
    whole: Vec<&'a ShardEntry>,
    /// The bad images and the damaged ones, where the listings are whole.
    quarantined: Option<Vec<Quarantined>>,
    damaged: Option<Vec<Quarantined>>,
    /// What is wrong, in the words of `lift-data verify`.
    problems: Vec<String>,
}

impl<'a> ShardCheck<'a> {
    fn at(dir: &Path, manifest: &'a Manifest) -> Self {
        let entries = manifest.shards.par_iter();
        let checked: Vec<_> = entries
            .map(|entry| check_shard(dir, manifest, entry))
            .collect();
        let (mut whole, mut problems) = (Vec::new(), Vec::new());
        let mut counts = vec![0_u64; manifest.num_classes()];
        for (entry, checked) in manifest.shards.iter().zip(checked) {
            match checked {
                Ok(of_shard) => {
                    whole.push(entry);
                    counts
                        .iter_mut()
                        .zip(of_shard)
                        .for_each(|(sum, count)| *sum += count);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            problems.extend(wrong_counts(manifest, &counts));
        }
        let mut listed = |kind: &quarantine::Kind| {
            let listed = quarantine::listed(dir, manifest, kind);
            listed
                .map_err(|reason| problems.push(format!("{}: {reason}", kind.file)))
                .ok()
        };
        Self {
            whole,
            quarantined: listed(&quarantine::BAD),
            damaged: listed(&quarantine::DAMAGED),
            problems,
        }
    }

    /// The records that the whole shards had when they were built, of those for which all is known.
    fn records(self, plan: &Plan, max_bad: u64) -> Vec<Finished> {
        let manifest = plan.manifest();
        // Which shards have damaged images is not known without the listing.
        let Some(damaged) = self.damaged else {
            return Vec::new();
        };
        let by_id = |images: Vec<Quarantined>| -> HashMap<u64, Quarantined> {
            images.into_iter().map(|image| (image.id, image)).collect()
        };
        let quarantined = by_id(self.quarantined.unwrap_or_default());
        let damaged = by_id(damaged);
        let positions = Positions::new(manifest.order, manifest.seed, manifest.rows as usize);
        let entries: HashMap<&str, &ShardEntry> = self
            .whole
            .iter()
            .map(|entry| (entry.file.as_str(), *entry))
            .collect();
        let record = |shard: u64| {
            let rows = plan.rows(shard);
            let of = |images: &HashMap<u64, Quarantined>| -> Vec<Quarantined> {
                let ids = rows.clone().map(|row| positions.image(row as usize) as u64);
                ids.filter_map(|id| images.get(&id).cloned()).collect()
            };
            let name = shard_name(manifest.split, shard);
            Finished {
                plan: plan.hash(),
                shard,
                first: rows.start,
                end: rows.end,
                max_bad,
                entry: entries.get(name.as_str()).map(|entry| (*entry).clone()),
                quarantined: of(&quarantined),
                damaged: of(&damaged),
            }
        };
        let records = (0..plan.num_shards()).map(record);
        // A shard that is gone, or whose bad images are not known, has fewer images than the plan says.
        records
            .filter(|record| record.check(plan).is_ok())
            .collect()
    }
}

/// Fails where a finished dataset is not whole.
pub(super) fn require_whole(dir: &Path, manifest: &Manifest) -> Result<()> {
    let look = ShardCheck::at(dir, manifest);
    if look.problems.is_empty() {
        Ok(())
    } else {
        Err(not_whole(
            dir,
            &look.problems,
            "run the `lift-data build` that made it again, without --part: it builds what is missing or damaged again",
        ))
    }
}

/// A finished dataset in `dir` of this plan, where it is whole; else what is to be built of it again.
///
/// # Errors
/// When it is not whole and this is a part: other parts may be at work on it.
pub(super) fn open(
    dir: &Path,
    plan: &Plan,
    manifest: Box<Manifest>,
    (part, max_bad): (Option<Part>, u64),
    reporting: Reporting,
) -> Result<FolderState> {
    let look = ShardCheck::at(dir, &manifest);
    if look.problems.is_empty() {
        return Ok(FolderState::Complete(manifest));
    }
    if part.is_some() {
        let hint =
            "run the same command without --part: it builds what is missing or damaged again";
        return Err(not_whole(dir, &look.problems, hint));
    }
    for problem in &look.problems {
        reporting.note(&format!("{}/{problem}: built again", escape::path(dir)));
    }
    let records = look.records(plan, max_bad);
    BuildFolder::reopen(dir, plan, &records).map(FolderState::Open)
}

fn not_whole(dir: &Path, problems: &[String], hint: &str) -> Error {
    let more = match problems.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Error::Source {
        path: dir.to_owned(),
        reason: format!("finished and no longer whole: {}{more}", problems[0]),
        hint: hint.to_owned(),
    }
}
