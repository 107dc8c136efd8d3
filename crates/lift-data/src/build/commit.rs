//! The last step of a build: all finished shards become a dataset.
//!
//! A single build ends with it, parts are joined by it. It reads no source. Invariant: a manifest is
//! written only when every shard of the plan is there.

use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;

use super::SplitReport;
use super::folder::{self, BuildFolder, Finished, Found};
use super::left::Left;
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::layout;
use crate::manifest::{MANIFEST_FILE, Manifest};
use crate::quarantine::{self, Quarantined};

/// Joins what parts have built in `root`, one split's folder or a folder with several: checks every
/// shard against its record and writes the manifests. Splits that are complete stay as they are.
///
/// # Errors
/// When a shard is missing or damaged, when bad images are more than the parts allowed or all of a class or split, when a
/// part is still running, or when there is nothing to join.
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
    dirs.iter().map(|dir| commit_split(dir)).collect()
}

fn commit_split(dir: &Path) -> Result<SplitReport> {
    let start = Instant::now();
    if !folder::is_begun(dir) {
        return Ok(SplitReport::complete(dir, &Manifest::load(dir)?));
    }
    let plan = folder::read_plan(dir)?;
    let folder = match BuildFolder::open(dir, &plan, None)? {
        Found::Complete(manifest) => return Ok(SplitReport::complete(dir, &manifest)),
        Found::Open(folder) => folder,
    };
    let records: Vec<_> = (0..plan.num_shards())
        .into_par_iter()
        .map(|shard| folder.finished(&plan, shard).ok_or(shard))
        .collect();
    let missing: Vec<u64> = records
        .iter()
        .filter_map(|found| found.as_ref().err().copied())
        .collect();
    if !missing.is_empty() {
        return Err(Error::Missing {
            dir: dir.to_owned(),
            missing: missing.len() as u64,
            of: plan.num_shards(),
            which: in_words(&missing),
        });
    }
    let records: Vec<_> = records.into_iter().flatten().collect();
    let allowed = records.iter().map(|record| record.max_bad).max();
    let manifest = finish(folder, &plan, records, allowed.unwrap_or(0))?;
    let mut report = SplitReport::complete(dir, &manifest);
    report.kept_shards = 0;
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// Writes the manifest over all of the plan's shards, which `records` describes in order.
pub(super) fn finish(
    folder: BuildFolder,
    plan: &Plan,
    records: Vec<Finished>,
    max_bad: u64,
) -> Result<Manifest> {
    let dir = folder.dir().to_owned();
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
    manifest.quarantine_file = quarantine::write(&dir, &quarantine::BAD, &quarantined)?;
    manifest.damaged_file = quarantine::write(&dir, &quarantine::DAMAGED, &damaged)?;
    folder.complete(&manifest)?;
    Ok(manifest)
}

/// The first few of some ascending numbers, neighbours drawn together: `0 to 3, 7, ...`.
fn in_words(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
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
    use super::in_words;

    #[test]
    fn numbers_in_words() {
        assert_eq!(in_words(&[3]), "3");
        assert_eq!(in_words(&[0, 1, 2, 5, 7, 8]), "0 to 2, 5, 7 to 8");
        assert_eq!(in_words(&[0, 2, 4, 6, 8, 10]), "0, 2, 4, 6, 8, ...");
    }
}
