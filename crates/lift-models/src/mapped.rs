//! Model files as memory: mapped read-only while their tensors are copied out, so that a file is never held beside what is made of it.
//!
//! It judges no bytes. The system cannot promise that nobody cuts the file off meanwhile: then this process ends with SIGBUS.
//! Downloads and exports are written beside and renamed, so this takes someone who edits a model in that very moment.

#![allow(unsafe_code)]

use std::{io, path::Path};

use memmap2::{Advice, Mmap};

/// Maps a regular file of at most `most` bytes for as long as `look` takes.
///
/// # Errors
/// When it cannot be opened or mapped, is no regular file, or is larger.
pub(crate) fn mapped<T>(path: &Path, most: u64, look: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    let file = lift_files::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > most {
        let text = format!("{bytes} bytes, more than the {most} that are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    if bytes == 0 {
        return Ok(look(&[])); // Nothing can be mapped.
    }
    // SAFETY: the map is read-only, and lives as long as the slice that `look` borrows. That nobody changes or cuts the file
    // meanwhile, which a `&[u8]` asks for, no program can enforce; the module's text says why nobody does.
    let map = unsafe { Mmap::map(&file)? };
    // Only advice: without it reading is slower.
    let _ = map.advise(Advice::Sequential);
    Ok(look(&map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_files_and_limits_hold() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for length in [0usize, 1, 5000] {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(mapped(&path, 5000, <[u8]>::to_vec).unwrap(), bytes);
        }
        let refused = mapped(&path, 4999, <[u8]>::len).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        assert!(mapped(dir.path(), 5000, <[u8]>::len).is_err());
        assert!(mapped(&dir.path().join("none"), 5000, <[u8]>::len).is_err());
    }
}
