//! The last step of a build: all finished shards become a dataset.
//!
//! A single build ends with it, parts are joined by it. It reads no source. Invariant: a manifest is
//! written only when every shard of the plan is there and is what the manifest will say of it, and of the splits of one
//! `commit` none is before all of them can be.

use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;

use super::SplitReport;
use super::again;
use super::folder::{self, BuildFolder, FolderState};
use super::left::Left;
use super::lock::Holder;
use super::plan::Plan;
use super::record::Finished;
use crate::error::{Error, Result};
use lift_shards::layout;
use lift_shards::manifest::{MANIFEST_FILE, Manifest};
use lift_shards::quarantine::{self, Quarantined};
use lift_shards::shard::ShardIndex;

/// Joins what parts have built in `root`, one split's folder or a folder with several: checks every
/// shard against its record and writes the manifests. Splits that are complete stay as they are.
///
/// # Errors
/// When a shard is missing or damaged, when bad images are more than the parts allowed or all of a class or split, when a
/// part is still running, or when there is nothing to join. Then no manifest is written.
pub fn commit(root: &Path) -> Result<Vec<SplitReport>> {
    let mut dirs = vec![root.to_owned()];
    dirs.extend(layout::split_dirs(root));
    dirs.retain(|dir| folder::is_begun(dir) || dir.join(MANIFEST_FILE).is_file());
    if dirs.is_empty() {
        return Err(Error::Source {
            path: root.to_owned(),
            reason: "no part of a build is here".to_owned(),
            hint: "name the --out folder of `lift-data build --part`".to_owned(),
        });
    }
    let checked: Vec<Checked> = dirs.iter().map(|dir| check(dir)).collect::<Result<_>>()?;
    checked.into_iter().map(Checked::finish).collect()
}

/// A split that can be finished, or is.
enum Checked {
    Complete(SplitReport),
    Joined(Box<Joined>, Instant),
}

impl Checked {
    fn finish(self) -> Result<SplitReport> {
        let (joined, start) = match self {
            Checked::Complete(report) => return Ok(report),
            Checked::Joined(joined, start) => (joined, start),
        };
        let dir = joined.folder.dir().to_owned();
        let manifest = joined.finish()?;
        let mut report = SplitReport::complete(&dir, &manifest);
        report.kept_shards = 0;
        report.seconds = start.elapsed().as_secs_f64();
        Ok(report)
    }
}

fn check(dir: &Path) -> Result<Checked> {
    let start = Instant::now();
    let complete = |manifest: &Manifest| {
        again::require_whole(dir, manifest)?;
        Ok(Checked::Complete(SplitReport::complete(dir, manifest)))
    };
    if !folder::is_begun(dir) {
        let manifest = Manifest::load(dir)?;
        folder::tidy(dir)?;
        return complete(&manifest);
    }
    let plan = folder::read_plan(dir)?;
    if let Some(named) = plan.manifest().misnamed(dir) {
        return Err(lift_shards::Error::Misnamed {
            dir: dir.to_owned(),
            holds: plan.manifest().split,
            named,
        }
        .into());
    }
    let folder = match BuildFolder::open(dir, &plan, Holder::Commit)? {
        FolderState::Complete(manifest) => return complete(&manifest),
        FolderState::Open(folder) => folder,
    };
    let found: Vec<_> = folder
        .recorded(&plan)?
        .into_par_iter()
        .map(|shard| folder.finished(&plan, shard))
        .collect();
    let (mut records, mut damage) = (Vec::new(), None);
    for found in found {
        match found {
            Ok(record) => records.extend(record),
            Err(reason) => damage = damage.or(Some(reason)),
        }
    }
    let missing = plan.num_shards() - records.len() as u64;
    if missing > 0 {
        let there = records.iter().map(|record| record.shard);
        return Err(Error::Missing {
            dir: dir.to_owned(),
            missing,
            of: plan.num_shards(),
            which: in_words(&gaps(there, plan.num_shards())),
            damage: damage.map_or(String::new(), |reason| format!(" ({reason})")),
        });
    }
    let allowed = records.iter().map(|record| record.max_bad).max();
    let joined = join(folder, &plan, records, allowed.unwrap_or(0))?;
    Ok(Checked::Joined(Box::new(joined), start))
}

/// All shards of a plan, with the manifest that they get.
pub(super) struct Joined {
    folder: BuildFolder,
    manifest: Manifest,
    quarantined: Vec<Quarantined>,
    damaged: Vec<Quarantined>,
}

/// Makes the manifest of all of the plan's shards, which `records` describes in order; writes nothing.
///
/// # Errors
/// When bad images are too many, or a shard is not what its record says.
pub(super) fn join(
    folder: BuildFolder,
    plan: &Plan,
    records: Vec<Finished>,
    max_bad: u64,
) -> Result<Joined> {
    let mut manifest = plan.manifest().clone();
    let (mut quarantined, mut damaged) = (Vec::new(), Vec::<Quarantined>::new());
    for record in records {
        manifest.shards.extend(record.entry);
        quarantined.extend(record.quarantined);
        damaged.extend(record.damaged);
    }
    let mut left = Left::of(plan.manifest());
    for (nth, bad) in (0..).zip(&quarantined) {
        let path = || bad.path.clone();
        // Parts see their own bad images only.
        if let Some(emptied) = left.take(bad.label) {
            let go_on =
                "mend the file and run the build without --part, which keeps the finished shards";
            return Err(left.error(emptied, path(), &bad.reason, go_on));
        }
        if nth == max_bad {
            return Err(Error::TooManyBad {
                path: path(),
                reason: bad.reason.clone(),
                count: max_bad + 1,
                allowed: max_bad,
            });
        }
    }
    manifest.class_counts = left.into_counts();
    manifest.quarantined = quarantined.len() as u64;
    manifest.kept_damaged = damaged.len() as u64;
    manifest.rows -= manifest.quarantined;
    if labels(folder.dir(), &manifest)? != manifest.class_counts {
        return Err(Error::Source {
            path: folder.dir().to_owned(),
            reason: "the labels in the shards and in the records of bad images are not the plan's: records were changed"
                .to_owned(),
            hint: "remove the unfinished folder and build again".to_owned(),
        });
    }
    Ok(Joined {
        folder,
        manifest,
        quarantined,
        damaged,
    })
}

/// How many images of each class the shards have; sizes, footers and small columns are read and compared on the way.
fn labels(dir: &Path, manifest: &Manifest) -> Result<Vec<u64>> {
    let mut counts = vec![0_u64; manifest.num_classes()];
    for (number, entry) in (0..).zip(&manifest.shards) {
        let index = ShardIndex::open(dir, manifest, entry, number)?;
        for row in &index.rows {
            counts[row.label as usize] += 1;
        }
    }
    Ok(counts)
}

impl Joined {
    /// Writes the listings of bad images, then the manifest.
    pub(super) fn finish(mut self) -> Result<Manifest> {
        let dir = self.folder.dir();
        self.manifest.quarantine_file =
            quarantine::write(dir, &quarantine::BAD, &self.quarantined)?;
        self.manifest.damaged_file = quarantine::write(dir, &quarantine::DAMAGED, &self.damaged)?;
        self.folder.complete(&self.manifest)?;
        Ok(self.manifest)
    }
}

/// The runs of numbers below `end` that ascending ones leave out.
fn gaps(numbers: impl Iterator<Item = u64>, end: u64) -> Vec<(u64, u64)> {
    let mut runs = Vec::new();
    let mut next = 0;
    for number in numbers.chain([end]) {
        if next < number {
            runs.push((next, number - 1));
        }
        // Nothing comes after the end.
        next = number.saturating_add(1);
    }
    runs
}

/// The first few of some runs of numbers: `0 to 3, 7, ...`.
fn in_words(runs: &[(u64, u64)]) -> String {
    let run = |(first, last): &(u64, u64)| match last - first {
        0 => first.to_string(),
        _ => format!("{first} to {last}"),
    };
    let mut words: Vec<_> = runs.iter().take(5).map(run).collect();
    if runs.len() > words.len() {
        words.push("...".to_owned());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_missing_in_words() {
        let missing = |there: &[u64], end| in_words(&gaps(there.iter().copied(), end));
        assert_eq!(missing(&[0, 1, 2], 4), "3");
        assert_eq!(missing(&[3, 4, 6], 9), "0 to 2, 5, 7 to 8");
        assert_eq!(missing(&[1, 3, 5, 7, 9], 11), "0, 2, 4, 6, 8, ...");
        assert_eq!(missing(&[], u64::MAX), "0 to 18446744073709551614");
        assert_eq!(missing(&[0, 1], 2), "");
    }
}
