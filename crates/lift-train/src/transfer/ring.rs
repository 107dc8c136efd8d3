//! Which queue of the device waits for which: pinned buffers and staging memory that go round without the host
//! waiting for the device.
//!
//! Two queues run beside the host, each in its own order: one copies, one computes. A batch is written into a pinned
//! buffer, copied into staging memory and read there by the kernel. Invariants, in the order of a batch's way:
//!
//! 1. the host writes a pinned buffer only after the copy that read it ([`Pinned::settle`]);
//! 2. a copy writes staging memory only after the kernel that read it (the copy queue waits for `used`);
//! 3. a kernel reads staging memory only after the copy that wrote it (the compute queue waits for `copied`);
//! 4. memory is given back on the copy queue after its last reader, or not at all when that cannot be known.
//!
//! What the kernel writes belongs to libtorch, whose allocator hands memory out in the compute queue's order. The
//! tests run all this on a stand-in whose queues are as slow as they like, through every order of a small case.

use std::collections::VecDeque;

use crate::error::{Error, Result};
use lift_loader::Layout;

/// A queue of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// Ours: from pinned memory to staging memory.
    Copies,
    /// libtorch's: from staging memory to tensors, and all that comes after.
    Compute,
}

/// A device with two queues. But for [`Engine::finish`], calls return before what they ask for is done; that nothing
/// is touched too early is the ring's duty.
pub(super) trait Engine: Clone {
    /// Pinned memory of the host.
    type Host;
    /// Memory of the device; dropped, it is freed on the copy queue.
    type Memory;
    /// A place in a queue, the beginning of time before it is first recorded.
    type Event;
    /// What a kernel makes of a batch.
    type Output;

    /// Pinned memory, that much or more.
    fn host(&self, bytes: usize) -> Result<Self::Host>;
    /// Writes into pinned memory, at once.
    fn write(&self, host: &mut Self::Host, at: usize, bytes: &[u8]);
    /// Memory that the copy queue may use at once.
    fn memory(&self, bytes: usize) -> Result<Self::Memory>;
    /// A new event.
    fn event(&self) -> Result<Self::Event>;
    /// Moves the event to the present end of the queue.
    fn record(&self, event: &Self::Event, queue: Queue) -> Result<()>;
    /// Lets what is put into the queue from now on begin after the place where the event is now.
    fn wait(&self, queue: Queue, event: &Self::Event) -> Result<()>;
    /// Returns when the device has passed the event.
    fn finish(&self, event: &Self::Event) -> Result<()>;
    /// Puts a copy of the first `bytes` bytes into the copy queue.
    fn copy(&self, from: &Self::Host, to: &mut Self::Memory, bytes: usize) -> Result<()>;
    /// Puts the kernel into the compute queue, and what copies the labels.
    fn make(&self, from: &Self::Memory, layout: Layout) -> Result<Self::Output>;
}

/// Pinned memory with the copy that reads it.
pub(super) struct Pinned<E: Engine> {
    /// Always there but in `drop`.
    host: Option<E::Host>,
    read: E::Event,
    reading: Reading,
    engine: E,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Nobody reads it.
    Over,
    /// A copy does until its event has passed.
    UntilEvent,
    /// A call failed: a copy may or may not read it.
    Unknown,
}

impl<E: Engine> Pinned<E> {
    pub(super) fn new(engine: &E, bytes: usize) -> Result<Self> {
        Ok(Self {
            host: Some(engine.host(bytes)?),
            read: engine.event()?,
            reading: Reading::Over,
            engine: engine.clone(),
        })
    }

    /// Waits until no copy reads it any more. To be called before it is written again.
    pub(super) fn settle(&mut self) -> Result<()> {
        match self.reading {
            Reading::Over => {}
            Reading::UntilEvent => self.engine.finish(&self.read)?,
            Reading::Unknown => {
                return Err(Error::Config("a copy to the device failed before".into()));
            }
        }
        self.reading = Reading::Over;
        Ok(())
    }

    pub(super) fn host(&self) -> &E::Host {
        self.host.as_ref().expect("it is there until the drop")
    }

    pub(super) fn host_mut(&mut self) -> &mut E::Host {
        assert!(self.reading == Reading::Over, "a copy reads this buffer");
        self.host.as_mut().expect("it is there until the drop")
    }

    /// Writes into it, at once.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let engine = self.engine.clone();
        engine.write(self.host_mut(), at, bytes);
    }

    fn copy_to(&mut self, memory: &mut E::Memory, bytes: usize) -> Result<()> {
        self.reading = Reading::Unknown;
        self.engine.copy(self.host(), memory, bytes)?;
        self.engine.record(&self.read, Queue::Copies)?;
        self.reading = Reading::UntilEvent;
        Ok(())
    }
}

impl<E: Engine> Drop for Pinned<E> {
    fn drop(&mut self) {
        if self.settle().is_err() {
            // A copy may still read it: better lost than freed.
            std::mem::forget(self.host.take());
        }
    }
}

/// Staging memory for some batches.
pub(super) struct Ring<E: Engine> {
    engine: E,
    slots: Vec<Slot<E>>,
    /// The slot of the next batch.
    next: usize,
    /// Slots that hold a batch, the oldest first.
    staged: VecDeque<(usize, Layout)>,
    /// Set while calls are made that must succeed together.
    broken: bool,
}

struct Slot<E: Engine> {
    memory: Option<E::Memory>,
    bytes: usize,
    copied: E::Event,
    used: E::Event,
}

impl<E: Engine> Ring<E> {
    /// A ring of `slots` places, at least 2.
    pub(super) fn new(engine: &E, slots: usize) -> Result<Self> {
        let slot = |_| {
            Ok(Slot {
                memory: None,
                bytes: 0,
                copied: engine.event()?,
                used: engine.event()?,
            })
        };
        Ok(Self {
            engine: engine.clone(),
            slots: (0..slots.max(2)).map(slot).collect::<Result<_>>()?,
            next: 0,
            staged: VecDeque::new(),
            broken: false,
        })
    }

    /// Whether no batch is staged.
    pub(super) fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Whether as many are staged as there are places beside the one that was handed over last.
    pub(super) fn is_full(&self) -> bool {
        self.staged.len() + 1 >= self.slots.len()
    }

    /// Begins to copy a batch. The buffer can be given back at once.
    pub(super) fn stage(
        &mut self,
        pinned: &mut Pinned<E>,
        (labels, mirrored): (&[i64], &[u8]),
        layout: Layout,
    ) -> Result<()> {
        assert!(self.staged.len() < self.slots.len(), "the ring is full");
        let labels = labels.iter().flat_map(|label| label.to_ne_bytes());
        let beside: Vec<u8> = labels.chain(mirrored.iter().copied()).collect();
        assert_eq!(layout.labels_at() + beside.len(), layout.bytes());
        pinned.write(layout.labels_at(), &beside);

        self.begin()?;
        let slot = &mut self.slots[self.next];
        // Before the old memory goes, too.
        self.engine.wait(Queue::Copies, &slot.used)?;
        if slot.memory.is_none() || slot.bytes < layout.bytes() {
            slot.memory = None;
            slot.bytes = layout.bytes();
            slot.memory = Some(self.engine.memory(slot.bytes)?);
        }
        let memory = slot.memory.as_mut().expect("it was just made");
        pinned.copy_to(memory, layout.bytes())?;
        self.engine.record(&slot.copied, Queue::Copies)?;
        self.broken = false;

        self.staged.push_back((self.next, layout));
        self.next = (self.next + 1) % self.slots.len();
        Ok(())
    }

    /// What the kernel makes of the oldest staged batch; nothing where none is staged.
    pub(super) fn hand_over(&mut self) -> Result<Option<E::Output>> {
        let Some((slot, layout)) = self.staged.pop_front() else {
            return Ok(None);
        };
        self.begin()?;
        let slot = &self.slots[slot];
        let memory = slot.memory.as_ref().expect("a batch lies in it");
        self.engine.wait(Queue::Compute, &slot.copied)?;
        let output = self.engine.make(memory, layout)?;
        self.engine.record(&slot.used, Queue::Compute)?;
        self.broken = false;
        Ok(Some(output))
    }

    /// After a call that failed, events are not where they should be.
    fn begin(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.broken, true) {
            return Err(Error::Config("the device failed before".into()));
        }
        Ok(())
    }
}

impl<E: Engine> Drop for Ring<E> {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            if self.broken || self.engine.wait(Queue::Copies, &slot.used).is_err() {
                // A kernel may still read it: better lost than freed.
                std::mem::forget(slot.memory.take());
            }
        }
    }
}
