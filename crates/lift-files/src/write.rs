//! Files that appear whole or not at all, however many write them at once.
//!
//! A file is written beside its own name under one that no other writer has, synced, renamed, and its folder synced. Invariant:
//! a file under its final name is complete, on disk, and of one writer; what a write that failed leaves is gone; no file of
//! anyone else is touched.

use std::fs::{self, File};
use std::io::{Result, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

/// What a killed writer leaves is older than this when it is removed: no write takes as long between two of its bytes.
const LEFT: Duration = Duration::from_secs(24 * 60 * 60);
/// `.report.html.x7Fq2z.lift-tmp`: hidden, and of a name that nobody gives.
const SUFFIX: &str = ".lift-tmp";

/// Writes `parts` one after the other as the file `path`, in place of what was there.
///
/// # Errors
/// When the folder cannot be written, or `path` is a folder.
pub fn write(path: &Path, parts: &[&[u8]]) -> Result<()> {
    let mut file = NewFile::begin(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.finish()
}

/// A file that is written piece by piece, for what is too large to be in memory at once: dropped before it is finished, it
/// leaves nothing.
#[derive(Debug)]
pub struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Begins what is to be the file `path`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn begin(path: &Path) -> Result<Self> {
        let folder = folder_of(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Names of files have at most 255 bytes, a character up to four, and this one is longer than its own.
        let kept: String = name.chars().take(48).collect();
        let start = format!(".{kept}.");
        remove_left(folder, &start);
        Ok(Self {
            file: make(folder, &start)?,
            path: path.to_owned(),
        })
    }

    /// Gives it its name, in place of what was there.
    ///
    /// # Errors
    /// When it cannot be synced, or its name is a folder's.
    pub fn finish(self) -> Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.path).map_err(|err| err.error)?;
        sync_folder(folder_of(&self.path))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.file.as_file().write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Whether a file can be made in `folder`, by making one that goes at once.
///
/// # Errors
/// When it cannot.
pub fn try_folder(folder: &Path) -> Result<()> {
    make(folder, ".trial.").map(drop)
}

/// A new file of a name that nobody has, which goes unless it gets another; others may read it as any new file.
fn make(folder: &Path, start: &str) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(start).suffix(SUFFIX);
    // Opened here, since the library alone would keep it from all others, and name it in its errors.
    builder.make_in(folder, |path| {
        File::options().write(true).create_new(true).open(path)
    })
}

/// Makes the names in `folder` durable.
///
/// # Errors
/// When the folder cannot be read or synced.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that `path` lies in.
pub fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Removes what writers of this file left that were killed. That it cannot be is nobody's trouble.
fn remove_left(folder: &Path, start: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let middle = name
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix(SUFFIX));
        let is_ours = middle.is_some_and(|random| random.len() == 6);
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_ours && age().is_some_and(|age| age > LEFT) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_files_of_others_stay_and_nothing_half_written_does() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("report.html");
        let theirs = place.path().join("report.html.tmp");
        fs::write(&theirs, "mine").unwrap();
        write(&path, &[b"ne", b"w"]).unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"mine");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        // A folder of that name cannot be replaced by a file.
        let folder = place.path().join("folder");
        fs::create_dir(&folder).unwrap();
        write(&folder, &[b"new"]).unwrap_err();
        assert_eq!(
            names(place.path()),
            ["folder", "report.html", "report.html.tmp"]
        );
        // The longest name that a file can have.
        let long = place.path().join("ü".repeat(127));
        write(&long, &[b"new"]).unwrap();
        assert_eq!(fs::read(&long).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("logits.parquet");
        fs::write(&path, "old").unwrap();
        let mut file = NewFile::begin(&path).unwrap();
        file.write_all(b"ne").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!(names(place.path()), ["logits.parquet"]);
        let mut file = NewFile::begin(&path).unwrap();
        file.write_all(b"ne").unwrap();
        file.write_all(b"w").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(place.path()), ["logits.parquet"]);
    }

    #[test]
    fn of_many_writers_one_is_last_and_a_reader_sees_a_whole_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("head");
        let texts: Vec<Vec<u8>> = (0..8).map(|n| vec![b'a' + n; 100_000]).collect();
        write(&path, &[&texts[0]]).unwrap();
        std::thread::scope(|scope| {
            for text in &texts {
                scope.spawn(|| (0..20).for_each(|_| write(&path, &[text]).unwrap()));
            }
            for _ in 0..200 {
                assert!(texts.contains(&fs::read(&path).unwrap()));
            }
        });
        assert!(texts.contains(&fs::read(&path).unwrap()));
        assert_eq!(names(place.path()), ["head"]);
    }

    #[test]
    fn what_a_killed_writer_left_goes_after_a_day() {
        let place = tempfile::tempdir().unwrap();
        let day_old = SystemTime::now() - LEFT - Duration::from_secs(60);
        for (name, is_old) in [
            (".head.abcdef.lift-tmp", true),
            (".head.ghijkl.lift-tmp", false),
            (".head.of.a.model.lift-tmp", true),
            (".tail.abcdef.lift-tmp", true),
        ] {
            let file = File::create(place.path().join(name)).unwrap();
            if is_old {
                file.set_modified(day_old).unwrap();
            }
        }
        write(&place.path().join("head"), &[b"new"]).unwrap();
        assert_eq!(
            names(place.path()),
            [
                ".head.ghijkl.lift-tmp",
                ".head.of.a.model.lift-tmp",
                ".tail.abcdef.lift-tmp",
                "head"
            ]
        );
    }

    #[test]
    fn a_refusal_is_the_systems_own() {
        let place = tempfile::tempdir().unwrap();
        let gone = place.path().join("gone");
        let plain = File::create(gone.join("head")).unwrap_err().to_string();
        assert_eq!(try_folder(&gone).unwrap_err().to_string(), plain);
        let said = write(&gone.join("head"), &[b"new"]).unwrap_err();
        assert_eq!(said.to_string(), plain);
        try_folder(place.path()).unwrap();
        assert!(names(place.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_it_as_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let (ours, plain) = (place.path().join("ours"), place.path().join("plain"));
        write(&ours, &[b"new"]).unwrap();
        fs::write(&plain, "new").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
