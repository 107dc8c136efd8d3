//! The files of an unpacked CIFAR archive, or the members of a packed one.
//!
//! It does not know what is in them. Invariant: a file is read whole, and no larger than any of
//! CIFAR's, so that a wrong or hostile archive costs bounded memory. Members are taken by the names in their headers: long ones,
//! which the library would read whole, are none of CIFAR's.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::error::{Error, Result};

/// The largest of CIFAR's files has 155 MB.
const MAX_BYTES: u64 = 256 << 20;

/// The bytes of a file.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let file = lift_files::open(path).map_err(Error::read(path))?;
    let bytes = read_bounded(file).map_err(Error::read(path))?;
    bytes.ok_or_else(|| too_large(path))
}

/// The members `folder/name` of a `.tar.gz`, in the order of `names`.
pub fn read_members(path: &Path, folder: &str, names: &[String]) -> Result<Vec<Vec<u8>>> {
    let mut members: Vec<Option<Vec<u8>>> = vec![None; names.len()];
    let mut archive = open(path)?;
    let entries = archive.entries().map_err(|err| damaged(path, &err))?;
    for entry in entries.raw(true) {
        let entry = entry.map_err(|err| damaged(path, &err))?;
        let Some(place) = place_of(&entry, folder, names) else {
            continue;
        };
        let bytes = read_bounded(entry).map_err(|err| damaged(path, &err))?;
        members[place] = Some(bytes.ok_or_else(|| too_large(path))?);
        if members.iter().all(Option::is_some) {
            break;
        }
    }
    members
        .into_iter()
        .zip(names)
        .map(|(member, name)| {
            member.ok_or_else(|| Error::Source {
                path: path.to_owned(),
                reason: format!("there is no {folder}/{name} in it"),
                hint: "download the archive again".to_owned(),
            })
        })
        .collect()
}

/// Whether a `.tar.gz` has one of the members `folder/name`. Something that is no `.tar.gz` has none.
pub fn has_member(path: &Path, folder: &str, names: &[String]) -> Result<bool> {
    let mut archive = open(path)?;
    let Ok(entries) = archive.entries() else {
        return Ok(false);
    };
    Ok(entries
        .raw(true)
        .map_while(io::Result::ok)
        .any(|entry| place_of(&entry, folder, names).is_some()))
}

fn open(path: &Path) -> Result<tar::Archive<GzDecoder<BufReader<File>>>> {
    let file = lift_files::open(path).map_err(Error::read(path))?;
    Ok(tar::Archive::new(GzDecoder::new(BufReader::new(file))))
}

fn place_of<R: Read>(entry: &tar::Entry<'_, R>, folder: &str, names: &[String]) -> Option<usize> {
    if !entry.header().entry_type().is_file() {
        return None;
    }
    let path = entry.path().ok()?;
    let path: PathBuf = path.components().collect();
    let path = path.strip_prefix(".").unwrap_or(&path);
    names
        .iter()
        .position(|name| path == Path::new(folder).join(name))
}

/// `None` where there is more than the largest file has.
fn read_bounded(reader: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_BYTES).then_some(bytes))
}

fn damaged(path: &Path, err: &io::Error) -> Error {
    Error::Source {
        path: path.to_owned(),
        reason: format!("cannot read as .tar.gz: {err}"),
        hint: "download the archive again".to_owned(),
    }
}

fn too_large(path: &Path) -> Error {
    Error::Source {
        path: path.to_owned(),
        reason: format!("a file of more than {} MiB", MAX_BYTES >> 20),
        hint: "CIFAR's files are smaller; check that this is the right one".to_owned(),
    }
}
