//! Files that appear whole or not at all, as [`lift_files::write`] writes them, and those that are written piece by piece under
//! a name that the caller gives.
//!
//! Invariant: a file under its final name is complete and on disk; what a write that failed leaves is gone.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Gives a written and synced temporary file its final name.
pub fn publish(temporary: &Path, path: &Path) -> Result<()> {
    fs::rename(temporary, path).map_err(Error::write(path))?;
    sync_dir(lift_files::folder_of(path))
}

/// Writes `bytes` as `path`, replacing what was there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    lift_files::write(path, &[bytes]).map_err(Error::write(path))
}

/// As [`write`], where a lock keeps other writers of this file away: one that was killed leaves a name that the next one, which
/// goes on with its work, writes over.
pub fn write_locked(path: &Path, bytes: &[u8]) -> Result<()> {
    write_through(&temporary_name(path), path, bytes)
}

/// What [`write_locked`] writes `path` through: hidden, and of a name that nobody gives.
pub fn temporary_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".lift-tmp");
    path.with_file_name(name)
}

/// As [`write`], with the temporary name given; it is this writer's alone.
pub fn write_through(temporary: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let written = write()
        .map_err(Error::write(temporary))
        .and_then(|()| publish(temporary, path));
    if written.is_err() {
        // The first error is the one to report, whether or not there is something to remove.
        let _ = fs::remove_file(temporary);
    }
    written
}

/// Makes the names in `dir` durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    lift_files::sync_folder(dir).map_err(Error::write(dir))
}
