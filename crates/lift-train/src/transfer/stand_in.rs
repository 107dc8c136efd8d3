//! A device without hardware, for tests of the ring: two queues that run when a chooser says so, and memory that shows
//! whoever touched it too early.
//!
//! Only three things look at memory: a write of the host, a copy, a kernel. Before each write of the host the chooser
//! says which queue goes on by an operation, or that none does, over and over; records and waits touch nothing and are
//! done as soon as they can be. So the choices reach every order of touches that a device may show.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use lift_loader::Layout;

use super::ring::{Engine, Queue};
use crate::error::Result;

/// What freed memory holds.
const FREED: u8 = 0xDD;

/// A call that a broken ring would leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The copy queue does not wait for the kernel that read the memory.
    CopiesIgnoreUse,
    /// The compute queue does not wait for the copy.
    ComputeIgnoresCopy,
    /// The host does not wait for the copy that reads its buffer.
    HostIgnoresCopy,
}

/// Says how the device goes on: numbers below the given ones.
pub(super) struct Chooser {
    /// Taken first; zeros after them.
    given: Vec<usize>,
    /// What was chosen, and out of how many.
    pub(super) chosen: Vec<(usize, usize)>,
}

impl Chooser {
    pub(super) fn new(given: Vec<usize>) -> Self {
        Self {
            given,
            chosen: Vec::new(),
        }
    }

    fn choose(&mut self, options: usize) -> usize {
        let given = self.given.get(self.chosen.len());
        let choice = given.map_or(0, |given| given % options);
        self.chosen.push((choice, options));
        choice
    }

    /// The next choices in order, until every one was made.
    pub(super) fn after(chosen: &[(usize, usize)]) -> Option<Vec<usize>> {
        let last = chosen.iter().rposition(|(choice, of)| choice + 1 < *of)?;
        let mut next: Vec<usize> = chosen[..=last].iter().map(|(choice, _)| *choice).collect();
        next[last] += 1;
        Some(next)
    }
}

#[derive(Clone)]
pub(super) struct StandIn(Rc<RefCell<State>>);

struct State {
    memories: Vec<Vec<u8>>,
    /// Memories of outputs that were dropped, which the next outputs get, as libtorch's allocator does it.
    free_outputs: Vec<usize>,
    copies: VecDeque<Operation>,
    compute: VecDeque<Operation>,
    /// How often each event was recorded, and which of these places was passed.
    events: Vec<(usize, usize)>,
    chooser: Chooser,
    fault: Option<Fault>,
    /// Outputs that were looked at, and how many of them were wrong.
    looked_at: usize,
    wrong: usize,
}

enum Operation {
    Copy {
        from: usize,
        to: usize,
        bytes: usize,
    },
    Make {
        from: usize,
        to: usize,
        bytes: usize,
    },
    /// What uses an output later in the compute queue.
    EvalView {
        at: usize,
        expected: Vec<u8>,
    },
    Free {
        memory: usize,
    },
    Record {
        event: usize,
        place: usize,
    },
    Wait {
        event: usize,
        place: usize,
    },
}

pub(super) struct Host(usize, StandIn);
pub(super) struct Memory(usize, StandIn);
pub(super) struct Output(usize, StandIn);

impl StandIn {
    pub(super) fn new(given: Vec<usize>, fault: Option<Fault>) -> Self {
        Self(Rc::new(RefCell::new(State {
            memories: Vec::new(),
            free_outputs: Vec::new(),
            copies: VecDeque::new(),
            compute: VecDeque::new(),
            events: Vec::new(),
            chooser: Chooser::new(given),
            fault,
            looked_at: 0,
            wrong: 0,
        })))
    }

    /// Puts a look at an output into the compute queue.
    pub(super) fn look(&self, output: &Output, expected: Vec<u8>) {
        let at = output.0;
        let look = Operation::EvalView { at, expected };
        self.0.borrow_mut().compute.push_back(look);
    }

    /// Lets everything run, and says how many outputs were looked at, how many were wrong, and what was chosen.
    pub(super) fn end(self) -> (usize, usize, Vec<(usize, usize)>) {
        let mut state = self.0.borrow_mut();
        while state.step(1) {}
        assert!(
            state.copies.is_empty() && state.compute.is_empty(),
            "a queue waits for ever"
        );
        let chosen = std::mem::take(&mut state.chooser.chosen);
        (state.looked_at, state.wrong, chosen)
    }

    fn new_memory(&self, bytes: usize) -> usize {
        let mut state = self.0.borrow_mut();
        state.memories.push(vec![0; bytes]);
        state.memories.len() - 1
    }
}

impl State {
    fn queue(&mut self, queue: Queue) -> &mut VecDeque<Operation> {
        match queue {
            Queue::Copies => &mut self.copies,
            Queue::Compute => &mut self.compute,
        }
    }

    /// Records and waits at the queues' fronts, as far as they can be done.
    fn settle(&mut self) {
        while self.settle_front(Queue::Copies) || self.settle_front(Queue::Compute) {}
    }

    fn settle_front(&mut self, queue: Queue) -> bool {
        match self.queue(queue).front() {
            Some(&Operation::Record { event, place }) => {
                let passed = &mut self.events[event].1;
                *passed = place.max(*passed);
            }
            Some(&Operation::Wait { event, place }) => {
                if self.events[event].1 < place {
                    return false;
                }
            }
            _ => return false,
        }
        self.queue(queue).pop_front();
        true
    }

    /// One operation of a queue that is chosen, or none where the choice is to stop, which it can be unless `least`
    /// is 1. False when nothing was done.
    fn step(&mut self, least: usize) -> bool {
        self.settle();
        let touches = |queue: &VecDeque<Operation>| {
            let waits = matches!(queue.front(), Some(Operation::Wait { .. }));
            !queue.is_empty() && !waits
        };
        let mut ready = Vec::new();
        ready.extend(touches(&self.copies).then_some(Queue::Copies));
        ready.extend(touches(&self.compute).then_some(Queue::Compute));
        let options = ready.len() + 1 - least;
        if ready.is_empty() || options == 0 {
            return false;
        }
        let choice = match options {
            1 => 0,
            _ => self.chooser.choose(options),
        };
        let Some(&queue) = (choice + least)
            .checked_sub(1)
            .and_then(|nth| ready.get(nth))
        else {
            return false;
        };
        let operation = self.queue(queue).pop_front().expect("it is ready");
        self.touch(operation);
        self.settle();
        true
    }

    fn touch(&mut self, operation: Operation) {
        match operation {
            Operation::Copy { from, to, bytes } | Operation::Make { from, to, bytes } => {
                let copied = self.memories[from][..bytes].to_vec();
                self.memories[to][..bytes].copy_from_slice(&copied);
            }
            Operation::EvalView { at, expected } => {
                self.looked_at += 1;
                self.wrong += usize::from(self.memories[at][..expected.len()] != expected);
            }
            Operation::Free { memory } => self.memories[memory].fill(FREED),
            Operation::Record { .. } | Operation::Wait { .. } => unreachable!("they are settled"),
        }
    }
}

impl Engine for StandIn {
    type Host = Host;
    type Memory = Memory;
    type Event = usize;
    type Output = Output;

    fn host(&self, bytes: usize) -> Result<Host> {
        Ok(Host(self.new_memory(bytes), self.clone()))
    }

    fn write(&self, host: &mut Host, at: usize, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        while state.step(0) {}
        state.memories[host.0][at..][..bytes.len()].copy_from_slice(bytes);
    }

    fn memory(&self, bytes: usize) -> Result<Memory> {
        Ok(Memory(self.new_memory(bytes), self.clone()))
    }

    fn event(&self) -> Result<usize> {
        let mut state = self.0.borrow_mut();
        state.events.push((0, 0));
        Ok(state.events.len() - 1)
    }

    fn record(&self, &event: &usize, queue: Queue) -> Result<()> {
        let mut state = self.0.borrow_mut();
        state.events[event].0 += 1;
        let place = state.events[event].0;
        state
            .queue(queue)
            .push_back(Operation::Record { event, place });
        Ok(())
    }

    fn wait(&self, queue: Queue, &event: &usize) -> Result<()> {
        let mut state = self.0.borrow_mut();
        let left_out = match queue {
            Queue::Copies => Fault::CopiesIgnoreUse,
            Queue::Compute => Fault::ComputeIgnoresCopy,
        };
        if state.fault != Some(left_out) {
            let place = state.events[event].0;
            state
                .queue(queue)
                .push_back(Operation::Wait { event, place });
        }
        Ok(())
    }

    fn finish(&self, &event: &usize) -> Result<()> {
        let mut state = self.0.borrow_mut();
        let place = state.events[event].0;
        state.settle();
        while state.fault != Some(Fault::HostIgnoresCopy) && state.events[event].1 < place {
            assert!(state.step(1), "the host waits for ever");
        }
        Ok(())
    }

    fn copy(&self, from: &Host, to: &mut Memory, bytes: usize) -> Result<()> {
        let (from, to) = (from.0, to.0);
        let copy = Operation::Copy { from, to, bytes };
        self.0.borrow_mut().copies.push_back(copy);
        Ok(())
    }

    fn make(&self, from: &Memory, layout: Layout) -> Result<Output> {
        let bytes = layout.bytes();
        let free = self.0.borrow_mut().free_outputs.pop();
        let to = free.unwrap_or_else(|| self.new_memory(0));
        let mut state = self.0.borrow_mut();
        if state.memories[to].len() < bytes {
            state.memories[to].resize(bytes, 0);
        }
        let from = from.0;
        let make = Operation::Make { from, to, bytes };
        state.compute.push_back(make);
        drop(state);
        Ok(Output(to, self.clone()))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let mut state = self.1.0.borrow_mut();
        while state.step(0) {}
        state.memories[self.0].fill(FREED);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let free = Operation::Free { memory: self.0 };
        self.1.0.borrow_mut().copies.push_back(free);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.1.0.borrow_mut().free_outputs.push(self.0);
    }
}
