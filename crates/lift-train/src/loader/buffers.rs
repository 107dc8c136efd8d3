//! Pixel buffers that go round: a batch that is dropped gives its buffer to a later one.
//!
//! It bounds how many wait for use, not how many are in use. Invariant: a buffer has one owner at a time, and nobody
//! else reads it: one that a copy to a device reads is taken again after that copy.

use std::{
    collections::VecDeque,
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

use super::transfer::{Cuda, Layout, Pinned};
use crate::error::Result;

/// The pixels of a batch, in memory of the process or in pinned memory, which is slow to read.
pub struct Pixels {
    bytes: Bytes,
    len: usize,
    home: Option<Arc<Buffers>>,
}

/// Where bytes lie. Both may be longer than the pixels that are in them.
enum Bytes {
    Heap(Vec<u8>),
    Pinned(Pinned<Cuda>),
}

impl Pixels {
    /// The pinned buffer, where it is one.
    pub(super) fn pinned(&mut self) -> Option<&mut Pinned<Cuda>> {
        match &mut self.bytes {
            Bytes::Heap(_) => None,
            Bytes::Pinned(pinned) => Some(pinned),
        }
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            len: bytes.len(),
            bytes: Bytes::Heap(bytes),
            home: None,
        }
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Heap(bytes) => &bytes[..self.len],
            Bytes::Pinned(pinned) => &pinned.bytes()[..self.len],
        }
    }
}

impl DerefMut for Pixels {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            Bytes::Heap(bytes) => &mut bytes[..self.len],
            Bytes::Pinned(pinned) => &mut pinned.bytes_mut()[..self.len],
        }
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pixels({} bytes)", self.len)
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let mut free = home.free.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < home.most {
                free.push_back(std::mem::replace(&mut self.bytes, Bytes::Heap(Vec::new())));
            }
        }
    }
}

/// Where buffers wait.
pub(super) struct Buffers {
    free: Mutex<VecDeque<Bytes>>,
    most: usize,
    /// The device whose copies read them, if there is one.
    device: Option<Cuda>,
}

impl Buffers {
    /// Keeps at most `most` buffers that nobody uses.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Self::on(None, most)
    }

    /// Pinned buffers, from which `device` copies; without one those of the process.
    pub(super) fn on(device: Option<Cuda>, most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::default(),
            most,
            device,
        })
    }

    /// A buffer for a batch; what its bytes are is left over from its last use. It may wait for a copy to end.
    ///
    /// # Errors
    /// When pinned memory cannot be had.
    pub(super) fn take(self: &Arc<Self>, layout: Layout) -> Result<Pixels> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match self.device {
            // The last one is the one that the caches know.
            None => free.pop_back(),
            // The first one's copy has had the most time.
            Some(_) => free.pop_front(),
        };
        drop(free);
        let len = layout.pixel_bytes();
        let bytes = match (&self.device, bytes) {
            (Some(device), Some(Bytes::Pinned(mut pinned))) => {
                pinned.settle()?;
                // A smaller batch leaves its end unused.
                if pinned.bytes().len() < layout.bytes() {
                    Bytes::Pinned(Pinned::new(device, layout.bytes())?)
                } else {
                    Bytes::Pinned(pinned)
                }
            }
            (Some(device), _) => Bytes::Pinned(Pinned::new(device, layout.bytes())?),
            (None, Some(Bytes::Heap(mut bytes))) => {
                bytes.resize(len, 0);
                Bytes::Heap(bytes)
            }
            (None, _) => Bytes::Heap(vec![0; len]),
        };
        Ok(Pixels {
            bytes,
            len,
            home: Some(Arc::clone(self)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_the_next_one() {
        let buffers = Buffers::new(1);
        let take = |side| buffers.take(Layout::square(1, side)).unwrap();
        let (first, second) = (take(6), take(6));
        let (place, other) = (first.as_ptr(), second.as_ptr());
        assert_ne!(place, other);
        drop(first);
        drop(second); // One may wait; this one goes.
        let again = take(4);
        assert_eq!((again.as_ptr(), again.len()), (place, 48));
        assert_eq!(take(2).len(), 12);
    }
}
