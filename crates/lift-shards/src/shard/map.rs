//! Shard files as memory: mapped read-only, or read into memory of this process where that is asked for.
//!
//! It gives out slices and judges none; checksums are its caller's. Invariant: no slice reaches beyond
//! what the file had at its opening, nor beyond what it had a moment before the slice was given out.
//!
//! The system cannot promise more: a file that another process cuts off while a slice is being read ends
//! this process with SIGBUS, and one that is written to then shows the new bytes. Shards are never
//! written to after they have their name (a build writes a new file and renames it), so this takes
//! someone who edits them by hand, in that very moment. A cut before that is an error.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memmap2::{Advice, Mmap, UncheckedAdvice};

/// A file of a known length, mapped as a whole.
#[derive(Debug)]
pub(super) struct MappedFile {
    file: File,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Mapped(Mmap),
    /// The file's bytes in memory of our own, which the system does not take back.
    Read(Vec<u8>),
}

impl MappedFile {
    /// Maps `file`, of which the caller expects `bytes` bytes.
    pub(super) fn new(file: File, bytes: u64) -> io::Result<Self> {
        let length = file.metadata()?.len();
        if length != bytes {
            return Err(shrunk(length, bytes));
        }
        // SAFETY: the map is read-only and shared, and lives no longer than its slices may (they borrow
        // it). What Rust asks of a `&[u8]` beyond that, that nobody changes or cuts the file meanwhile, no
        // program can enforce; the module's text says why nobody does, and `slice` asks for the length.
        let map = unsafe { Mmap::map(&file)? };
        if map.len() as u64 != bytes {
            return Err(shrunk(map.len() as u64, bytes));
        }
        let held = Held::Mapped(map);
        Ok(Self { file, held })
    }

    /// Reads all of the file into memory, from which slices are given from then on.
    pub(super) fn read_into_memory(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; self.bytes().len()];
        self.file.read_exact_at(&mut bytes, 0)?;
        self.held = Held::Read(bytes);
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        match &self.held {
            Held::Mapped(map) => map,
            Held::Read(bytes) => bytes,
        }
    }

    /// The `len` bytes from `start`; an error where the file no longer has them.
    pub(super) fn slice(&self, start: u64, len: u32) -> io::Result<&[u8]> {
        let end = start.saturating_add(u64::from(len));
        let length = match &self.held {
            // A third of a microsecond, against a crash by signal.
            Held::Mapped(map) => self.file.metadata()?.len().min(map.len() as u64),
            Held::Read(bytes) => bytes.len() as u64,
        };
        if end > length {
            return Err(shrunk(length, end));
        }
        Ok(&self.bytes()[start as usize..end as usize])
    }

    /// Tells the system that these bytes will be read soon; what does not exist is no matter.
    pub(super) fn will_need(&self, start: u64, len: u32) {
        let end = start.saturating_add(u64::from(len));
        if let Held::Mapped(map) = &self.held
            && end <= map.len() as u64
        {
            // Only advice: without it reading is slower.
            let _ = map.advise_range(Advice::WillNeed, start as usize, len as usize);
        }
    }

    /// Takes the pages out of this process's memory. They stay in the system's cache, so that coming back
    /// costs little.
    pub(super) fn release(&self) {
        if let Held::Mapped(map) = &self.held {
            // SAFETY: dropping pages of a shared read-only map of a file loses nothing; a slice that another
            // thread is reading finds the same bytes when it comes to a dropped page.
            let _ = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
        }
    }
}

fn shrunk(length: u64, wanted: u64) -> io::Error {
    let text = format!("it has {length} bytes where {wanted} were written");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn mapped(bytes: &[u8]) -> (tempfile::NamedTempFile, MappedFile) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let map = MappedFile::new(file.reopen().unwrap(), bytes.len() as u64).unwrap();
        (file, map)
    }

    #[test]
    fn slices_are_the_files_bytes_and_end_with_it() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (_file, map) = mapped(&bytes);
        assert_eq!(map.slice(3, 5).unwrap(), [3, 4, 5, 6, 7]);
        assert_eq!(map.slice(0, 256).unwrap(), bytes);
        assert!(map.slice(256, 0).unwrap().is_empty());
        assert!(map.slice(255, 2).is_err());
        assert!(map.slice(u64::MAX, 1).is_err());
        map.will_need(3, 5);
        map.will_need(u64::MAX, 1);
    }

    #[test]
    fn another_length_is_refused_at_opening_and_a_cut_when_reading() {
        let (file, map) = mapped(&[7; 10_000]);
        assert!(MappedFile::new(file.reopen().unwrap(), 9_999).is_err());
        file.as_file().set_len(5_000).unwrap();
        assert_eq!(map.slice(0, 5_000).unwrap(), [7; 5_000]);
        let err = map.slice(4_000, 1_001).unwrap_err();
        assert_eq!(err.to_string(), "it has 5000 bytes where 5001 were written");
    }

    #[test]
    fn bytes_stay_the_same_when_pages_were_released() {
        let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| (i >> 3) as u8).collect();
        let (_file, map) = mapped(&bytes);
        let held = map.slice(0, 1 << 20).unwrap();
        map.release();
        assert!(map.slice(0, 1 << 20).unwrap() == bytes);
        assert!(held == bytes);
    }

    #[test]
    fn what_was_read_stays_whatever_becomes_of_the_file() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (file, mut map) = mapped(&bytes);
        map.read_into_memory().unwrap();
        file.as_file().set_len(3).unwrap();
        map.release();
        map.will_need(0, 256);
        assert_eq!(map.slice(0, 256).unwrap(), bytes);
        assert!(map.slice(255, 2).is_err());
        let (file, mut map) = mapped(&bytes);
        file.as_file().set_len(3).unwrap();
        assert!(map.read_into_memory().is_err());
    }
}
