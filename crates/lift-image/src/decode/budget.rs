//! One budget of memory over all threads that decode: a huge image waits until the others have drained, or is refused.
//!
//! Images of usual sizes are not counted, and take no lock. Invariant: what is granted at a time is within the budget,
//! and whoever waits holds nothing of it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::DecodeError;
use lift_files::memory;

/// Images that need less are not counted: 5 megapixels.
const UNCOUNTED: u64 = 16 << 20;

/// The budget where the system does not say how much memory there is.
const UNKNOWN: u64 = 2 << 30;

/// Memory for the images that threads decode at the same time.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    taken: Mutex<u64>,
    freed: Condvar,
}

impl Budget {
    /// Half of what the machine, the cgroup or `ulimit -v` allows; of the last no more than so many threads leave.
    pub fn of_machine(threads: usize) -> Arc<Self> {
        let half = memory::total_bytes().map_or(UNKNOWN, |total| total / 2);
        Self::of_bytes(memory::left_to_map(threads).map_or(half, |left| left.min(half)))
    }

    pub(super) fn of_bytes(total: u64) -> Arc<Self> {
        Arc::new(Self {
            total,
            taken: Mutex::new(0),
            freed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A decoder's share of a budget.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Of the machine's, unless another was given.
    pub(super) budget: Option<Arc<Budget>>,
    taken: u64,
}

impl Share {
    /// Takes memory for one image, once others have given back theirs.
    ///
    /// # Errors
    /// When it is more than all of the budget.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), DecodeError> {
        self.give_back();
        if bytes <= UNCOUNTED {
            return Ok(());
        }
        let budget = self.budget.get_or_insert_with(|| Budget::of_machine(1));
        if bytes > budget.total {
            return Err(DecodeError::Memory { bytes });
        }
        let mut taken = budget.lock();
        while *taken + bytes > budget.total {
            taken = budget
                .freed
                .wait(taken)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *taken += bytes;
        self.taken = bytes;
        Ok(())
    }

    /// Whether the image is one of those that count.
    pub(super) fn is_counted(&self) -> bool {
        self.taken > 0
    }

    pub(super) fn give_back(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if let (1.., Some(budget)) = (taken, &self.budget) {
            *budget.lock() -= taken;
            budget.freed.notify_all();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn what_is_too_large_is_refused_and_the_rest_waits_its_turn() {
        let budget = Budget::of_bytes(100 << 20);
        let share = || Share {
            budget: Some(Arc::clone(&budget)),
            taken: 0,
        };
        let too_large = share().take((100 << 20) + 1);
        assert_eq!(
            too_large,
            Err(DecodeError::Memory {
                bytes: (100 << 20) + 1
            })
        );
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for mebibytes in [100, 40, 40, 30, 90, 17, 60, 100] {
                let (share, now, most) = (share(), &now, &most);
                scope.spawn(move || {
                    let mut share = share;
                    for _ in 0..50 {
                        share.take(mebibytes << 20).unwrap();
                        most.fetch_max(
                            now.fetch_add(mebibytes, Ordering::SeqCst) + mebibytes,
                            Ordering::SeqCst,
                        );
                        thread::yield_now();
                        now.fetch_sub(mebibytes, Ordering::SeqCst);
                        share.give_back();
                    }
                });
            }
        });
        assert!((1..=100).contains(&most.into_inner()));
        assert_eq!(*budget.lock(), 0);
    }

    #[test]
    fn a_usual_image_takes_nothing() {
        let mut share = Share {
            budget: Some(Budget::of_bytes(0)),
            taken: 0,
        };
        share.take(UNCOUNTED).unwrap();
        assert!(!share.is_counted());
    }
}
