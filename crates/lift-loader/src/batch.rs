//! A batch, and batches in order from the threads that prepare them.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    task::Poll,
    thread,
    time::Duration,
};

use crate::{buffers::Pixels, error::Result, layout::Layout};

/// Pixels and labels of some images.
#[derive(Debug)]
pub struct Batch {
    /// (images, crops, resolution, resolution, 3), row-major; dropped, they make room for a later batch.
    pub pixels: Pixels,
    /// One a crop, not 0: what is meant is the mirror image of its pixels.
    pub mirrored: Vec<u8>,
    /// One label an image.
    pub labels: Vec<i64>,
    /// Side of a crop in pixels.
    pub resolution: u32,
}

impl Batch {
    /// How it lies in a buffer.
    pub fn layout(&self) -> Layout {
        Layout {
            images: self.labels.len(),
            crops: self.mirrored.len(),
            side: self.resolution,
        }
    }
}

/// Batches in order, from the threads that prepare them in turn. An error is the last of them.
pub struct Batches {
    lanes: Vec<Receiver<Result<Batch>>>,
    next: usize,
    left: usize,
}

impl Batches {
    /// `count` batches, which the lanes send in turn.
    pub(crate) fn of(lanes: Vec<Receiver<Result<Batch>>>, count: usize) -> Self {
        Self {
            lanes,
            next: 0,
            left: count,
        }
    }

    /// `count` batches that `make` makes of their numbers, on a thread of its own.
    pub fn made_by(
        count: usize,
        mut make: impl FnMut(usize) -> Result<Batch> + Send + 'static,
    ) -> Self {
        let (sender, receiver) = sync_channel(0);
        thread::spawn(move || {
            for number in 0..count {
                let batch = make(number);
                let failed = batch.is_err();
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        });
        Self::of(vec![receiver], count)
    }

    /// As `next`, where the next batch is ready within `patience` or there is none.
    pub fn poll_next(&mut self, patience: Duration) -> Poll<Option<Result<Batch>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        match self.lanes[self.next].recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => Poll::Pending,
            received => Poll::Ready(self.count(received.ok())),
        }
    }

    /// Counts what came from the lane whose turn it was; a thread that panicked sends nothing more.
    fn count(&mut self, batch: Option<Result<Batch>>) -> Option<Result<Batch>> {
        self.left -= 1;
        if !matches!(batch, Some(Ok(_))) {
            self.left = 0;
        }
        self.next = (self.next + 1) % self.lanes.len();
        batch
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let received = self.lanes[self.next].recv();
        self.count(received.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// Batches of one label that is their number; the one of number `bad` cannot be made.
    fn numbered(count: usize, bad: usize) -> Batches {
        Batches::made_by(count, move |number| {
            if number == bad {
                Err(Error::Stopped)
            } else {
                Ok(Batch {
                    pixels: Vec::new().into(),
                    mirrored: Vec::new(),
                    labels: vec![number as i64],
                    resolution: 0,
                })
            }
        })
    }

    #[test]
    fn asking_without_waiting_gives_the_same_batches() {
        for bad in [usize::MAX, 3] {
            let waited: Vec<_> = numbered(5, bad).map(|b| b.ok().map(|b| b.labels)).collect();
            let mut asked = Vec::new();
            let mut batches = numbered(5, bad);
            loop {
                match batches.poll_next(Duration::ZERO) {
                    Poll::Pending => thread::yield_now(),
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(batch)) => asked.push(batch.ok().map(|b| b.labels)),
                }
            }
            assert_eq!(asked, waited);
            assert_eq!(asked.len(), if bad == 3 { 4 } else { 5 });
            assert_eq!(asked.last().unwrap().is_none(), bad == 3);
        }
    }
}
