//! The listings of a split's bad images: `quarantine.jsonl` with a line an image that was left out, and `damaged.jsonl`
//! with a line a damaged one that was kept.
//!
//! Invariant: the manifest has a listing's size and hash, so that one that is gone, cut or changed is found. Manifests
//! of before that have neither; then its lines are counted, and the rest is said to be unchecked.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::atomic;
use crate::error::{Error, Result};
use crate::manifest::{Listing, Manifest};
use lift_page::number::plain;

/// More than any listing has: a line of a million bad images each takes some hundred bytes.
const MAX_BYTES: u64 = 1 << 30;

/// A listing, beside the manifest.
pub struct Kind {
    /// Its name.
    pub file: &'static str,
    /// What is in it.
    what: &'static str,
    count: fn(&Manifest) -> u64,
    recorded: fn(&Manifest) -> Option<&Listing>,
}

/// The bad images.
pub const BAD: Kind = Kind {
    file: "quarantine.jsonl",
    what: "bad images that were left out",
    count: |manifest| manifest.quarantined,
    recorded: |manifest| manifest.quarantine_file.as_ref(),
};

/// The damaged images that were kept.
pub const DAMAGED: Kind = Kind {
    file: "damaged.jsonl",
    what: "damaged images that were kept",
    count: |manifest| manifest.kept_damaged,
    recorded: |manifest| manifest.damaged_file.as_ref(),
};

/// An image that was left out or is damaged: a line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// Its position in the list; no row has the id of a bad image.
    pub id: u64,
    /// Its path, relative to the source.
    pub path: String,
    /// Its class.
    pub label: u32,
    /// What is wrong with it.
    pub reason: String,
}

/// Writes a listing, and says what the manifest needs to know of it. Without an image there is none.
pub fn write(dir: &Path, kind: &Kind, images: &[Quarantined]) -> Result<Option<Listing>> {
    let path = dir.join(kind.file);
    if images.is_empty() {
        // A run that was cut off here may have had one.
        return match fs::remove_file(&path) {
            Err(err) if err.kind() != ErrorKind::NotFound => Err(Error::write(path)(err)),
            _ => Ok(None),
        };
    }
    let mut text = Vec::new();
    for image in images {
        serde_json::to_writer(&mut text, image).expect("plain data into memory");
        text.push(b'\n');
    }
    atomic::write_locked(&path, &text)?;
    Ok(Some(Listing {
        bytes: text.len() as u64,
        xxh3: hash(&text),
    }))
}

/// The bad images of a split, from a listing that is the manifest's.
pub fn read(dir: &Path, manifest: &Manifest) -> Result<Vec<Quarantined>> {
    listed(dir, manifest, &BAD).map_err(|reason| Error::Listing {
        path: dir.join(BAD.file),
        reason,
    })
}

/// The images of a listing that is the manifest's, or what is wrong with it.
pub fn listed(
    dir: &Path,
    manifest: &Manifest,
    kind: &Kind,
) -> std::result::Result<Vec<Quarantined>, String> {
    let text = checked(dir, manifest, kind)?;
    let line = |(number, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|err| format!("line {}: {err}", number + 1))
    };
    lines(&text).enumerate().map(line).collect()
}

/// The listing's bytes, empty where there is none and shall be none; or what is wrong with it.
pub fn checked(
    dir: &Path,
    manifest: &Manifest,
    kind: &Kind,
) -> std::result::Result<Vec<u8>, String> {
    let (expected, what) = ((kind.count)(manifest), kind.what);
    let text = match lift_files::bytes(&dir.join(kind.file), MAX_BYTES) {
        Ok(text) => text,
        Err(err) if err.kind() == ErrorKind::NotFound => match expected {
            0 => return Ok(Vec::new()),
            n => return Err(format!("missing: it lists the {n} {what}")),
        },
        Err(err) => return Err(format!("cannot read: {err}")),
    };
    if expected == 0 {
        return Err(format!("not in the manifest: there are no {what}"));
    }
    if let Some(Listing { bytes, xxh3 }) = (kind.recorded)(manifest) {
        let (found, hash) = (text.len() as u64, hash(&text));
        if found != *bytes {
            return Err(format!("{found} bytes, the manifest says {bytes}"));
        }
        if hash != *xxh3 {
            return Err(format!("its hash is {hash}, the manifest says {xxh3}"));
        }
    }
    match lines(&text).count() as u64 {
        listed if listed == expected => Ok(text),
        listed => Err(format!(
            "{}, the manifest says {expected}",
            plain(listed, "image")
        )),
    }
}

/// Whether a listing is there whose hash the manifest does not have.
pub fn is_unchecked(manifest: &Manifest, kind: &Kind) -> bool {
    (kind.count)(manifest) > 0 && (kind.recorded)(manifest).is_none()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
}

fn hash(text: &[u8]) -> String {
    format!("{:016x}", XxHash3_64::oneshot(text))
}
