//! The bytes of a file, into a partial file that a later attempt, or a later run, goes on with.
//!
//! Nothing is retried without end: an attempt must bring bytes, and not drop by drop, or it counts. Invariant: a partial file
//! never holds more bytes than the server announced once [`Client::download`] has returned, and never more than [`UNANNOUNCED`]
//! where it announced nothing.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    thread,
    time::Duration,
};

use indicatif::ProgressBar;
use lift_files::Pace;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use ureq::http::HeaderMap;

use super::{
    progress,
    request::{Client, Remote, text},
};
use crate::error::{Error, Result};

/// Attempts in a row that bring nothing new.
const ATTEMPTS: u32 = 3;
/// The bytes that are taken of a server that does not say how many will come: more than any JSON file of a model has.
const UNANNOUNCED: u64 = 256 << 20;

/// How an answer ended before its end.
struct Broken {
    reason: String,
    /// What it brought is no progress: it came drop by drop.
    is_slow: bool,
}

impl Client<'_> {
    /// Brings the bytes of `file` into `part`, going on with what is in it already.
    ///
    /// # Errors
    /// When the server does not deliver them, or the disk does not take them.
    pub fn download(&self, commit: &str, file: &str, remote: &Remote, part: &Path) -> Result<()> {
        let mut out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(part)
            .map_err(Error::io(part))?;
        let length = |out: &File| {
            out.metadata()
                .map(|data| data.len())
                .map_err(Error::io(part))
        };
        let mut most = length(&out)?;
        if remote.size.is_some_and(|size| most > size) {
            out.set_len(0).map_err(Error::io(part))?;
            most = 0;
        }
        if remote.size == Some(most) {
            return Ok(());
        }
        let url = self.url(commit, file);
        let bar = progress::start(format!("{} {file}", self.id), remote.size);
        let mut failures = 0;
        loop {
            let attempt = self.attempt(&url, remote, &mut out, &bar);
            let Some(Broken { reason, is_slow }) = attempt.map_err(Error::io(part))? else {
                bar.finish_and_clear();
                return out.sync_all().map_err(Error::io(part));
            };
            let now = length(&out)?;
            if now > remote.size.unwrap_or(UNANNOUNCED) {
                out.set_len(0).map_err(Error::io(part))?;
                return Err(self.broken(&url, &reason, "is it the right server (HF_ENDPOINT)?"));
            }
            failures = if now > most && !is_slow {
                0
            } else {
                failures + 1
            };
            most = most.max(now);
            if failures == ATTEMPTS {
                let hint = "run the same command again: it goes on where it stopped";
                return Err(self.broken(&url, &reason, hint));
            }
            // Nothing came, so the server may need a moment.
            thread::sleep(Duration::from_millis(300) * failures);
        }
    }

    /// One request for the bytes that are missing; says how it broke off where they did not all come.
    fn attempt(
        &self,
        url: &str,
        remote: &Remote,
        out: &mut File,
        bar: &ProgressBar,
    ) -> io::Result<Option<Broken>> {
        let broken = |reason: String| {
            Ok(Some(Broken {
                reason,
                is_slow: false,
            }))
        };
        let mut done = out.metadata()?.len();
        let mut response = match self.get(url, done) {
            Ok(response) => response,
            Err(reason) => return broken(reason),
        };
        match response.status().as_u16() {
            206 if begins_at(response.headers(), done) => {}
            // The server has other ranges than were asked for, or none: all from the start.
            200 | 206 | 416 if done > 0 => {
                out.set_len(0)?;
                done = 0;
                if response.status() != 200 {
                    return broken("the server does not go on where it is asked to".into());
                }
            }
            200 => {}
            status => return broken(format!("answers {status}")),
        }
        bar.set_position(done);
        bar.reset_eta();
        let mut reader = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        let mut pace = Pace::new(self.hub.patience);
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return broken(format!("the answer broke off: {error}")),
            };
            out.write_all(&buffer[..read])?;
            done += read as u64;
            bar.set_position(done);
            if done > remote.size.unwrap_or(UNANNOUNCED) {
                break;
            }
            if let Err(reason) = pace.count(read) {
                let is_slow = true;
                return Ok(Some(Broken { reason, is_slow }));
            }
        }
        match remote.size {
            Some(size) if size != done => broken(format!("wrong size: {done} bytes of {size}")),
            None if done > UNANNOUNCED => broken(format!(
                "it sends more than {} MiB and does not say how much will come",
                UNANNOUNCED >> 20
            )),
            _ => Ok(None),
        }
    }
}

/// The hash of the file, if it is not the one that its name on the hub promises.
///
/// Large files go by their SHA-256, others by git's blob id; what else a mirror may name cannot be checked.
///
/// # Errors
/// When the file cannot be read.
pub fn wrong_hash(path: &Path, remote: &Remote) -> Result<Option<String>> {
    let digits = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let hash = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(match remote.etag.len() {
            64 => {
                let mut hash = Sha256::new();
                io::copy(&mut file, &mut hash)?;
                digits(&hash.finalize())
            }
            40 => {
                let mut hash = Sha1::new();
                hash.update(format!("blob {length}\0"));
                io::copy(&mut file, &mut hash)?;
                digits(&hash.finalize())
            }
            _ => remote.etag.clone(),
        })
    };
    let hash = hash().map_err(Error::io(path))?;
    Ok((!hash.eq_ignore_ascii_case(&remote.etag)).then_some(hash))
}

/// Whether the answer's range begins where it was asked to.
fn begins_at(headers: &HeaderMap, begin: u64) -> bool {
    let range = text(headers, "content-range");
    range.is_some_and(|range| range.starts_with(&format!("bytes {begin}-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_sha_256_and_gits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        let found = |etag: &str| {
            let remote = Remote {
                etag: etag.into(),
                size: None,
            };
            wrong_hash(&path, &remote).unwrap()
        };
        // printf 'hello\n' | sha256sum; printf 'hello\n' | git hash-object --stdin
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(
            (found(sha256), found(git), found("w-1")),
            (None, None, None)
        );
        assert_eq!(found(&"0".repeat(64)).as_deref(), Some(sha256));
        assert_eq!(found(&"0".repeat(40)).as_deref(), Some(git));
    }
}
