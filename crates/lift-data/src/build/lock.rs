//! Locks in a folder that is being built, which the kernel releases when a process ends in whatever way.
//!
//! Invariant: a whole build shuts out all others; parts shut out whole builds and themselves.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::part::Part;
use crate::error::{Error, Result};

/// The lock of a whole build, which parts share.
pub(super) const LOCK_FILE: &str = "lock";

/// The lock of a part.
pub(super) fn part_lock(part: Part) -> String {
    format!("part-{}.lock", part.file_tag())
}

/// Locks the folder `building` of the split's folder `dir` for the whole or a part, until the files are dropped.
pub(super) fn lock(dir: &Path, building: &Path, part: Option<Part>) -> Result<Vec<File>> {
    let lock = |name: &str, try_lock| lock_file(dir, &building.join(name), try_lock);
    let Some(part) = part else {
        return Ok(vec![lock(LOCK_FILE, File::try_lock)?]);
    };
    Ok(vec![
        lock(LOCK_FILE, File::try_lock_shared)?,
        lock(&part_lock(part), File::try_lock)?,
    ])
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
