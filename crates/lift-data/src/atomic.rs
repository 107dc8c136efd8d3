//! Files that appear whole or not at all.
//!
//! A file is written to a temporary name beside its own, synced, renamed, and its folder synced. It
//! does not protect against two writers of one folder. Invariant: a file under its final name is
//! complete and on disk; what a write that failed leaves is gone, and no file of anyone else is touched.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The temporary sibling of `path`, hidden and of a name that nobody gives: `report.html.tmp` may be a file of the user's.
pub fn temporary_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".lift-tmp");
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
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::write(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_others_stay_and_nothing_half_written_does() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("report.html");
        let theirs = place.path().join("report.html.tmp");
        fs::write(&theirs, "mine").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"mine");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        // A folder of that name cannot be replaced by a file.
        let folder = place.path().join("folder");
        fs::create_dir(&folder).unwrap();
        write(&folder, b"new").unwrap_err();
        let mut names: Vec<_> = fs::read_dir(place.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["folder", "report.html", "report.html.tmp"]);
    }
}
