//! Where the splits of a dataset lie: `ROOT/train`, `ROOT/val` and `ROOT/test`, or one split in the folder itself.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::manifest::{MANIFEST_FILE, Manifest};
use crate::split::Split;

/// The folder of a split's shards below `root`, or `root` itself when it holds that split.
///
/// # Errors
/// When neither holds a complete split of that name.
pub fn split_dir(root: &Path, split: Split) -> Result<PathBuf> {
    let below = root.join(split.as_str());
    if below.join(MANIFEST_FILE).is_file() {
        return Ok(below);
    }
    if root.join(MANIFEST_FILE).is_file() && Manifest::load(root)?.split == split {
        return Ok(root.to_path_buf());
    }
    Err(Error::NotComplete {
        dir: if root.is_dir() {
            below
        } else {
            root.to_path_buf()
        },
    })
}

/// The complete shard folders at `root`: itself, or its `train`, `val` and `test`. Empty where there is none.
pub fn shard_dirs(root: &Path) -> Vec<PathBuf> {
    let complete = |dir: &PathBuf| dir.join(MANIFEST_FILE).is_file();
    let root = root.to_path_buf();
    if complete(&root) {
        return vec![root];
    }
    split_dirs(&root).into_iter().filter(complete).collect()
}

/// As [`shard_dirs`], for who needs all of a dataset.
///
/// # Errors
/// When there is none, or a split's folder is there and not complete.
pub fn require_shard_dirs(root: &Path) -> Result<Vec<PathBuf>> {
    let dirs = shard_dirs(root);
    if dirs.is_empty() {
        // Says whether the folder is missing or lacks its manifest.
        Manifest::load(root)?;
    }
    let unfinished = |dir: &PathBuf| dir.is_dir() && !dir.join(MANIFEST_FILE).is_file();
    match split_dirs(root).into_iter().find(unfinished) {
        Some(dir) => Err(Error::NotComplete { dir }),
        None => Ok(dirs),
    }
}

/// Where the splits of `root` would lie.
pub(crate) fn split_dirs(root: &Path) -> [PathBuf; 3] {
    Split::ALL.map(|split| root.join(split.as_str()))
}
