//! Locks in a folder that is being built, which the kernel releases when a process ends in whatever way.
//!
//! Invariant: a whole build shuts out all others; parts shut out whole builds and themselves; what joins parts shuts out
//! whole builds and itself, fails while a part is at work, and lets a part that comes later wait.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::part::Part;
use crate::error::{Error, Result};

/// The lock of a whole build, which parts share.
pub(super) const LOCK_FILE: &str = "lock";

/// The lock of a part.
pub(super) fn part_lock(part: Part) -> String {
    format!("part-{}.lock", part.file_tag())
}

/// The lock of what joins parts, beside that of a whole build: it takes as long as reading all shards, and parts wait
/// for it.
pub(super) const COMMIT_LOCK: &str = "commit.lock";

/// Who takes a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// A build of all shards.
    Whole,
    /// A build of some.
    Part(Part),
    /// What joins parts.
    Commit,
}

/// Locks the folder `building` of the split's folder `dir` until the files are dropped.
pub(super) fn lock(dir: &Path, building: &Path, holder: Holder) -> Result<Vec<File>> {
    let lock = |name: &str, try_lock| lock_file(dir, &building.join(name), try_lock);
    match holder {
        Holder::Whole => Ok(vec![lock(LOCK_FILE, File::try_lock)?]),
        Holder::Part(part) => {
            let shared = || lock(LOCK_FILE, File::try_lock_shared);
            let mut is_second_look = false;
            let shared = loop {
                match shared() {
                    Err(Error::Busy { .. }) if waited_for_commit(building)? => {}
                    // What joins parts takes this lock first and its own a moment later.
                    Err(Error::Busy { .. }) if !is_second_look => {
                        is_second_look = true;
                        thread::sleep(Duration::from_millis(100));
                    }
                    locked => break locked?,
                }
            };
            Ok(vec![shared, lock(&part_lock(part), File::try_lock)?])
        }
        Holder::Commit => {
            let whole = lock(LOCK_FILE, File::try_lock)?;
            Ok(vec![whole, lock(COMMIT_LOCK, File::try_lock)?])
        }
    }
}

/// Waits until parts are joined; false where nobody joins them.
fn waited_for_commit(building: &Path) -> Result<bool> {
    let path = building.join(COMMIT_LOCK);
    let file = match File::options().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(false),
        Err(err) => return Err(Error::read(path)(err)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => {
            file.lock_shared().map_err(Error::read(path))?;
            Ok(true)
        }
        Err(TryLockError::Error(err)) => Err(Error::read(path)(err)),
    }
}

type TryLock = fn(&File) -> std::result::Result<(), TryLockError>;

fn lock_file(dir: &Path, path: &Path, try_lock: TryLock) -> Result<File> {
    let building = path.parent().unwrap_or(dir);
    loop {
        fs::create_dir_all(building).map_err(Error::write(building))?;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::write(path))?;
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let dir = dir.to_owned();
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
        let ours = file.metadata().map_err(Error::read(path))?;
        let there = fs::metadata(path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}
