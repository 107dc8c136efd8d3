//! Pixel buffers that go round: a batch that is dropped gives its buffer to a later one.
//!
//! It bounds how many wait for use, not how many are in use. Invariant: a buffer has one owner at a time, and nobody
//! else reads it: one that a copy to a device reads is taken again after that copy.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    error::{Error, Result},
    layout::Layout,
};

/// Memory that a batch's pixels lie in: of the process, or what a device copies from, which is slow to read.
pub trait Memory: Any + Send {
    /// All bytes.
    fn bytes(&self) -> &[u8];

    /// All bytes, to be written from the first to the last.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Waits until nobody else reads it any more. To be called before it is written again.
    ///
    /// # Errors
    /// When a device fails.
    fn settle(&mut self) -> Result<()>;
}

impl Memory for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The pixels of a batch. The memory may be longer.
pub struct Pixels {
    /// Always there but in `drop`.
    memory: Option<Box<dyn Memory>>,
    len: usize,
    home: Option<Arc<Buffers>>,
}

impl Pixels {
    /// The memory, where it is of this kind.
    pub fn memory_mut<M: Memory>(&mut self) -> Option<&mut M> {
        let memory: &mut dyn Any = self.memory.as_deref_mut()?;
        memory.downcast_mut()
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            len: bytes.len(),
            memory: Some(Box::new(bytes)),
            home: None,
        }
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let memory = self.memory.as_ref().expect("it is there until the drop");
        &memory.bytes()[..self.len]
    }
}

impl DerefMut for Pixels {
    fn deref_mut(&mut self) -> &mut [u8] {
        let memory = self.memory.as_mut().expect("it is there until the drop");
        &mut memory.bytes_mut()[..self.len]
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pixels({} bytes)", self.len)
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        if let (Some(home), Some(memory)) = (&self.home, self.memory.take()) {
            let mut free = home.free.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < home.most {
                free.push_back(memory);
            }
        }
    }
}

/// Makes memory of so many bytes, or more.
type Make = Box<dyn Fn(usize) -> Result<Box<dyn Memory>> + Send + Sync>;

/// Which of the buffers that wait is taken first.
#[derive(Clone, Copy)]
enum First {
    /// The one that the caches know.
    Newest,
    /// The one whose copy has had the most time.
    Oldest,
}

/// Where buffers wait.
pub struct Buffers {
    free: Mutex<VecDeque<Box<dyn Memory>>>,
    most: usize,
    make: Make,
    first: First,
}

impl Buffers {
    /// Memory of the process; keeps at most `most` buffers that nobody uses.
    pub fn new(most: usize) -> Arc<Self> {
        let make: Make = Box::new(|bytes| {
            let mut memory: Vec<u8> = Vec::new();
            // A batch that nobody can hold is an error, and not the end of the process.
            memory.try_reserve_exact(bytes).map_err(|_| {
                let mib = bytes >> 20;
                Error::Memory(format!("a batch of {mib} MiB does not fit into memory\nhint: a smaller batch size or resolution"))
            })?;
            memory.resize(bytes, 0);
            Ok(Box::new(memory))
        });
        Self::with(make, First::Newest, most)
    }

    /// Memory that `make` makes and a device copies from; keeps all that nobody uses.
    pub fn copied_from(
        make: impl Fn(usize) -> Result<Box<dyn Memory>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::with(Box::new(make), First::Oldest, usize::MAX)
    }

    fn with(make: Make, first: First, most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::default(),
            most,
            make,
            first,
        })
    }

    /// A buffer for a batch; what its bytes are is left over from its last use. It may wait for a copy to end.
    ///
    /// # Errors
    /// When memory cannot be had, or a device fails.
    pub fn take(self: &Arc<Self>, layout: Layout) -> Result<Pixels> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = match self.first {
            First::Newest => free.pop_back(),
            First::Oldest => free.pop_front(),
        };
        drop(free);
        // A smaller batch leaves its end unused.
        let memory = match waiting {
            Some(mut memory) => {
                memory.settle()?;
                (memory.bytes().len() >= layout.bytes()).then_some(memory)
            }
            None => None,
        };
        Ok(Pixels {
            memory: Some(match memory {
                Some(memory) => memory,
                None => (self.make)(layout.bytes())?,
            }),
            len: layout.pixel_bytes(),
            home: Some(Arc::clone(self)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_nobody_can_hold_is_an_error() {
        let layout = Layout::square(1 << 20, 1 << 16);
        let said = Buffers::new(1).take(layout).err().unwrap().to_string();
        assert!(said.contains("does not fit into memory\nhint: "), "{said}");
    }

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
