//! Reads all of a shard folder and says whether it is whole.
//!
//! It repairs nothing. Invariant: every byte of every shard is read, so a changed byte anywhere in a
//! shard is found, and named by row where it lies in a row.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::manifest::{MANIFEST_FILE, Manifest, ShardEntry};
use crate::page::escape::visible;
use crate::shard::{ShardIndex, read_row};

/// What verifying found.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The shard folder.
    pub dir: PathBuf,
    /// Images that the manifest promises.
    pub rows: u64,
    /// Shard files that the manifest promises.
    pub shards: usize,
    /// Bytes of all shard files.
    pub bytes: u64,
    /// What is wrong, a line each; empty when the folder is whole.
    pub problems: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Verifies the shard folder `dir`. A missing or bad manifest is an error; all else is a problem of the
/// verdict.
pub fn verify(dir: &Path) -> Result<Verdict> {
    let manifest = Manifest::load(dir)?;
    let mut problems = Vec::new();
    let mut counts = vec![0_u64; manifest.num_classes()];
    for entry in &manifest.shards {
        verify_shard(dir, &manifest, entry, &mut counts, &mut problems);
    }
    if problems.is_empty() && counts != manifest.class_counts {
        problems.push(format!(
            "{MANIFEST_FILE}: class_counts differ from the labels in the shards"
        ));
    }
    Ok(Verdict {
        dir: dir.to_owned(),
        rows: manifest.rows,
        shards: manifest.shards.len(),
        bytes: manifest.bytes(),
        problems,
    })
}

fn verify_shard(
    dir: &Path,
    manifest: &Manifest,
    entry: &ShardEntry,
    counts: &mut [u64],
    problems: &mut Vec<String>,
) {
    let file = &entry.file;
    let before = problems.len();
    match ShardIndex::open(dir, manifest, entry, 0) {
        Ok(index) => verify_rows(file, &index, counts, problems),
        Err(Error::Shard { reason, .. }) => problems.push(format!("{file}: {reason}")),
        Err(Error::Read { source, .. }) => {
            problems.push(format!("{file}: cannot read: {source}"));
            return;
        }
        Err(err) => problems.push(format!("{file}: {err}")),
    }
    match hash_file(&dir.join(file)) {
        Ok(hash) if hash == entry.xxh3 => {}
        Ok(_) if problems.len() > before => {}
        Ok(hash) => problems.push(format!(
            "{file}: its hash is {hash}, the manifest says {}: the damage lies in the page header of an image",
            entry.xxh3
        )),
        Err(err) => problems.push(format!("{file}: cannot read: {err}")),
    }
}

fn verify_rows(file: &str, index: &ShardIndex, counts: &mut [u64], problems: &mut Vec<String>) {
    let mut buf = Vec::new();
    for (position, row) in index.rows.iter().enumerate() {
        counts[row.label as usize] += 1;
        if let Err(fault) = read_row(&index.file, row, &mut buf) {
            problems.push(format!(
                "{file}: row {position} ({}): {fault}",
                visible(index.paths.get(position))
            ));
        }
    }
}

/// The XXH3-64 of a whole file, in 16 hex digits.
pub(crate) fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buf = vec![0; 1 << 20];
    loop {
        match file.read(&mut buf)? {
            0 => return Ok(format!("{:016x}", hash.digest())),
            n => hash.update(&buf[..n]),
        }
    }
}
