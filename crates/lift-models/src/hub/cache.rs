//! The cache of one model, in the layout of Python's `huggingface_hub`, which shares it.
//!
//! `models--org--name/` holds `blobs/` (the files, named by their hashes), `snapshots/<commit>/` (relative links to them
//! by name), `refs/<revision>` (the commit last seen) and `.no_exist/<commit>/` (empty files for names that the commit
//! does not have). Nothing is asked of the network here. Invariant: a blob under its final name is whole, and a snapshot
//! only links to whole blobs.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::id::{ModelId, is_commit};
use crate::{
    error::{Error, Result},
    parts::is_whole,
    say::say,
};

/// Files with a model's tensors, or the index of several, in the order in which they are looked for, in folders too.
pub const WEIGHTS: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
];

/// The part of the cache that belongs to a model.
pub struct ModelCache {
    repo: CacheRepo,
    revision: String,
    folder: PathBuf,
    locks: PathBuf,
}

impl ModelCache {
    /// The model's part of the cache in this folder, which need not exist.
    pub fn new(cache: &Path, id: &ModelId) -> Self {
        let (repo, revision) = (id.repo.clone(), id.revision.clone());
        let repo = Repo::with_revision(repo, RepoType::Model, revision.clone());
        let name = repo.folder_name();
        Self {
            folder: cache.join(&name),
            locks: cache.join(".locks").join(&name),
            repo: Cache::new(cache.into()).repo(repo),
            revision,
        }
    }

    /// The model's folder in the cache.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The commit that the revision is, or last was, if its tensors are here.
    pub fn usable_commit(&self) -> Option<String> {
        let commit = if is_commit(&self.revision) {
            self.revision.clone()
        } else {
            self.known_commit()?
        };
        let has_weights = WEIGHTS
            .iter()
            .any(|file| is_whole(&self.snapshot(&commit).join(file)));
        has_weights.then_some(commit)
    }

    fn known_commit(&self) -> Option<String> {
        let text = fs::read_to_string(self.folder.join("refs").join(&self.revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Remembers which commit the revision is.
    pub fn remember(&self, commit: &str) -> Result<()> {
        if is_commit(&self.revision) || self.known_commit().as_deref() == Some(commit) {
            return Ok(());
        }
        let written = self.repo.create_ref(commit);
        written.map_err(Error::io(self.folder.join("refs").join(&self.revision)))
    }

    /// The folder of a commit.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo.pointer_path(commit)
    }

    /// Whether the file of this commit is here.
    pub fn has(&self, commit: &str, file: &str) -> bool {
        self.snapshot(commit).join(file).is_file()
    }

    /// Whether the commit is known not to have this file.
    pub fn is_absent(&self, commit: &str, file: &str) -> bool {
        self.absence(commit, file).exists()
    }

    /// Remembers that the commit does not have this file.
    pub fn remember_absence(&self, commit: &str, file: &str) -> Result<()> {
        let path = self.absence(commit, file);
        make_parent(&path)?;
        File::create(&path).map(drop).map_err(Error::io(path))
    }

    fn absence(&self, commit: &str, file: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(file)
    }

    /// Where the file with this hash lies.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Keeps other processes, Python's too, from fetching this blob while the file is open.
    pub fn lock(&self, etag: &str) -> Result<File> {
        let path = self.locks.join(format!("{etag}.lock"));
        make_parent(&path)?;
        let file = File::create(&path).map_err(Error::io(&path))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            say("note: waiting for another process that fetches the same file");
            file.lock().map_err(Error::io(path))?;
        }
        // Some file systems have no locks: better without one than not at all.
        Ok(file)
    }

    /// Makes a whole blob the file of this name in the commit's snapshot.
    pub fn link(&self, commit: &str, file: &str, etag: &str) -> Result<()> {
        let path = self.snapshot(commit).join(file);
        make_parent(&path)?;
        if fs::symlink_metadata(&path).is_ok() && !path.exists() {
            // A link to a blob that was removed by hand.
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
        let target = Path::new("../../blobs").join(etag);
        match symlink(&target, &path) {
            Ok(()) => Ok(()),
            // Another process was faster.
            Err(_) if path.is_file() => Ok(()),
            // Without links the file itself lies in the snapshot; Python does the same.
            Err(_) => fs::rename(self.blob(etag), &path).map_err(Error::io(path)),
        }
    }
}

#[cfg(unix)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes the folder that `path` lies in.
pub fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn cache(dir: &Path, id: &str) -> ModelCache {
        ModelCache::new(dir, &ModelId::parse(id).unwrap())
    }

    #[test]
    fn what_python_put_there_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("models--org--name");
        let snapshot = folder.join("snapshots").join(COMMIT);
        for sub in ["blobs", "refs/refs/pr"] {
            fs::create_dir_all(folder.join(sub)).unwrap();
        }
        fs::create_dir_all(&snapshot).unwrap();
        fs::write(folder.join("blobs/abc"), "tensors").unwrap();
        symlink(
            Path::new("../../blobs/abc"),
            &snapshot.join("model.safetensors"),
        )
        .unwrap();
        fs::write(folder.join("refs/refs/pr/1"), COMMIT).unwrap();
        for id in ["org/name@refs/pr/1", &format!("org/name@{COMMIT}")] {
            let cache = cache(dir.path(), id);
            assert_eq!(cache.usable_commit().as_deref(), Some(COMMIT), "{id}");
            assert_eq!(cache.snapshot(COMMIT), snapshot);
        }
        assert_eq!(cache(dir.path(), "org/name").usable_commit(), None);
    }

    #[test]
    fn a_ref_that_was_cut_off_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), "org/name");
        cache.remember(COMMIT).unwrap();
        assert_eq!(cache.known_commit().as_deref(), Some(COMMIT));
        fs::write(cache.folder().join("refs/main"), &COMMIT[..20]).unwrap();
        assert_eq!(cache.known_commit(), None);
    }

    #[test]
    fn a_link_whose_blob_was_removed_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), "org/name");
        for etag in ["old", "new"] {
            make_parent(&cache.blob(etag)).unwrap();
            fs::write(cache.blob(etag), etag).unwrap();
            cache.link(COMMIT, "config.json", etag).unwrap();
            let path = cache.snapshot(COMMIT).join("config.json");
            assert_eq!(fs::read_to_string(path).unwrap(), etag);
            fs::remove_file(cache.blob(etag)).unwrap();
            assert!(!cache.has(COMMIT, "config.json"));
        }
    }
}
