//! The folder of a split while it is being built, and what survives a crash in it.
//!
//! `DIR/building/` has the plan, a record of every finished shard, unfinished files, and locks that the
//! kernel releases when a process ends in whatever way. The folder `building` goes after the manifest
//! has come. Invariant: a shard counts as finished only with a record of this plan and bytes that agree
//! with it; nothing is readable as a dataset before the manifest, and files get their names when whole.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::part::Part;
use super::pipeline::Quarantined;
use super::plan::Plan;
use crate::atomic;
use crate::error::{Error, Result};
use crate::manifest::{MANIFEST_FILE, Manifest, ShardEntry};
use crate::sealed;
use crate::verify::hash_file;

/// The folder within a split's folder that is there during a build only.
pub(super) const BUILDING: &str = "building";

const PLAN_FILE: &str = "plan.json";
const LOCK_FILE: &str = "lock";

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

/// What a split's folder was found to be.
pub(super) enum Found {
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
    plan_hash: String,
    part: Option<Part>,
    /// Held until this is dropped.
    _locks: Vec<File>,
}

/// Fails where something else lies in `dir`; looks only.
pub(super) fn check_usable(dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) if err.kind() == io::ErrorKind::NotADirectory => {
            let path = dir.to_owned();
            return Err(Error::OutputExists { path });
        }
        Err(err) => return Err(Error::read(dir)(err)),
    };
    let mut foreign = false;
    for entry in entries {
        foreign |= entry.map_err(Error::read(dir))?.file_name() != BUILDING;
    }
    // In this order: a build that ends in between has its manifest before its plan goes.
    if foreign && !plan_file(dir).is_file() && !dir.join(MANIFEST_FILE).is_file() {
        let path = dir.to_owned();
        return Err(Error::OutputExists { path });
    }
    Ok(())
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
    let text = fs::read(&path).map_err(Error::read(&path))?;
    Plan::parse(&text).map_err(|reason| Error::BuildState { path, reason })
}

impl BuildFolder {
    /// Takes `dir` for a build of `plan`, of the whole or of a part.
    pub(super) fn open(dir: &Path, plan: &Plan, part: Option<Part>) -> Result<Found> {
        check_usable(dir)?;
        let building = dir.join(BUILDING);
        let complete = dir.join(MANIFEST_FILE).is_file();
        if complete && !building.is_dir() {
            return check_complete(dir, plan);
        }
        let locks = lock(dir, part)?;
        let folder = Self {
            dir: dir.to_owned(),
            plan_hash: plan.hash(),
            part,
            building,
            _locks: locks,
        };
        if dir.join(MANIFEST_FILE).is_file() {
            // The build was cut off after its manifest, or ended while we waited.
            let found = check_complete(dir, plan)?;
            if part.is_none() {
                folder.remove_building()?;
            }
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
        } else {
            let written = folder.write(&plan_file(dir), plan.text());
            if let Err(err) = written.and_then(|()| atomic::sync_dir(dir)) {
                folder.abandon();
                return Err(err);
            }
        }
        Ok(Found::Open(folder))
    }

    /// The split's folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The final path of a shard, and the path that it has until it is finished.
    pub(super) fn shard_paths(&self, plan: &Plan, shard: u64) -> (PathBuf, PathBuf) {
        let name = shard_name(plan, shard);
        let temporary = self.temporary(&name);
        (self.dir.join(name), temporary)
    }

    /// The shard's record, if there is one and the shard's bytes agree with it.
    pub(super) fn finished(&self, plan: &Plan, shard: u64) -> Option<Finished> {
        let text = fs::read(self.record_file(shard)).ok()?;
        let record: Finished = serde_json::from_value(sealed::open(&text).ok()?).ok()?;
        if record.plan != self.plan_hash || record.shard != shard {
            return None;
        }
        if let Some(entry) = &record.entry {
            let path = self.dir.join(&entry.file);
            let whole = entry.file == shard_name(plan, shard)
                && fs::metadata(&path).is_ok_and(|file| file.len() == entry.bytes)
                && hash_file(&path).is_ok_and(|hash| hash == entry.xxh3);
            if !whole {
                return None;
            }
        }
        Some(record)
    }

    /// Records a shard as finished; its file is under its name already.
    pub(super) fn record(&self, finished: &Finished) -> Result<()> {
        self.write(&self.record_file(finished.shard), &sealed::seal(finished))
    }

    /// Makes the folder a dataset.
    pub(super) fn complete(self, manifest: &Manifest) -> Result<()> {
        manifest.save(&self.dir)?;
        self.remove_building()
    }

    /// After a failure: leaves finished shards for the next run, or nothing. Another part may be at
    /// work beside a part, which therefore takes nothing away.
    pub(super) fn abandon(self) {
        let kept = fs::read_dir(&self.building).is_ok_and(|entries| {
            entries
                .filter_map(std::result::Result::ok)
                .any(|entry| is_record(&entry.file_name().to_string_lossy()))
        });
        if self.part.is_none() && !kept {
            // The error that led here is the one to report.
            let _ = self.remove_building();
            let _ = fs::remove_dir(&self.dir);
        }
    }

    fn remove_building(&self) -> Result<()> {
        fs::remove_dir_all(&self.building).map_err(Error::write(&self.building))?;
        atomic::sync_dir(&self.dir)
    }

    fn record_file(&self, shard: u64) -> PathBuf {
        self.building.join(format!("shard-{shard:05}.json"))
    }

    /// Parts of different wholes may write one shard at the same time, so they write to different
    /// names; what they write is the same.
    fn temporary(&self, name: &str) -> PathBuf {
        let tag = self.part.map(|part| format!(".{}", part.file_tag()));
        let tag = tag.unwrap_or_default();
        self.building.join(format!("{name}{tag}.tmp"))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        atomic::write_through(&self.temporary(&name), path, bytes)
    }
}

fn is_record(name: &str) -> bool {
    name.starts_with("shard-") && name.ends_with(".json")
}

fn shard_name(plan: &Plan, shard: u64) -> String {
    format!("{}-{shard:05}.parquet", plan.manifest().split)
}

fn check_complete(dir: &Path, plan: &Plan) -> Result<Found> {
    let manifest = Manifest::load(dir)?;
    let differences = plan.differences(&manifest);
    if differences.is_empty() {
        return Ok(Found::Complete(Box::new(manifest)));
    }
    Err(Error::OtherBuild {
        dir: dir.to_owned(),
        what: "a finished dataset",
        differences,
    })
}

/// A whole build shuts out all others; parts shut out whole builds and themselves.
fn lock(dir: &Path, part: Option<Part>) -> Result<Vec<File>> {
    let building = dir.join(BUILDING);
    let Some(part) = part else {
        return Ok(vec![lock_file(&building, LOCK_FILE, File::try_lock)?]);
    };
    let own = format!("part-{}.lock", part.file_tag());
    Ok(vec![
        lock_file(&building, LOCK_FILE, File::try_lock_shared)?,
        lock_file(&building, &own, File::try_lock)?,
    ])
}

fn lock_file(
    building: &Path,
    name: &str,
    try_lock: impl Fn(&File) -> std::result::Result<(), TryLockError>,
) -> Result<File> {
    let path = building.join(name);
    loop {
        fs::create_dir_all(building).map_err(Error::write(building))?;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::write(&path))?;
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let dir = building.parent().unwrap_or(building).to_owned();
                return Err(Error::Busy { dir });
            }
            Err(TryLockError::Error(err)) => {
                return Err(Error::Setting {
                    reason: format!("{}: cannot lock: {err}", path.display()),
                    hint: "write to a file system that has flock (Lustre: mounted with -o flock)"
                        .to_owned(),
                });
            }
        }
        // Its last holder may have removed it meanwhile: then this lock shuts nobody out.
        let ours = file.metadata().map_err(Error::read(&path))?;
        let there = fs::metadata(&path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}
