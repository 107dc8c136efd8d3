//! The zip archive around a state dict: `NAME/data.pkl`, `NAME/byteorder`, `NAME/data/KEY`.
//!
//! Invariant: no entry is believed to be larger than the file, and all that is read together is no more than it either,
//! so that entries which lie on each other cannot cost more than honest ones.

use std::io::{Read, Seek, SeekFrom};

use tch::Tensor;
use zip::{CompressionMethod, ZipArchive};

use super::{NOT_A_STATE_DICT, Problem, object::Storage};

type Result<T> = std::result::Result<T, Problem>;

/// A thousand times the pickle of a CLIP.
const MAX_PICKLE_BYTES: u64 = 64 << 20;

/// How the pickle of files before 1.6 begins, in any protocol that has binary numbers: with this number.
const LEGACY: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

const OLD: &str = "convert it with PyTorch: python -c \"import torch; \
    torch.save(torch.load('OLD', map_location='cpu'), 'pytorch_model.bin')\"";
const SCRIPT: &str = "take the tensors out with PyTorch: python -c \"import torch; \
    torch.save(torch.jit.load('OLD', map_location='cpu').state_dict(), 'pytorch_model.bin')\"";

/// An open file of `torch.save`.
pub struct Archive<R> {
    zip: ZipArchive<R>,
    /// The folder of all entries, with its slash; the file's name when it was written.
    folder: String,
    len: u64,
    left: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the list of entries; formats that look similar are told apart.
    pub fn open(mut source: R) -> Result<Self> {
        let mut head = Vec::new();
        let begun = source.by_ref().take(512).read_to_end(&mut head);
        let len = begun.and_then(|_| source.seek(SeekFrom::End(0)));
        let len = len.map_err(|e| Problem::damaged(e.to_string()))?;
        if !head.starts_with(b"PK\x03\x04") {
            return Err(no_zip(&head));
        }
        let zip = ZipArchive::new(source)
            .map_err(|e| Problem::damaged(format!("not a whole zip archive: {e}")))?;
        let names: Vec<_> = zip.file_names_raw().map(String::from_utf8_lossy).collect();
        let folders = names.iter().filter_map(|name| {
            let folder = name.strip_suffix("data.pkl")?;
            let is_folder = folder.ends_with('/') && folder.matches('/').count() == 1;
            is_folder.then_some(folder)
        });
        let folder = match folders.collect::<Vec<_>>()[..] {
            [folder] => folder.to_owned(),
            _ => {
                let reason = "a zip archive without the one NAME/data.pkl that torch.save writes";
                return Err(Problem::new(reason, NOT_A_STATE_DICT));
            }
        };
        if names.contains(&format!("{folder}constants.pkl").into()) {
            let reason = "a TorchScript archive (torch.jit.save), which is a program with its tensors and is not read";
            return Err(Problem::new(reason, SCRIPT));
        }
        let has_order = names.contains(&format!("{folder}byteorder").into());
        drop(names);
        let mut archive = Self {
            zip,
            folder,
            len,
            left: len,
        };
        // Files before PyTorch 2.1 have no such entry, and are little-endian as good as always.
        if has_order && archive.entry("byteorder", 16)? != b"little" {
            let reason = "its numbers are not in little-endian order";
            return Err(Problem::new(reason, OLD));
        }
        Ok(archive)
    }

    /// The file's length.
    pub fn file_bytes(&self) -> u64 {
        self.len
    }

    /// The pickle that says what the tensors are.
    pub fn pickle(&mut self) -> Result<Vec<u8>> {
        self.entry("data.pkl", MAX_PICKLE_BYTES)
    }

    /// The values of a storage, in one dimension.
    pub fn storage(&mut self, storage: &Storage<'_>) -> Result<Tensor> {
        let name = format!("data/{}", storage.key);
        let bytes = self.entry(&name, self.len)?;
        let expected = usize::try_from(storage.numel).ok();
        let expected = expected.and_then(|n| n.checked_mul(storage.kind.elt_size_in_bytes()));
        if expected != Some(bytes.len()) {
            let reason = format!(
                "{name} has {} bytes, which are not {} values of {:?}",
                bytes.len(),
                storage.numel,
                storage.kind
            );
            return Err(Problem::damaged(reason));
        }
        Ok(Tensor::f_from_data_size(
            &bytes,
            &[storage.numel],
            storage.kind,
        )?)
    }

    /// The bytes of an entry, whose checksum the reader compares at its end.
    fn entry(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let damaged = |reason: String| Problem::damaged(format!("{name}: {reason}"));
        let entry = self.zip.by_name(&format!("{}{name}", self.folder));
        let entry = entry.map_err(|e| damaged(e.to_string()))?;
        let size = entry.size();
        if entry.compression() != CompressionMethod::Stored {
            return Err(damaged("compressed, which torch.save never does".into()));
        }
        if size > limit {
            return Err(damaged(format!("{size} bytes, more than {limit}")));
        }
        let left = self.left.checked_sub(size);
        self.left = left.ok_or_else(|| damaged("the file has fewer bytes than that".into()))?;
        // Sized once: a vector that grows holds its bytes twice.
        let mut bytes = Vec::with_capacity(size as usize);
        match entry.take(size.saturating_add(1)).read_to_end(&mut bytes) {
            Ok(read) if read as u64 == size => Ok(bytes),
            Ok(read) => Err(damaged(format!("{read} bytes instead of {size}"))),
            Err(e) => Err(damaged(e.to_string())),
        }
    }
}

/// What a file is that is no zip archive.
fn no_zip(head: &[u8]) -> Problem {
    let is_tar = head.get(257..262) == Some(b"ustar");
    if is_tar || head.windows(LEGACY.len()).take(8).any(|w| w == LEGACY) {
        let reason = "written in the format of PyTorch before 1.6, which LIFT does not read";
        return Problem::new(reason, OLD);
    }
    Problem::damaged("not a file of torch.save (no zip archive)")
}
