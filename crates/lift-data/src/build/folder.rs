//! The folder of a split while it is being built, and what survives a crash in it.
//!
//! [`BUILDING`] in it has the plan, a record of every finished shard, unfinished files, and locks. It goes after the
//! manifest has come. Invariants: whatever lies in it is read as a stranger's; a shard counts as finished only with a
//! record of this plan and bytes that agree with it; nothing is readable as a dataset before the manifest, and files get their names when whole; and only files
//! that bear a name of ours in a folder that is ours are ever removed, one by one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::lock::{COMMIT_LOCK, Holder, LOCK_FILE, lock};
use super::plan::Plan;
use super::record::Finished;
use crate::error::{Error, Result};
use lift_shards::atomic;
use lift_shards::layout::{BUILDING, is_shard_name, shard_name};
use lift_shards::manifest::{MANIFEST_FILE, MAX_BYTES, Manifest};
use lift_shards::verify::check_shard;

const PLAN_FILE: &str = "plan.json";

/// What a split's folder was found to be.
pub(super) enum FolderState {
    /// Already built as planned.
    Complete(Box<Manifest>),
    /// New, or left by a build of the same plan; now it is ours.
    Open(BuildFolder),
}

/// A locked folder, to which finished shards are added.
#[derive(Debug)]
pub(super) struct BuildFolder {
    dir: PathBuf,
    building: PathBuf,
    holder: Holder,
    /// Held until this is dropped; that of a whole build first.
    locks: Vec<File>,
}

/// Fails where something else lies in `dir`; looks only.
pub(super) fn check_usable(dir: &Path) -> Result<()> {
    // In this order: a build that ends in between has its manifest before its plan goes.
    if is_begun(dir) {
        return read_plan(dir).map(|_| ());
    }
    if dir.join(MANIFEST_FILE).is_file() {
        return Ok(());
    }
    // What is left is nothing at all, or a build that was cut off before it had its plan.
    let names = names_in(dir)?;
    let is_ours = if names.iter().any(|name| name == BUILDING) {
        names.len() == 1
            && names_in(&dir.join(BUILDING))?
                .iter()
                .all(|name| is_own(name))
    } else {
        names.is_empty()
    };
    if is_ours {
        Ok(())
    } else {
        Err(lift_shards::Error::OutputExists {
            path: dir.to_owned(),
        }
        .into())
    }
}

/// The names in a folder; none where there is no folder. What is not text is no name of ours.
fn names_in(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) if err.kind() == io::ErrorKind::NotADirectory => {
            let path = dir.to_owned();
            return Err(lift_shards::Error::OutputExists { path }.into());
        }
        Err(err) => return Err(Error::read(dir)(err)),
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        let name = entry.map_err(Error::read(dir))?.file_name();
        Ok(name.to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// Whether a build writes files of this name into [`BUILDING`]: the plan, records, locks, and what is unfinished of the
/// plan, of records and of shards, with the part that writes it or without.
fn is_own(name: &str) -> bool {
    if [LOCK_FILE, COMMIT_LOCK, PLAN_FILE].contains(&name) || is_record(name) {
        return true;
    }
    let part = |text: &str| {
        text.split_once("-of-")
            .is_some_and(|(part, of)| is_number(part) && is_number(of))
    };
    let lock = name
        .strip_prefix("part-")
        .and_then(|name| name.strip_suffix(".lock"));
    if lock.is_some_and(part) {
        return true;
    }
    let Some(unfinished) = name.strip_suffix(".tmp") else {
        return false;
    };
    let whole = match unfinished.rsplit_once('.') {
        Some((whole, tag)) if part(tag) => whole,
        _ => unfinished,
    };
    whole == PLAN_FILE || is_record(whole) || is_shard_name(whole)
}

fn record_name(shard: u64) -> String {
    format!("shard-{shard:05}.json")
}

fn is_record(name: &str) -> bool {
    let number = name
        .strip_prefix("shard-")
        .and_then(|name| name.strip_suffix(".json"));
    number.is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a build of `dir` has begun and not ended.
pub(super) fn is_begun(dir: &Path) -> bool {
    plan_file(dir).is_file()
}

fn plan_file(dir: &Path) -> PathBuf {
    dir.join(BUILDING).join(PLAN_FILE)
}

/// The plan of the build that has begun in `dir`.
pub(super) fn read_plan(dir: &Path) -> Result<Plan> {
    let path = plan_file(dir);
    let text = lift_files::bytes(&path, MAX_BYTES).map_err(Error::read(&path))?;
    Plan::parse(&text).map_err(|reason| Error::BuildState { path, reason })
}

/// Removes what a build has left that was cut off between its manifest and its end; not while another is at work.
pub(super) fn tidy(dir: &Path) -> Result<()> {
    if !dir.join(BUILDING).is_dir() {
        return Ok(());
    }
    match BuildFolder::locked(dir, Holder::Commit) {
        Ok(folder) => folder.remove_building(),
        Err(Error::Busy { .. }) => Ok(()),
        Err(err) => Err(err),
    }
}

impl BuildFolder {
    /// Takes `dir` for a build of `plan`, or for joining its parts.
    pub(super) fn open(dir: &Path, plan: &Plan, holder: Holder) -> Result<FolderState> {
        check_usable(dir)?;
        let complete = dir.join(MANIFEST_FILE).is_file();
        if complete && !dir.join(BUILDING).is_dir() {
            return check_complete(dir, plan);
        }
        let folder = Self::locked(dir, holder)?;
        if dir.join(MANIFEST_FILE).is_file() {
            // The build was cut off after its manifest, or ended while we waited.
            let found = check_complete(dir, plan)?;
            folder.leave()?;
            return Ok(found);
        }
        if is_begun(dir) {
            let differences = plan.differences(read_plan(dir)?.manifest());
            if !differences.is_empty() {
                return Err(Error::OtherBuild {
                    dir: dir.to_owned(),
                    what: "an unfinished build",
                    differences,
                });
            }
        } else if let Err(err) = folder.begin(plan) {
            folder.abandon();
            return Err(err);
        }
        Ok(FolderState::Open(folder))
    }

    /// Makes the finished dataset in `dir` an unfinished build of `plan` again, of which `records` are finished.
    pub(super) fn reopen(dir: &Path, plan: &Plan, records: &[Finished]) -> Result<Self> {
        let folder = Self::locked(dir, Holder::Whole)?;
        folder.begin(plan)?;
        for record in records {
            folder.record(record)?;
        }
        // Last: until now the dataset is what it was.
        let manifest = dir.join(MANIFEST_FILE);
        fs::remove_file(&manifest).map_err(Error::write(manifest))?;
        atomic::sync_dir(dir)?;
        Ok(folder)
    }

    fn locked(dir: &Path, holder: Holder) -> Result<Self> {
        let building = dir.join(BUILDING);
        let locks = lock(dir, &building, holder)?;
        let dir = dir.to_owned();
        Ok(Self {
            dir,
            building,
            holder,
            locks,
        })
    }

    /// Writes the plan.
    fn begin(&self, plan: &Plan) -> Result<()> {
        self.write(&plan_file(&self.dir), plan.text())?;
        Ok(atomic::sync_dir(&self.dir)?)
    }

    /// The split's folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The final path of a shard, and the path that it has until it is finished.
    pub(super) fn shard_paths(&self, plan: &Plan, shard: u64) -> (PathBuf, PathBuf) {
        let name = shard_name(plan.manifest().split, shard);
        let temporary = self.temporary(&name);
        (self.dir.join(name), temporary)
    }

    /// The numbers of the shards that have a record, ascending.
    pub(super) fn recorded(&self, plan: &Plan) -> Result<Vec<u64>> {
        let names = names_in(&self.building)?;
        let number = |name: &String| {
            let number = name.strip_prefix("shard-")?.strip_suffix(".json")?;
            let shard: u64 = number.parse().ok()?;
            (record_name(shard) == *name && shard < plan.num_shards()).then_some(shard)
        };
        let mut shards: Vec<u64> = names.iter().filter_map(number).collect();
        shards.sort_unstable();
        Ok(shards)
    }

    /// The shard's record, if there is one and the shard is what it says: all of it is read.
    ///
    /// # Errors
    /// What is wrong with the record or the shard, after the name of its file.
    pub(super) fn finished(
        &self,
        plan: &Plan,
        shard: u64,
    ) -> std::result::Result<Option<Finished>, String> {
        let name = record_name(shard);
        let record = match lift_files::bytes(&self.building.join(&name), MAX_BYTES) {
            Ok(text) => Finished::parse(&text, plan, shard),
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => Err(format!("cannot read: {err}")),
        };
        let record = record.map_err(|reason| format!("{BUILDING}/{name}: {reason}"))?;
        if let Some(entry) = &record.entry {
            check_shard(&self.dir, plan.manifest(), entry)?;
        }
        Ok(Some(record))
    }

    /// Records a shard as finished; its file is under its name already.
    pub(super) fn record(&self, finished: &Finished) -> Result<()> {
        let path = self.building.join(record_name(finished.shard));
        self.write(&path, &finished.text())
    }

    /// Makes the folder a dataset.
    pub(super) fn complete(self, manifest: &Manifest) -> Result<()> {
        manifest.save(&self.dir)?;
        self.remove_building()
    }

    /// After a failure: leaves finished shards for the next run, or nothing. Another part may be at
    /// work beside a part, which therefore takes nothing away.
    pub(super) fn abandon(self) {
        // A shard may have got its name and not its record.
        let has = |dir: &Path, is_kept: fn(&str) -> bool| {
            names_in(dir).map_or(true, |names| names.iter().any(|name| is_kept(name)))
        };
        let kept = has(&self.building, is_record) || has(&self.dir, is_shard_name);
        if !matches!(self.holder, Holder::Part(_)) && !kept {
            // The error that led here is the one to report.
            let _ = self.remove_building();
            let _ = fs::remove_dir(&self.dir);
        }
    }

    /// Where a dataset is finished: removes our files, unless another part does so when it ends.
    fn leave(&self) -> Result<()> {
        // A part shares the lock; on this file it becomes its own, where nobody else has it.
        let shut_out = || {
            self.locks
                .first()
                .is_some_and(|lock| lock.try_lock().is_ok())
        };
        match self.holder {
            Holder::Part(_) if !shut_out() => Ok(()),
            _ => self.remove_building(),
        }
    }

    /// Removes our files, and the folder where nobody has put others beside them.
    fn remove_building(&self) -> Result<()> {
        for name in names_in(&self.building)? {
            let path = self.building.join(&name);
            if is_own(&name) {
                fs::remove_file(&path).map_err(Error::write(path))?;
            }
        }
        match fs::remove_dir(&self.building) {
            Err(err) if err.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(Error::write(&self.building)(err))
            }
            _ => Ok(atomic::sync_dir(&self.dir)?),
        }
    }

    /// Parts of different wholes may write one shard at the same time, so they write to different
    /// names; what they write is the same.
    fn temporary(&self, name: &str) -> PathBuf {
        let tag = match self.holder {
            Holder::Part(part) => format!(".{}", part.file_tag()),
            Holder::Whole | Holder::Commit => String::new(),
        };
        self.building.join(format!("{name}{tag}.tmp"))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = self.temporary(&name);
        Ok(atomic::write_through(&temporary, path, bytes)?)
    }
}

fn check_complete(dir: &Path, plan: &Plan) -> Result<FolderState> {
    let manifest = Manifest::load(dir)?;
    let differences = plan.differences(&manifest);
    if differences.is_empty() {
        return Ok(FolderState::Complete(Box::new(manifest)));
    }
    Err(Error::OtherBuild {
        dir: dir.to_owned(),
        what: "a finished dataset",
        differences,
    })
}

#[cfg(test)]
mod tests {
    use super::super::part::Part;
    use super::*;
    use lift_shards::split::Split;

    #[test]
    fn a_build_knows_its_own_files() {
        let shard = shard_name(Split::Val, 12);
        let own = [
            LOCK_FILE.to_owned(),
            COMMIT_LOCK.to_owned(),
            PLAN_FILE.to_owned(),
            super::super::lock::part_lock(Part::new(3, 8).unwrap()),
            "shard-00012.json".to_owned(),
            "plan.json.tmp".to_owned(),
            "plan.json.3-of-8.tmp".to_owned(),
            "shard-00012.json.3-of-8.tmp".to_owned(),
            format!("{shard}.tmp"),
            format!("{shard}.3-of-8.tmp"),
        ];
        for name in own {
            assert!(is_own(&name), "{name}");
        }
        let foreign = [
            "0.png",
            "lock.txt",
            "plan.json.bak",
            "shard-1.png",
            "shard-.json",
            "a.tmp",
            "x.3-of-8.tmp",
            "part-1-of-x.lock",
            &shard,
        ];
        for name in foreign {
            assert!(!is_own(name), "{name}");
        }
    }
}
