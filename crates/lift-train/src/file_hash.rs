//! The hash of a file's bytes: XXH3-64 in 16 lower-case hex digits, as in the shards' manifest.
//!
//! It finds damage and mix-ups, it is no signature. Hashes of tensors, whatever file they come from, are
//! [`crate::fingerprint`]'s.

use std::{
    fs::File,
    hash::Hasher,
    io::{BufRead, BufReader},
    path::Path,
};

use twox_hash::XxHash3_64;

use crate::error::{Error, Result};

/// The hash of the bytes of a file, of any length.
///
/// # Errors
/// When it cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(Error::io(path))?);
    let mut hash = XxHash3_64::new();
    loop {
        let bytes = reader.fill_buf().map_err(Error::io(path))?;
        if bytes.is_empty() {
            return Ok(digits(&hash));
        }
        hash.write(bytes);
        let read = bytes.len();
        reader.consume(read);
    }
}

/// A hash as it is written.
pub(crate) fn digits(hash: &XxHash3_64) -> String {
    format!("{:016x}", hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_hash_is_that_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        // python: xxhash.xxh3_64_hexdigest(b'{\n  "a": 1,\n  "self_xxh3": "')
        std::fs::write(&path, "{\n  \"a\": 1,\n  \"self_xxh3\": \"").unwrap();
        assert_eq!(of_file(&path).unwrap(), "a4fd3a99733fa6bb");
    }
}
