//! Image files as they lie, on disk or within tar files: what a model is asked about, without labels and without shards.
//!
//! Nothing is read before a batch wants it. Invariant: a file that cannot be read or decoded ends nothing: its crops are
//! black, and why is kept until it is asked for.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use lift_image::decode::{self, Decoder, Rules};
use lift_shards::Row;

use crate::{
    error::Error,
    view::{Cutter, View},
};

/// More than any image of the most pixels has in a format of 8 bits a channel.
const MAX_BYTES: u64 = 1 << 30;

/// An image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileImage {
    /// As the user knows it.
    pub name: String,
    /// Where it is.
    pub place: Place,
}

/// Where an image file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file of its own.
    File(PathBuf),
    /// A member of a tar file that is not compressed.
    Member {
        /// The tar file.
        tar: Arc<Path>,
        /// Where its bytes begin.
        offset: u64,
        /// How many there are.
        bytes: u64,
    },
}

/// Image files, decoded by one rule.
#[derive(Debug)]
pub struct ImageFiles {
    images: Vec<FileImage>,
    rules: Rules,
    failures: Mutex<BTreeMap<usize, String>>,
}

impl ImageFiles {
    /// These.
    pub fn new(images: Vec<FileImage>, rules: Rules) -> Self {
        Self {
            images,
            rules,
            failures: Mutex::default(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The image at `row`, which must be below [`ImageFiles::len`].
    pub fn image(&self, row: usize) -> &FileImage {
        &self.images[row]
    }

    /// Why images of these rows could not be decoded, until now; asked again, they are not named again.
    pub fn take_failures(&self, rows: Range<usize>) -> BTreeMap<usize, String> {
        let mut failures = self.failures();
        let named: Vec<usize> = failures.range(rows).map(|(&row, _)| row).collect();
        let take = |row| Some((row, failures.remove(&row)?));
        named.into_iter().filter_map(take).collect()
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, String>> {
        // A map is whole whatever panicked beside it.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file at `row` into `out`, replacing what was there.
    ///
    /// # Errors
    /// When it cannot be read, or is larger than any image.
    pub fn read(&self, row: usize, out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        match &self.images[row].place {
            Place::File(path) => {
                let file = lift_files::open(path)?;
                file.take(MAX_BYTES + 1).read_to_end(out)?;
                if out.len() as u64 > MAX_BYTES {
                    return Err(io::Error::other(format!(
                        "larger than {MAX_BYTES} bytes, more than any image has"
                    )));
                }
                Ok(())
            }
            Place::Member { tar, offset, bytes } => {
                if *bytes > MAX_BYTES {
                    return Err(io::Error::other(format!(
                        "{bytes} bytes, more than any image has"
                    )));
                }
                out.resize(*bytes as usize, 0);
                File::open(tar)?.read_exact_at(out, *offset)
            }
        }
    }

    /// As [`Cutter::cut`] of the image at `row`; what cannot be cut is black, and is kept as a failure.
    pub(crate) fn cut(
        &self,
        row: usize,
        how: (View, u32, bool),
        (decoder, cutter, bytes): (&mut Decoder, &mut Cutter, &mut Vec<u8>),
        (out, mirrored): (&mut [u8], &mut [u8]),
    ) {
        let cut = self.try_cut(row, how, (decoder, cutter, bytes), (&mut *out, mirrored));
        if let Err(reason) = cut {
            out.fill(0);
            self.failures().insert(row, reason);
        }
    }

    fn try_cut(
        &self,
        row: usize,
        how: (View, u32, bool),
        (decoder, cutter, bytes): (&mut Decoder, &mut Cutter, &mut Vec<u8>),
        place: (&mut [u8], &mut [u8]),
    ) -> std::result::Result<(), String> {
        self.read(row, bytes).map_err(|e| e.to_string())?;
        let (width, height) = decode::size(bytes, self.rules).map_err(|e| e.to_string())?;
        // What cutting looks at: the size, and the id that random crops are drawn by.
        let shape = Row {
            id: row as u64,
            label: 0,
            width,
            height,
            num_bytes: 0,
            checksum: 0,
            shard: 0,
            offset: 0,
        };
        let path = &self.images[row].name;
        let cut = cutter.cut(
            &shape,
            0,
            how,
            |wanted| {
                let part = decoder.part(bytes, self.rules, wanted);
                Ok(part.map_err(|source| lift_shards::Error::Decode {
                    path: path.clone(),
                    source,
                })?)
            },
            place,
        );
        decoder.release();
        cut.map_err(|error| match error {
            Error::Shards(lift_shards::Error::Decode { source, .. }) => source.to_string(),
            other => other.to_string(),
        })
    }
}
