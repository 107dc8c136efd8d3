//! Files that appear whole or not at all.
//!
//! A file is written to a temporary name beside its own, synced, renamed, and its folder synced. It
//! does not protect against two writers of one folder. Invariant: a file under its final name is
//! complete and on disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The temporary sibling of `path`.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Gives a written and synced temporary file its final name.
pub(crate) fn publish(temporary: &Path, path: &Path) -> Result<()> {
    fs::rename(temporary, path).map_err(Error::write(path))?;
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    sync_dir(dir)
}

/// Writes `bytes` as `path`, replacing what was there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_through(&temporary_name(path), path, bytes)
}

/// As [`write`], with the temporary name given.
pub(crate) fn write_through(temporary: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(temporary).map_err(Error::write(temporary))?;
    file.write_all(bytes).map_err(Error::write(temporary))?;
    file.sync_all().map_err(Error::write(temporary))?;
    publish(temporary, path)
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::write(dir))
}
