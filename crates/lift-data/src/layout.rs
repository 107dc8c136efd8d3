//! Where the splits of a dataset lie: `ROOT/train` and `ROOT/test`, or one split in the folder itself.

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
