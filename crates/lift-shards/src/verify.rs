//! Reads all of a shard folder and says whether it is whole.
//!
//! It repairs nothing. Invariant: every byte of every shard is read, once, so a changed byte anywhere in a
//! shard is found, and named by row where it lies in a row; so is a listing of bad images that is not the manifest's, a
//! shard that nobody knows of, and a split in another's place. Shards are read at the same time, on all cores; what is said of
//! them is in their order.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use twox_hash::XxHash3_64;

use crate::error::{Error, Result};
use crate::manifest::{MANIFEST_FILE, Manifest, ShardEntry};
use crate::quarantine;
use crate::shard::{Row, ShardIndex, row_hashes};
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
    let mut looked = Looked::at(dir, manifest, 0, entry);
    match looked.problems.drain(..).next() {
        None => Ok(looked.counts),
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
    let shards = manifest.shards.par_iter().enumerate();
    let looked = shards.map(|(number, entry)| Looked::at(dir, &manifest, number as u32, entry));
    for shard in looked.collect::<Vec<_>>() {
        verdict.problems.extend(shard.problems);
        verdict.contents.extend(shard.contents);
        let sums = counts.iter_mut().zip(shard.counts);
        sums.for_each(|(sum, count)| *sum += count);
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

/// What was found in one shard.
struct Looked {
    problems: Vec<String>,
    contents: Vec<Content>,
    /// Images of each class.
    counts: Vec<u64>,
}

impl Looked {
    fn at(dir: &Path, manifest: &Manifest, number: u32, entry: &ShardEntry) -> Self {
        let file = &entry.file;
        let mut looked = Self {
            problems: Vec::new(),
            contents: Vec::new(),
            counts: vec![0; manifest.num_classes()],
        };
        let hash = match ShardIndex::open(dir, manifest, entry, number) {
            Ok(index) => looked.add_rows(file, &index),
            Err(Error::Read { source, .. }) => Err(format!("cannot read: {source}")),
            Err(Error::Shard { reason, .. }) => Err(reason),
            Err(err) => Err(err.to_string()),
        };
        match hash {
            Ok(hash) if hash == entry.xxh3 => {}
            Ok(_) if !looked.problems.is_empty() => {}
            Ok(hash) => looked.problems.push(format!(
                "{file}: its hash is {hash}, the manifest says {}: the damage lies in the page header of an image",
                entry.xxh3
            )),
            Err(problem) => looked.problems.push(format!("{file}: {problem}")),
        }
        looked
    }

    /// Reads the file from its first to its last byte, each row as it comes; the hash of all, in 16 hex digits, or why it cannot be
    /// read on.
    fn add_rows(&mut self, file: &str, index: &ShardIndex) -> std::result::Result<String, String> {
        let unread = |err: io::Error| format!("cannot read: {err}");
        let mut whole = Whole::of(&index.file).map_err(unread)?;
        let mut buf = Vec::new();
        for (position, row) in index.rows.iter().enumerate() {
            self.counts[row.label as usize] += 1;
            let read = whole.read_row(row, &mut buf);
            read.map_err(|err| {
                let path = visible(index.paths.get(position));
                format!("row {position} ({path}): cannot read: {err}")
            })?;
            let (content, checksum) = row_hashes(&buf, row);
            if checksum == row.checksum {
                self.contents.push(Content {
                    xxh3: content,
                    shard: row.shard,
                    row: position as u32,
                });
            } else {
                self.problems.push(format!(
                    "{file}: row {position} ({}): checksum mismatch",
                    visible(index.paths.get(position))
                ));
            }
        }
        let end = whole.length;
        whole.read_to(end, &mut buf).map_err(unread)?;
        Ok(format!("{:016x}", whole.hash.finish()))
    }
}

/// A file that is read from its first byte to its last, with the hash of what was read.
struct Whole<'a> {
    file: &'a File,
    length: u64,
    at: u64,
    hash: XxHash3_64,
}

impl<'a> Whole<'a> {
    fn of(file: &'a File) -> io::Result<Self> {
        Ok(Self {
            file,
            length: file.metadata()?.len(),
            at: 0,
            hash: XxHash3_64::new(),
        })
    }

    /// Reads what lies before `end`.
    fn read_to(&mut self, end: u64, buf: &mut Vec<u8>) -> io::Result<()> {
        while self.at < end {
            buf.resize((end - self.at).min(1 << 20) as usize, 0);
            self.read(buf)?;
        }
        Ok(())
    }

    /// Reads what lies before a row, and its bytes. Rows lie one behind the other, as they were written.
    fn read_row(&mut self, row: &Row, buf: &mut Vec<u8>) -> io::Result<()> {
        if row.offset < self.at {
            let text = "rows overlap";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.read_to(row.offset, buf)?;
        buf.resize(row.num_bytes as usize, 0);
        self.read(buf)
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, self.at)?;
        self.hash.write(buf);
        self.at += buf.len() as u64;
        Ok(())
    }
}
