//! Paths as lists and tables write them, and what they stand for below the list's root.
//!
//! Invariant: what an image is called is its path below the root in the one spelling that has no `.`, `..`
//! or empty part; what lies elsewhere is refused, or called `outside/..` where that is allowed, so that no
//! shard holds an absolute path.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::image_file::{Bounds, Reach};
use super::{Content, Item};
use crate::error::{Error, Result};

/// More than systems take. A table of a few kilobytes can repeat one that is far longer.
pub(super) const MAX_PATH: usize = 4096;

/// Where a list's paths start.
pub(super) const OF_A_LIST: &str = "--root, by default the list's folder";

/// The folder that a list's paths start at.
pub(super) struct Root<'a> {
    path: &'a Path,
    /// The same from the system's root, without `.` and `..`.
    absolute: PathBuf,
    reach: Reach,
    /// What this folder is to whoever wrote the paths.
    start: &'static str,
}

impl<'a> Root<'a> {
    pub(super) fn new(path: &'a Path, reach: Reach, start: &'static str) -> Result<Self> {
        let here = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let absolute = std::path::absolute(here).map_err(Error::read(path))?;
        let mut plain = PathBuf::new();
        for part in absolute.components() {
            match part {
                Component::ParentDir => drop(plain.pop()),
                part => plain.push(part),
            }
        }
        Ok(Self {
            path,
            absolute: plain,
            reach,
            start,
        })
    }

    pub(super) fn bounds(&self) -> Result<Bounds> {
        Bounds::new(self.path, self.reach)
    }

    /// The image that a list names by `written`; its label is not set. `place` says where it is written.
    ///
    /// # Errors
    /// When it lies elsewhere and may not, or cannot be told.
    pub(super) fn item(&self, written: &str, place: impl FnOnce() -> PathBuf) -> Result<Item> {
        if written.len() > MAX_PATH {
            return Err(Error::Source {
                path: place(),
                reason: format!("a path of {} bytes", written.len()),
                hint: format!("no system takes more than {MAX_PATH}; check the column of paths"),
            });
        }
        let unix = self.without_backslashes(written);
        let written = unix.as_deref().unwrap_or(written);
        let item = |path: String, content| Item {
            path,
            label: 0,
            content,
        };
        if written
            .split('/')
            .all(|part| !matches!(part, "" | "." | ".."))
        {
            return Ok(item(written.to_owned(), Content::File));
        }
        let refused = |reason: String| Error::Source {
            path: place(),
            reason,
            hint: format!(
                "paths start at {}; --follow-outside takes files that lie elsewhere",
                self.start
            ),
        };
        let (above, parts) = plain(written);
        let below = if written.starts_with('/') {
            let path: PathBuf = std::iter::once("/").chain(parts.iter().copied()).collect();
            let below = path.strip_prefix(&self.absolute).ok();
            below.map(|below| below.to_string_lossy().into_owned())
        } else {
            (above == 0).then(|| parts.join("/"))
        };
        match below {
            Some(path) if path.is_empty() => Err(refused(format!("`{written}` names no file"))),
            Some(path) if self.is_behind_link(written, &path) => Err(refused(format!(
                "in `{written}` a `..` follows a link, so that it is not {path}"
            ))),
            Some(path) => Ok(item(path, Content::File)),
            None if self.reach == Reach::Below => Err(refused(format!(
                "`{written}` lies outside of {}",
                if self.path.as_os_str().is_empty() {
                    "the list's folder".to_owned()
                } else {
                    self.path.display().to_string()
                }
            ))),
            None => {
                let path = format!("outside/{}{}", "up/".repeat(above), parts.join("/"));
                Ok(item(path, Content::At(self.path.join(written))))
            }
        }
    }

    /// A path as Windows writes it, where that is what it is: `cat\a.jpg` may also be the name of one file here.
    fn without_backslashes(&self, written: &str) -> Option<String> {
        if !written.contains('\\') || self.path.join(written).exists() {
            return None;
        }
        let unix = written.replace('\\', "/");
        self.path.join(&unix).exists().then_some(unix)
    }

    /// Whether the system finds another file than the plain path names, since it follows links first.
    fn is_behind_link(&self, written: &str, plain: &str) -> bool {
        let real = |path: &str| fs::canonicalize(self.path.join(path)).ok();
        written.split('/').any(|part| part == "..")
            && real(written).is_some_and(|written| real(plain) != Some(written))
    }
}

/// A path as images are called below `root`, where it lies there: `./a//b.jpg`, `a\\b.jpg` and an absolute path are `a/b.jpg`.
/// What lies elsewhere stays as it is.
pub(crate) fn plain_path(written: &str, root: &Path) -> String {
    let unix = written.replace('\\', "/");
    let (above, parts) = plain(&unix);
    if above > 0 || written.starts_with("outside/") {
        return written.to_owned();
    }
    if !unix.starts_with('/') {
        return parts.join("/");
    }
    let absolute: PathBuf = std::iter::once("/").chain(parts.iter().copied()).collect();
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let below = absolute.strip_prefix(root).ok().and_then(Path::to_str);
    below.map_or_else(|| written.to_owned(), str::to_owned)
}

/// How many folders above its start a path leads, and what is left of it.
fn plain(written: &str) -> (usize, Vec<&str>) {
    let (mut above, mut parts) = (0, Vec::new());
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => above += 1,
            ".." => {}
            part => parts.push(part),
        }
    }
    (above, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(
        root: &Path,
        written: &str,
        reach: Reach,
    ) -> std::result::Result<(String, bool), String> {
        let root = Root::new(root, reach, OF_A_LIST).unwrap();
        let item = root.item(written, || "list.txt:7".into());
        let item = item.map_err(|err| err.to_string())?;
        Ok((item.path, matches!(item.content, Content::File)))
    }

    #[test]
    fn one_file_has_one_name() {
        let root = Path::new("/data/photos");
        for written in [
            "cat/a.jpg",
            "./cat/a.jpg",
            "cat//a.jpg",
            "cat/./a.jpg",
            "dog/../cat/a.jpg",
            "/data/photos/cat/a.jpg",
            "/data/x/../photos/cat/a.jpg",
        ] {
            for reach in [Reach::Below, Reach::Anywhere] {
                let expected = Ok(("cat/a.jpg".to_owned(), true));
                assert_eq!(named(root, written, reach), expected, "{written}");
            }
        }
    }

    #[test]
    fn what_lies_elsewhere_is_refused_or_called_so() {
        let root = Path::new("/data/photos");
        for (written, called) in [
            ("../a.jpg", "outside/up/a.jpg"),
            ("cat/../../x//a.jpg", "outside/up/x/a.jpg"),
            ("/etc/a.jpg", "outside/etc/a.jpg"),
            ("/data/photos2/a.jpg", "outside/data/photos2/a.jpg"),
        ] {
            let err = named(root, written, Reach::Below).unwrap_err();
            let reason = format!("list.txt:7: `{written}` lies outside of /data/photos\nhint: ");
            assert!(err.starts_with(&reason), "{err}");
            let found = named(root, written, Reach::Anywhere);
            assert_eq!(found, Ok((called.to_owned(), false)));
        }
        for written in [".", "cat/..", "/data/photos", ""] {
            let err = named(root, written, Reach::Anywhere).unwrap_err();
            assert!(err.contains(&format!("`{written}` names no file")), "{err}");
        }
    }

    #[test]
    fn a_way_up_through_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("deep/down")).unwrap();
        fs::write(at("a.jpg"), "").unwrap();
        fs::write(at("deep/a.jpg"), "").unwrap();
        std::os::unix::fs::symlink("deep/down", at("link")).unwrap();
        let err = named(dir.path(), "link/../a.jpg", Reach::Below).unwrap_err();
        let reason = "in `link/../a.jpg` a `..` follows a link, so that it is not a.jpg";
        assert!(err.contains(reason), "{err}");
        let fine = named(dir.path(), "deep/../a.jpg", Reach::Below);
        assert_eq!(fine, Ok(("a.jpg".to_owned(), true)));
    }
}
