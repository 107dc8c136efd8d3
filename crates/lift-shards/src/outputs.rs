//! Files that a program writes when hours of work are done, looked at before the work begins.
//!
//! It writes none of them. Invariant: a path that passes could be written to at that time; what becomes of the disk
//! afterwards is for the writing to say.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lift_files::{folder_of, try_folder};

use crate::error::{Error, Result};

/// Makes the folders of these files, and looks whether each can be written.
///
/// # Errors
/// When a path names no file, a folder or a special file is there, or its folder cannot be made or written.
pub fn prepare<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    for path in paths {
        prepare_one(path).map_err(Error::write(path))?;
    }
    Ok(())
}

fn prepare_one(path: &Path) -> io::Result<()> {
    if path.file_name().is_none() || ends_as_a_folder(path) {
        return Err(io::Error::other("the path of a folder, not of a file"));
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(io::Error::other("there is a folder of that name"));
        }
        // It would be replaced, not written to.
        Ok(found) if !found.is_file() => {
            return Err(io::Error::other(
                "there is something that is no regular file",
            ));
        }
        _ => {}
    }
    let folder = folder_of(path);
    if folder.is_file() {
        return Err(io::Error::other("what should be its folder is a file"));
    }
    fs::create_dir_all(folder)?;
    try_folder(folder)
}

fn ends_as_a_folder(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    text.ends_with(b"/") || text.ends_with(b"/.")
}

/// The flags of the first two of these (flag, file) that name the same file, as a message.
pub fn same_file(outputs: &[(&str, &Path)]) -> Option<String> {
    let places: Vec<PathBuf> = outputs.iter().map(|(_, path)| place(path)).collect();
    for (i, (flag, path)) in outputs.iter().enumerate() {
        if let Some(before) = places[..i].iter().position(|other| *other == places[i]) {
            return Some(format!(
                "{}: --{} and --{flag} both name this file\nhint: give each a file of its own",
                path.display(),
                outputs[before].0
            ));
        }
    }
    None
}

/// Where a file lies, or would lie, without links on the way.
fn place(path: &Path) -> PathBuf {
    if let Ok(found) = fs::canonicalize(path) {
        return found;
    }
    let name = path.file_name().unwrap_or(OsStr::new(""));
    let folder = folder_of(path);
    match fs::canonicalize(folder) {
        Ok(folder) => folder.join(name),
        // Nothing is there yet: two spellings of one path are alike but for `.` and doubled slashes.
        Err(_) => std::path::absolute(path).unwrap_or_else(|_| path.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_and_no_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/report.html");
        prepare([path.as_path()]).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 0);
        fs::write(&path, "old").unwrap();
        prepare([path.as_path()]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn what_cannot_be_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::write(root.join("file"), "").unwrap();
        for (path, reason) in [
            (root.to_path_buf(), "there is a folder of that name"),
            (root.join("new/"), "the path of a folder"),
            (
                root.join("file/x.csv"),
                "what should be its folder is a file",
            ),
            (root.join("file/x/y.csv"), "Not a directory"),
            (PathBuf::from("/dev/null"), "no regular file"),
        ] {
            let message = prepare([path.as_path()]).unwrap_err().to_string();
            let is_said = message.starts_with(&path.display().to_string());
            assert!(is_said && message.contains(reason), "{message}");
        }
    }

    #[test]
    fn spellings_of_one_file_are_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("x"), dir.path().join("./x"));
        let message = same_file(&[("html", &a), ("md", &b)]).unwrap();
        assert!(message.contains("--html and --md both name this file"));
        let (a, b) = (dir.path().join("new/x"), dir.path().join("new/./x"));
        assert!(same_file(&[("html", &a), ("md", &b)]).is_some());
        assert!(same_file(&[("html", &a), ("md", &dir.path().join("x"))]).is_none());
    }
}
