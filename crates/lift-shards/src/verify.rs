//! Reads all of a shard folder and says whether it is whole.
//!
//! It repairs nothing. Invariant: every byte of every shard is read, so a changed byte anywhere in a
//! shard is found, and named by row where it lies in a row; so is a listing of bad images that is not the manifest's, a
//! shard that nobody knows of, and a split in another's place.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::{Error, Result};
use crate::manifest::{MANIFEST_FILE, Manifest, ShardEntry};
use crate::quarantine;
use crate::shard::{ShardIndex, read_row};
use lift_page::escape::{self, visible};

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
    /// What could not be checked, and what is odd and no fault, a line each.
    pub notes: Vec<String>,
    /// Of every row whose bytes are whole: their hash and where it lies.
    #[serde(skip)]
    contents: Vec<Content>,
}

/// The stored bytes of an image, without its id: of the same image in two splits they are the same.
#[derive(Debug, Clone, Copy)]
struct Content {
    xxh3: u64,
    shard: u32,
    row: u32,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Verifies the shard folders `dirs`, the splits of a dataset, each by itself and then beside the others. A missing or bad
/// manifest is an error; all else is a problem of a verdict.
pub fn verify(dirs: &[PathBuf]) -> Result<Vec<Verdict>> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for dir in dirs {
        let mut verdict = verify_split(dir)?;
        for before in &verdicts {
            verdict.compare(before);
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

/// Reads all of the shard that `entry` describes: how many images of each class are in it, or the first thing that is
/// wrong with it.
pub fn check_shard(
    dir: &Path,
    manifest: &Manifest,
    entry: &ShardEntry,
) -> std::result::Result<Vec<u64>, String> {
    let mut verdict = Verdict::new(dir, manifest);
    let mut counts = vec![0_u64; manifest.num_classes()];
    verdict.add_shard(manifest, 0, entry, &mut counts);
    match verdict.problems.into_iter().next() {
        None => Ok(counts),
        Some(problem) => Err(problem),
    }
}

/// What is wrong where the images of each class in whole shards are not those that the manifest promises.
pub fn wrong_counts(manifest: &Manifest, counts: &[u64]) -> Option<String> {
    (counts != manifest.class_counts)
        .then(|| format!("{MANIFEST_FILE}: class_counts differ from the labels in the shards"))
}

fn verify_split(dir: &Path) -> Result<Verdict> {
    let manifest = Manifest::read(dir)?;
    let mut verdict = Verdict::new(dir, &manifest);
    if let Some(named) = manifest.misnamed(dir) {
        let holds = manifest.split;
        verdict.problems.push(format!(
            "{MANIFEST_FILE}: the folder is called {named} and holds the {holds} split: split folders were swapped, renamed or copied"
        ));
    }
    let whole_before = verdict.problems.len();
    let mut counts = vec![0_u64; manifest.num_classes()];
    for (number, entry) in (0..).zip(&manifest.shards) {
        verdict.add_shard(&manifest, number, entry, &mut counts);
    }
    if verdict.problems.len() == whole_before {
        verdict.problems.extend(wrong_counts(&manifest, &counts));
    }
    verdict.add_others(&manifest)?;
    Ok(verdict)
}

impl Verdict {
    /// Of a folder that was not looked at yet.
    fn new(dir: &Path, manifest: &Manifest) -> Self {
        Self {
            dir: dir.to_owned(),
            rows: manifest.rows,
            shards: manifest.shards.len(),
            bytes: manifest.bytes(),
            problems: Vec::new(),
            notes: Vec::new(),
            contents: Vec::new(),
        }
    }

    fn add_shard(
        &mut self,
        manifest: &Manifest,
        number: u32,
        entry: &ShardEntry,
        counts: &mut [u64],
    ) {
        let (file, before) = (&entry.file, self.problems.len());
        match ShardIndex::open(&self.dir, manifest, entry, number) {
            Ok(index) => self.add_rows(file, &index, counts),
            Err(Error::Shard { reason, .. }) => self.problems.push(format!("{file}: {reason}")),
            Err(Error::Read { source, .. }) => {
                self.problems.push(format!("{file}: cannot read: {source}"));
                return;
            }
            Err(err) => self.problems.push(format!("{file}: {err}")),
        }
        match hash_file(&self.dir.join(file)) {
            Ok(hash) if hash == entry.xxh3 => {}
            Ok(_) if self.problems.len() > before => {}
            Ok(hash) => self.problems.push(format!(
                "{file}: its hash is {hash}, the manifest says {}: the damage lies in the page header of an image",
                entry.xxh3
            )),
            Err(err) => self.problems.push(format!("{file}: cannot read: {err}")),
        }
    }

    fn add_rows(&mut self, file: &str, index: &ShardIndex, counts: &mut [u64]) {
        let mut buf = Vec::new();
        for (position, row) in index.rows.iter().enumerate() {
            counts[row.label as usize] += 1;
            match read_row(&index.file, row, &mut buf) {
                Ok(()) => self.contents.push(Content {
                    xxh3: xxh3_64(&buf),
                    shard: row.shard,
                    row: position as u32,
                }),
                Err(fault) => self.problems.push(format!(
                    "{file}: row {position} ({}): {fault}",
                    visible(index.paths.get(position))
                )),
            }
        }
    }

    /// What lies beside the shards: the listing of bad images, and shards that the manifest does not name.
    fn add_others(&mut self, manifest: &Manifest) -> Result<()> {
        for kind in [quarantine::BAD, quarantine::DAMAGED] {
            let file = kind.file;
            match quarantine::checked(&self.dir, manifest, &kind) {
                Err(reason) => self.problems.push(format!("{file}: {reason}")),
                Ok(_) if quarantine::is_unchecked(manifest, &kind) => self.notes.push(format!(
                    "{file}: its lines were counted and nothing else was checked: the manifest is of a version that did not record its hash"
                )),
                Ok(_) => {}
            }
        }
        let known: HashSet<&str> = manifest
            .shards
            .iter()
            .map(|shard| shard.file.as_str())
            .collect();
        let mut strays = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(Error::read(&self.dir))? {
            let name = entry.map_err(Error::read(&self.dir))?.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".parquet") && !known.contains(name.as_ref()) {
                strays.push(format!(
                    "{}: a stray shard: the manifest does not name it",
                    visible(&name)
                ));
            }
        }
        strays.sort();
        self.problems.extend(strays);
        Ok(())
    }

    /// Looks for images that `other`, another split, has as well. Single ones occur in many datasets, which a report lists;
    /// where they are most of a split, one was made from the other's images.
    fn compare(&mut self, other: &Verdict) {
        // The first of equal ones is the one that stays.
        let theirs = other
            .contents
            .iter()
            .rev()
            .map(|theirs| (theirs.xxh3, theirs));
        let theirs: HashMap<u64, &Content> = theirs.collect();
        let mut shared = self
            .contents
            .iter()
            .filter_map(|ours| Some((ours, *theirs.get(&ours.xxh3)?)));
        let Some((first, same)) = shared.next() else {
            return;
        };
        let count = 1 + shared.count();
        let (rows, fewer) = (self.contents.len(), self.contents.len().min(theirs.len()));
        let text = format!(
            "{MANIFEST_FILE}: {count} of its {rows} images are in {} too (the first: row {} of shard {} here, row {} of shard {} there)",
            escape::path(&other.dir),
            first.row,
            first.shard,
            same.row,
            same.shard
        );
        if count * 2 > fewer {
            self.problems.push(text)
        } else {
            self.notes.push(text)
        }
    }
}

/// The XXH3-64 of a whole file, in 16 hex digits.
fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut file = lift_files::open(path)?;
    let mut hash = Xxh3::new();
    let mut buf = vec![0; 1 << 20];
    loop {
        match file.read(&mut buf)? {
            0 => return Ok(format!("{:016x}", hash.digest())),
            n => hash.update(&buf[..n]),
        }
    }
}
