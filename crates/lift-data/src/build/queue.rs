//! Puts what several threads finish back into order, with a bound on what waits.
//!
//! It neither starts threads nor knows what passes through. Invariant: items come out in the order of
//! their index, and those that wait are within the budget of bytes, or are the one that is due.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};

/// A queue from many threads to one, ordered by index from 0.
pub(crate) struct OrderedQueue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    budget_bytes: usize,
}

struct State<T> {
    waiting: BTreeMap<usize, (T, usize)>,
    waiting_bytes: usize,
    due: usize,
    closed: bool,
}

impl<T> OrderedQueue<T> {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        let state = State {
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            due: 0,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            budget_bytes,
        }
    }

    /// Hands over item `index` of `bytes`; blocks while the queue is full and another item is due.
    /// False once the queue is closed: the sender should stop.
    pub(crate) fn push(&self, index: usize, item: T, bytes: usize) -> bool {
        let mut state = self.lock();
        while !state.closed && index != state.due && state.waiting_bytes + bytes > self.budget_bytes
        {
            state = self
                .changed
                .wait(state)
                .expect("no holder of the lock panics");
        }
        if state.closed {
            return false;
        }
        state.waiting_bytes += bytes;
        state.waiting.insert(index, (item, bytes));
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Waits for the item that is due and takes it. Call it only for items that will be pushed.
    pub(crate) fn pop(&self) -> T {
        let mut state = self.lock();
        loop {
            let due = state.due;
            if let Some((item, bytes)) = state.waiting.remove(&due) {
                state.due += 1;
                state.waiting_bytes -= bytes;
                drop(state);
                self.changed.notify_all();
                return item;
            }
            state = self
                .changed
                .wait(state)
                .expect("no holder of the lock panics");
        }
    }

    /// Turns senders away, those that wait too.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn items_come_out_in_order_for_any_budget() {
        for budget in [0, 3, 1000] {
            let queue = OrderedQueue::new(budget);
            let next = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        loop {
                            let index = next.fetch_add(1, Ordering::Relaxed);
                            if index >= 500 || !queue.push(index, index, index % 7) {
                                break;
                            }
                        }
                    });
                }
                for index in 0..500 {
                    assert_eq!(queue.pop(), index);
                }
            });
        }
    }

    #[test]
    fn closing_frees_a_sender_that_waits() {
        let queue = OrderedQueue::new(0);
        thread::scope(|scope| {
            let sender = scope.spawn(|| queue.push(1, (), 10));
            queue.close();
            assert!(!sender.join().unwrap());
        });
    }
}
