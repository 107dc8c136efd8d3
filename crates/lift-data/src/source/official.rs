//! The official files of a dataset: found beside the images, or fetched, and held against their pin.
//!
//! It reads bytes and decides whether they are the right ones; it parses nothing. Invariant: what it
//! returns has the pinned git blob id, or the user said that any list will do; nothing is fetched
//! unless the user named an address, and what arrives wrong is not written.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lift_files::{Pace, Purpose};

use crate::error::{Error, Result};
use crate::git_blob::GitBlob;
use lift_shards::atomic;

/// Larger than any list: what is read is held in memory.
const MAX_BYTES: u64 = Purpose::List.max_bytes();

/// How long a server may be silent, or slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to a list that is not the pinned one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListCheck {
    /// It is refused.
    Pinned,
    /// It is used, and said.
    Any,
}

/// Where official files may come from.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Folders, in the order of looking; a fetched file goes into the first.
    pub dirs: &'a [&'a Path],
    /// Where they are fetched from when no folder has them; `None`: nowhere.
    pub url: Option<&'a str>,
}

/// A file that should be a certain one.
#[derive(Debug, Clone, Copy)]
pub struct WantedFile<'a> {
    /// What to call it: `train list of imagenet-lt`.
    pub what: &'a str,
    /// Names that it goes by; the first is the one that is fetched.
    pub names: &'a [PathBuf],
    /// The id that its bytes must have.
    pub pin: Option<GitBlob>,
}

/// A file as it was found.
#[derive(Debug, Clone)]
pub struct FoundFile {
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Whether it differs from its pin and is used all the same.
    pub differs: bool,
}

impl FoundFile {
    /// What is in it as text.
    pub fn text(&self) -> Result<String> {
        lift_files::decode(self.bytes.clone()).map_err(Error::read(&self.path))
    }
}

/// The wanted file, `None` where it is in none of the folders and may not be fetched.
pub fn obtain(
    wanted: WantedFile<'_>,
    places: Places<'_>,
    check: ListCheck,
) -> Result<Option<FoundFile>> {
    let candidates = places
        .dirs
        .iter()
        .flat_map(|dir| wanted.names.iter().map(|name| dir.join(name)));
    if let Some(path) = candidates.into_iter().find(|path| path.is_file()) {
        let bytes = lift_files::bytes(&path, MAX_BYTES).map_err(Error::read(&path))?;
        let id = GitBlob::of(&bytes);
        let differs = wanted.pin.is_some_and(|pin| pin != id);
        if let (Some(pin), true, ListCheck::Pinned) = (wanted.pin, differs, check) {
            return Err(Error::Source {
                path,
                reason: format!(
                    "not the official {}: its git blob id is {id}, the official one's is {pin}",
                    wanted.what
                ),
                hint: advice(&bytes, pin).to_owned(),
            });
        }
        return Ok(Some(FoundFile {
            path,
            bytes,
            differs,
        }));
    }
    match (places.url, places.dirs.first(), wanted.names.first()) {
        (Some(url), Some(dir), Some(name)) => {
            let address = format!("{}/{}", url.trim_end_matches('/'), name.display());
            let bytes = fetch(&address, wanted)?;
            fs::create_dir_all(dir).map_err(Error::write(*dir))?;
            let path = dir.join(name);
            atomic::write(&path, &bytes)?;
            Ok(Some(FoundFile {
                path,
                bytes,
                differs: false,
            }))
        }
        _ => Ok(None),
    }
}

/// As [`obtain`], for a file without which nothing can be done.
pub fn require(wanted: WantedFile<'_>, places: Places<'_>, check: ListCheck) -> Result<FoundFile> {
    obtain(wanted, places, check)?.ok_or_else(|| Error::Source {
        path: places
            .dirs
            .first()
            .copied()
            .unwrap_or(Path::new("."))
            .to_owned(),
        reason: format!(
            "the {} is not there (looked for {})",
            wanted.what,
            looked_for(wanted, places)
        ),
        hint: "name the folder with the lists by --lists DIR, or fetch them with --download"
            .to_owned(),
    })
}

fn looked_for(wanted: WantedFile<'_>, places: Places<'_>) -> String {
    let names: Vec<_> = wanted
        .names
        .iter()
        .map(|name| name.display().to_string())
        .collect();
    let also: Vec<_> = places
        .dirs
        .iter()
        .skip(1)
        .map(|dir| format!(", also in {}", dir.display()))
        .collect();
    format!("{}{}", names.join(" and "), also.concat())
}

/// What a user can do about a list with another id.
fn advice(bytes: &[u8], pin: GitBlob) -> &'static str {
    let unix: Vec<u8> = bytes
        .iter()
        .enumerate()
        .filter(|&(i, &byte)| byte != b'\r' || bytes.get(i + 1) != Some(&b'\n'))
        .map(|(_, &byte)| byte)
        .collect();
    if GitBlob::of(&unix) == pin {
        "only its line ends differ (Windows'): check it out with core.autocrlf off, or use it with --any-list"
    } else {
        "remove it and fetch the official one with --download, or use this one with --any-list"
    }
}

fn fetch(address: &str, wanted: WantedFile<'_>) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::Download {
        address: address.to_owned(),
        reason,
    };
    let pin = wanted
        .pin
        .ok_or_else(|| failed(format!("the {} has no pinned hash", wanted.what)))?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(PATIENCE))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .timeout_global(Some(Duration::from_secs(3600)))
        .build()
        .into();
    let mut response = agent
        .get(address)
        .call()
        .map_err(|err| failed(format!("cannot fetch: {err}")))?;
    let body = response.body_mut().as_reader();
    let bytes = receive(body, PATIENCE)
        .map_err(|reason| failed(format!("cannot fetch: the answer broke off: {reason}")))?;
    let id = GitBlob::of(&bytes);
    if id != pin {
        return Err(failed(format!(
            "what is there is not the official {}: its git blob id is {id}, the official one's is {pin}",
            wanted.what
        )));
    }
    Ok(bytes)
}

/// What a server sends, which is no more than any list and comes at a pace; else the reason.
fn receive(mut body: impl Read, patience: Duration) -> std::result::Result<Vec<u8>, String> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    let mut pace = Pace::new(patience);
    loop {
        let read = body.read(&mut buffer).map_err(|err| err.to_string())?;
        if read == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&buffer[..read]);
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("it is longer than {} MiB", MAX_BYTES >> 20));
        }
        pace.count(read)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_drips_or_never_ends_is_given_up() {
        struct Drip;
        impl Read for Drip {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                std::thread::sleep(Duration::from_millis(2));
                buffer[0] = b'x';
                Ok(1)
            }
        }
        let said = receive(Drip, Duration::from_millis(20)).unwrap_err();
        assert!(said.starts_with("the server is too slow: "), "{said}");
        let said = receive(std::io::repeat(b'x'), PATIENCE).unwrap_err();
        assert_eq!(said, "it is longer than 1024 MiB");
        assert_eq!(receive(&b"a 0\n"[..], PATIENCE).unwrap(), b"a 0\n");
    }

    #[test]
    fn windows_line_ends_are_told_apart() {
        let pin = GitBlob::of(b"a 0\nb 1\n");
        assert!(advice(b"a 0\r\nb 1\r\n", pin).contains("line ends"));
        assert!(advice(b"a 0\nb 1", pin).contains("--download"));
    }

    #[test]
    fn the_first_folder_that_has_a_name_counts() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(second.path().join("authors.txt"), "theirs").unwrap();
        fs::write(first.path().join("plain.txt"), "plain").unwrap();
        let names = ["authors.txt", "plain.txt"].map(PathBuf::from);
        let wanted = WantedFile {
            what: "list",
            names: &names,
            pin: Some(GitBlob::of(b"plain")),
        };
        let dirs = [first.path(), second.path()];
        let places = Places {
            dirs: &dirs,
            url: None,
        };
        let found = require(wanted, places, ListCheck::Pinned).unwrap();
        assert_eq!(
            (found.bytes.as_slice(), found.differs),
            (&b"plain"[..], false)
        );
        fs::write(first.path().join("authors.txt"), "new").unwrap();
        assert!(require(wanted, places, ListCheck::Pinned).is_err());
        assert!(require(wanted, places, ListCheck::Any).unwrap().differs);
    }
}
