//! What is in a folder: files, folders, and what is neither.
//!
//! It opens no file. System folders and hidden files are counted and left out. Invariant: entries are sorted
//! bytewise by name, and going down from folder to folder ends, whatever links there are.

use std::fs;
use std::path::{Path, PathBuf};

use super::image_file::Bounds;
use super::left_out::LeftOut;
use crate::error::{Error, Result};

/// What an entry is, once links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// A link that leads nowhere or in a circle, a pipe, a device, a socket.
    Odd,
}

/// One entry of a folder.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A folder, and those that one came through to it.
pub(super) struct Folder<'a> {
    path: PathBuf,
    real: PathBuf,
    above: Option<&'a Folder<'a>>,
}

impl Folder<'_> {
    /// Where one begins.
    pub(super) fn top(path: &Path) -> Result<Folder<'static>> {
        Ok(Folder {
            path: path.to_owned(),
            real: fs::canonicalize(path).map_err(Error::read(path))?,
            above: None,
        })
    }

    /// A folder in this one.
    pub(super) fn below(&self, name: &str) -> Result<Folder<'_>> {
        let path = self.path.join(name);
        Ok(Folder {
            real: fs::canonicalize(&path).map_err(Error::read(&path))?,
            path,
            above: Some(self),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `real` is this folder, one that it came through, or one that holds such a one: going there
    /// would lead here again.
    fn leads_back(&self, real: &Path) -> bool {
        let mut on_the_way = std::iter::successors(Some(self), |folder| folder.above);
        on_the_way.any(|folder| folder.real.starts_with(real))
    }

    /// Its entries, sorted; what is left out is counted in `left_out`.
    ///
    /// # Errors
    /// When it cannot be read, a name is not UTF-8, or a link to a folder leads out of `bounds`.
    pub(super) fn entries(&self, bounds: &Bounds, left_out: &mut LeftOut) -> Result<Vec<Entry>> {
        let dir = &self.path;
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir).map_err(Error::read(dir))? {
            let entry = entry.map_err(Error::read(dir))?;
            let path = entry.path();
            let name = entry.file_name().into_string().map_err(|_| Error::Source {
                path: path.clone(),
                reason: "its name is not UTF-8".to_owned(),
                hint: "rename it: paths are stored as UTF-8 text".to_owned(),
            })?;
            if left_out.is_system(&name) {
                continue;
            }
            // The directory knows what is in it, which spares a call for each of a million images.
            let kind = entry.file_type().map_err(Error::read(&path))?;
            let kind = match kind.is_symlink() {
                true => self.behind_link(&path, bounds)?,
                false if kind.is_dir() => Kind::Folder,
                false if kind.is_file() => Kind::File,
                false => Kind::Odd,
            };
            entries.push(Entry { name, kind });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn behind_link(&self, path: &Path, bounds: &Bounds) -> Result<Kind> {
        // What is behind it is not there, may not be seen, or is a circle of links.
        let Ok(found) = fs::metadata(path) else {
            return Ok(Kind::Odd);
        };
        if !found.is_dir() {
            // Whether a file's link leads out is asked where the file is opened.
            return Ok(if found.is_file() {
                Kind::File
            } else {
                Kind::Odd
            });
        }
        let real = fs::canonicalize(path).map_err(Error::read(path))?;
        if self.leads_back(&real) {
            return Ok(Kind::Odd);
        }
        if bounds.hold(&real) {
            Ok(Kind::Folder)
        } else {
            Err(Error::Source {
                path: path.to_owned(),
                reason: format!("a link to {}, outside of the source", real.display()),
                hint: "take such links with --follow-outside, or copy what is behind them"
                    .to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::image_file::Reach;

    fn walk(folder: &Folder<'_>, bounds: &Bounds, found: &mut Vec<String>) {
        for entry in folder.entries(bounds, &mut LeftOut::default()).unwrap() {
            found.push(format!(
                "{:?} {}",
                entry.kind,
                folder.path().join(&entry.name).display()
            ));
            if entry.kind == Kind::Folder {
                walk(&folder.below(&entry.name).unwrap(), bounds, found);
            }
        }
    }

    #[test]
    fn links_in_circles_end() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["cat", "dog", "@eaDir"] {
            fs::create_dir(at(folder)).unwrap();
            fs::write(at(folder).join("1.jpg"), "").unwrap();
        }
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, at(name)).unwrap();
        link(".", "cat/self");
        link("..", "cat/up");
        link("../dog", "cat/dogs");
        link("../cat", "dog/cats");
        link("nowhere", "cat/gone");
        link("circle", "cat/circle");
        let bounds = Bounds::new(dir.path(), Reach::Below).unwrap();
        let mut found = Vec::new();
        walk(&Folder::top(dir.path()).unwrap(), &bounds, &mut found);
        let root = format!(" {}/", dir.path().display());
        let found: Vec<String> = found.iter().map(|line| line.replace(&root, " ")).collect();
        assert_eq!(
            found,
            [
                "Folder cat",
                "File cat/1.jpg",
                "Odd cat/circle",
                "Folder cat/dogs",
                "File cat/dogs/1.jpg",
                "Odd cat/dogs/cats",
                "Odd cat/gone",
                "Odd cat/self",
                "Odd cat/up",
                "Folder dog",
                "File dog/1.jpg",
                "Folder dog/cats",
                "File dog/cats/1.jpg",
                "Odd dog/cats/circle",
                "Odd dog/cats/dogs",
                "Odd dog/cats/gone",
                "Odd dog/cats/self",
                "Odd dog/cats/up",
            ]
        );
    }
}
