//! A folder that appears whole or not at all: written beside its place under a hidden name, and renamed.
//!
//! Invariant: the place holds nothing until everything is there; what a failed export had written is removed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    file_hash, run,
};

/// The folder on its way.
pub(super) struct Staging {
    folder: PathBuf,
    out: PathBuf,
    is_published: bool,
}

/// A file that was written, for the list in the model card.
pub(super) struct Written {
    pub name: String,
    pub bytes: u64,
    /// XXH3-64.
    pub hash: String,
}

impl Written {
    /// A file by its last name.
    pub fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default();
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            bytes: fs::metadata(path).map_err(Error::io(path))?.len(),
            hash: file_hash::of_file(path)?,
        })
    }
}

impl Staging {
    /// Begins; `out` may be missing or an empty folder.
    pub fn begin(out: &Path) -> Result<Self> {
        run::require_empty(out)?;
        let out = std::path::absolute(out).map_err(Error::io(out))?;
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let hidden = format!(".{name}.{}.lift-tmp", std::process::id());
        let folder = out.with_file_name(hidden);
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        Ok(Self {
            folder,
            out,
            is_published: false,
        })
    }

    /// Where files are written meanwhile.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file of text.
    pub fn text(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        lift_files::write(&path, &[text.as_bytes()]).map_err(Error::io(&path))
    }

    /// Copies a file, and compares what lies there then with what was to be copied.
    pub fn copy(&self, from: &Path, name: &str) -> Result<()> {
        let to = self.folder.join(name);
        let folder = lift_files::folder_of(&to);
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        fs::copy(from, &to).map_err(Error::io(&to))?;
        let file = fs::File::open(&to).map_err(Error::io(&to))?;
        file.sync_all().map_err(Error::io(&to))?;
        if file_hash::of_file(from)? == file_hash::of_file(&to)? {
            return Ok(());
        }
        Err(Error::BadRun {
            path: to,
            reason: format!(
                "not what {} holds, of which it is a copy\nhint: run the export again; if it happens again, a disk is failing",
                from.display()
            ),
        })
    }

    /// The files so far, in the order of their names.
    pub fn files(&self) -> Result<Vec<Written>> {
        let mut written = Vec::new();
        let mut open = vec![self.folder.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
                let path = entry.map_err(Error::io(&folder))?.path();
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                let name = path.strip_prefix(&self.folder).unwrap_or(&path);
                written.push(Written {
                    name: name.to_string_lossy().replace('\\', "/"),
                    ..Written::of(&path)?
                });
            }
        }
        written.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(written)
    }

    /// Gives the folder its name.
    pub fn publish(mut self) -> Result<()> {
        // An empty folder gives way to one that is renamed; it may have been made since.
        let _ = fs::remove_dir(&self.out);
        fs::rename(&self.folder, &self.out).map_err(Error::io(&self.out))?;
        self.is_published = true;
        let above = lift_files::folder_of(&self.out);
        lift_files::sync_folder(above).map_err(Error::io(above))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_published {
            // The error that ended the export is the one to report.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_and_one_that_failed_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (out, taken) = (dir.path().join("out"), dir.path().join("taken"));
        let source = dir.path().join("source");
        fs::write(&source, "bytes").unwrap();
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("mine"), "").unwrap();
        assert!(Staging::begin(&taken).is_err());

        let failed = Staging::begin(&out).unwrap();
        failed.text("a", "1").unwrap();
        assert!(!out.exists());
        drop(failed);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);

        fs::create_dir(&out).unwrap();
        let staging = Staging::begin(&out).unwrap();
        staging.copy(&source, "model/weights").unwrap();
        staging.text("a", "1").unwrap();
        let files = staging.files().unwrap();
        let names: Vec<_> = files.iter().map(|f| (f.name.as_str(), f.bytes)).collect();
        assert_eq!(names, [("a", 1), ("model/weights", 5)]);
        staging.publish().unwrap();
        assert_eq!(fs::read(out.join("model/weights")).unwrap(), b"bytes");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
