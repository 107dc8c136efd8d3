//! Pixel buffers that go round: a batch that is dropped gives its buffer to a later one.
//!
//! It bounds how many wait for use, not how many are in use. Invariant: a buffer has one owner at a time.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

/// The pixels of a batch.
#[derive(Debug)]
pub struct Pixels {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Pixels {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        let mut free = self
            .home
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.home.most {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// Where buffers wait.
#[derive(Debug)]
pub(super) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
    most: usize,
}

impl Buffers {
    /// Keeps at most `most` buffers that nobody uses.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::new(Vec::with_capacity(most)),
            most,
        })
    }

    /// A buffer of `len` bytes; what they are is left over from its last use.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Pixels {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = free.pop().unwrap_or_default();
        drop(free);
        bytes.resize(len, 0);
        Pixels {
            bytes,
            home: Arc::clone(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_the_next_one() {
        let buffers = Buffers::new(1);
        let (first, second) = (buffers.take(100), buffers.take(100));
        let (place, other) = (first.as_ptr(), second.as_ptr());
        assert_ne!(place, other);
        drop(first);
        drop(second); // One may wait; this one goes.
        let again = buffers.take(40);
        assert_eq!((again.as_ptr(), again.len()), (place, 40));
        assert_eq!(buffers.take(7).len(), 7);
    }
}
