//! Where the splits of a dataset lie: `ROOT/train`, `ROOT/val` and `ROOT/test`, or one split in the folder itself; and
//! how far such a folder is: finished, being built, or none of ours.
//!
//! It looks at names, and at the footer of a Parquet file where names do not tell. Invariant: every reader of shards and
//! every reader of sources asks here, so that a folder whose build has not ended is refused by all of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::manifest::{MANIFEST_FILE, Manifest};
use crate::shard::is_shard;
use crate::split::Split;
use lift_image::decode::is_named_image;
use lift_page::escape;

/// The folder within a split's folder that is there during a build only. It is hidden, so that no reader of images takes
/// it for a class, and no camera, dataset or person gives a folder this name.
pub const BUILDING: &str = ".lift-building";

/// How far a folder is that may be one split's.
enum State {
    /// It has its manifest.
    Finished,
    /// A build has begun in it, or it has shards without their manifest; the text says which.
    Unfinished(&'static str),
    /// No build has been here.
    Other,
}

fn state(dir: &Path) -> State {
    if dir.join(MANIFEST_FILE).is_file() {
        State::Finished
    } else if dir.join(BUILDING).is_dir() {
        State::Unfinished("a build has begun here and not ended")
    } else if holds_shards(dir) {
        State::Unfinished("there are shards and no manifest.json")
    } else {
        State::Other
    }
}

fn unfinished(dir: &Path, sign: &'static str) -> Error {
    Error::Unfinished {
        dir: dir.to_owned(),
        sign,
    }
}

/// The name of a shard's file.
pub fn shard_name(split: Split, shard: u64) -> String {
    format!("{split}-{shard:05}.parquet")
}

/// Whether a shard's file may be called so.
pub fn is_shard_name(name: &str) -> bool {
    let numbered = |split: Split| {
        let number = name.strip_prefix(split.as_str())?.strip_prefix('-')?;
        let number = number.strip_suffix(".parquet")?;
        Some(shard_name(split, number.parse().ok()?) == name)
    };
    Split::ALL
        .into_iter()
        .any(|split| numbered(split) == Some(true))
}

/// Other programs call Parquet files so too, so that one of them is opened.
fn holds_shards(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else {
        return false;
    };
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let first = names.find(|name| is_shard_name(name));
    first.is_some_and(|name| is_shard(&dir.join(name)))
}

/// The folder of a split's shards below `root`, or `root` itself when it holds that split.
///
/// # Errors
/// When neither holds a complete split of that name, or a build of one of the splits has not ended.
pub fn split_dir(root: &Path, split: Split) -> Result<PathBuf> {
    let below = root.join(split.as_str());
    let dirs = shard_dirs(root)?;
    if dirs.contains(&below) {
        return Ok(below);
    }
    if dirs.iter().any(|dir| dir == root) && Manifest::load(root)?.split == split {
        return Ok(root.to_path_buf());
    }
    Err(no_shards(root, Some(split), &dirs))
}

/// As [`split_dir`]; none where the dataset has other splits and not this one.
///
/// # Errors
/// When there are no shards at all, a build of one of the splits has not ended, or `root` is the folder of another split,
/// beside which this one lies.
pub fn split_dir_if_there(root: &Path, split: Split) -> Result<Option<PathBuf>> {
    let dirs = require_shard_dirs(root)?;
    if dirs.contains(&root.join(split.as_str())) {
        return Ok(Some(root.join(split.as_str())));
    }
    if dirs != [root] {
        return Ok(None);
    }
    if Manifest::load(root)?.split == split {
        return Ok(Some(root.to_path_buf()));
    }
    if Manifest::is_in(&root.join("..").join(split.as_str())) {
        return Err(no_shards(root, Some(split), &dirs));
    }
    Ok(None)
}

/// The complete shard folders at `root`: itself, or its `train`, `val` and `test`. Empty where no build has been.
///
/// # Errors
/// When a build of one of them has not ended, or one of the splits' folders is no split beside others that are.
pub fn shard_dirs(root: &Path) -> Result<Vec<PathBuf>> {
    match state(root) {
        State::Finished => return Ok(vec![root.to_path_buf()]),
        State::Unfinished(sign) => return Err(unfinished(root, sign)),
        State::Other => {}
    }
    let (mut finished, mut others) = (Vec::new(), Vec::new());
    for dir in split_dirs(root) {
        match state(&dir) {
            State::Finished => finished.push(dir),
            State::Unfinished(sign) => return Err(unfinished(&dir, sign)),
            State::Other if dir.is_dir() => others.push(dir),
            State::Other => {}
        }
    }
    match others.into_iter().next() {
        Some(dir) if !finished.is_empty() => Err(Error::NoShards {
            dir,
            reason: format!(
                "no shards: there is no {MANIFEST_FILE}, and the split beside it has one"
            ),
            hint: "run the build again, or move this folder away".to_owned(),
        }),
        _ => Ok(finished),
    }
}

/// As [`shard_dirs`], for who needs a dataset.
///
/// # Errors
/// Also when there is none.
pub fn require_shard_dirs(root: &Path) -> Result<Vec<PathBuf>> {
    let dirs = shard_dirs(root)?;
    if dirs.is_empty() {
        Err(no_shards(root, None, &[]))
    } else {
        Ok(dirs)
    }
}

/// Why `root` has no shards, or not those of `wanted`; `there` are those that it has.
fn no_shards(root: &Path, wanted: Option<Split>, there: &[PathBuf]) -> Error {
    let wrong = |reason: String, hint: String| Error::NoShards {
        dir: root.to_owned(),
        reason,
        hint,
    };
    let give = |dir: &Path| format!("give {}", escape::path(dir));
    let usual =
        || "give the folder that `lift-data build` wrote (its --out), or run the build".to_owned();
    if !root.exists() {
        let hint = if root.starts_with("~") {
            "`~` was not replaced, because it stands within quotes or behind `=`: write $HOME"
                .to_owned()
        } else {
            usual()
        };
        return wrong("no such folder".to_owned(), hint);
    }
    if !root.is_dir() {
        let hint = if is_shard(root) {
            give(
                root.parent()
                    .filter(|dir| *dir != Path::new(""))
                    .unwrap_or(Path::new(".")),
            )
        } else {
            usual()
        };
        return wrong(
            "a file, where a folder of shards is wanted".to_owned(),
            hint,
        );
    }
    if let (Some(wanted), [only]) = (wanted, there)
        && only == root
    {
        let above = root.join("..").canonicalize().ok();
        let above = above.filter(|above| Manifest::is_in(&above.join(wanted.as_str())));
        let reason = match Manifest::load(root) {
            Ok(manifest) => format!(
                "holds the split {} alone, and {wanted} is wanted too",
                manifest.split
            ),
            Err(err) => return err,
        };
        return match (above, root.parent()) {
            // As it was typed, where that says it.
            (Some(_), Some(parent)) if root.file_name().is_some() => wrong(
                reason,
                give(if parent == Path::new("") {
                    Path::new(".")
                } else {
                    parent
                }),
            ),
            (Some(above), _) => wrong(reason, give(&above)),
            (None, _) => wrong(reason, format!("build the split {wanted} too, beside it")),
        };
    }
    if let (Some(wanted), false) = (wanted, there.is_empty()) {
        let names = there.iter().filter_map(|dir| dir.file_name());
        let names: Vec<_> = names.map(|name| name.display().to_string()).collect();
        return wrong(
            format!("has no split {wanted}, only {}", names.join(" and ")),
            format!("build it too (--split {wanted}), or choose another"),
        );
    }
    let below = fs::read_dir(root).into_iter().flatten().flatten();
    let mut below: Vec<PathBuf> = below
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    below.sort();
    let has_shards = |dir: &&PathBuf| {
        split_dirs(dir)
            .iter()
            .chain([*dir])
            .any(|dir| Manifest::is_in(dir))
    };
    let shards: Vec<&PathBuf> = below.iter().filter(has_shards).take(4).collect();
    if !shards.is_empty() {
        let names: Vec<String> = shards
            .iter()
            .map(|dir| escape::path(dir).to_string())
            .collect();
        return wrong(
            "no shards: they lie a folder deeper".to_owned(),
            format!("give {}", names.join(" or ")),
        );
    }
    if holds_images(root, 2) {
        let hint = format!(
            "build shards of them first: lift-data build folder --source {} --out OUT",
            escape::path(root)
        );
        return wrong("holds images, and shards are wanted".to_owned(), hint);
    }
    wrong(
        format!("no shards: there is no {MANIFEST_FILE} in it, nor in train, val or test below it"),
        usual(),
    )
}

/// Whether images lie in `dir` or up to `depth` folders below it, by the first names that are there.
fn holds_images(dir: &Path, depth: usize) -> bool {
    const LOOKED_AT: usize = 50;
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.take(LOOKED_AT).any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            depth > 0 && holds_images(&path, depth - 1)
        } else {
            path.extension()
                .is_some_and(|end| is_named_image(end.to_ascii_lowercase().to_str()))
        }
    })
}

/// Refuses shards, finished or not, where a source of images is wanted: what is read of an unfinished build is not the
/// whole, and of a finished one, some readers would see image files and others no image.
///
/// # Errors
/// When `source` is a shard, or a folder that a build has written or is writing.
pub fn require_no_shards(source: &Path) -> Result<()> {
    let mut dirs = Vec::new();
    if source.is_dir() {
        dirs.push(source.to_path_buf());
        dirs.extend(split_dirs(source));
    } else if is_shard(source) {
        dirs.push(source.parent().unwrap_or(Path::new("")).to_path_buf());
    }
    for dir in dirs {
        match state(&dir) {
            State::Unfinished(sign) => return Err(unfinished(&dir, sign)),
            State::Finished if Manifest::is_in(&dir) => return Err(Error::NoSource { dir }),
            State::Finished | State::Other => {}
        }
    }
    Ok(())
}

/// Where the splits of `root` would lie.
pub fn split_dirs(root: &Path) -> [PathBuf; 3] {
    Split::ALL.map(|split| root.join(split.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_have_names_of_their_own() {
        for split in Split::ALL {
            for shard in [0, 7, 99_999, 123_456] {
                assert!(is_shard_name(&shard_name(split, shard)));
            }
        }
        for other in [
            "train-0.parquet",
            "train-00000-of-00005.parquet",
            "train-000000.parquet",
            "train-00000.parquet.tmp",
            "training-00000.parquet",
            "train.parquet",
        ] {
            assert!(!is_shard_name(other), "{other}");
        }
    }
}
