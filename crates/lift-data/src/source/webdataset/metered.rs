//! A tar of which little is read between one member and the next.
//!
//! The library reads a member's long name, or its pax header, whole, and these may say that they are of gigabytes, which a
//! sparse file holds for nothing. Invariant: no more than [`MAX_BYTES`] are read before whoever reads says that it goes on.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::rc::Rc;

use super::MAX_LABEL_BYTES;

/// A label, and the header and name of the member behind it, which take some kilobytes.
pub(super) const MAX_BYTES: u64 = MAX_LABEL_BYTES + (1 << 20);

/// The tar's file.
pub(super) struct Metered {
    pub(super) file: File,
    /// How many bytes may still be read.
    pub(super) left: Rc<Cell<u64>>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        let Some(left) = self.left.get().checked_sub(read as u64) else {
            let reason = format!("a name or header of more than {} MiB", MAX_BYTES >> 20);
            return Err(io::Error::new(ErrorKind::InvalidData, reason));
        };
        self.left.set(left);
        Ok(read)
    }
}

impl Seek for Metered {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
