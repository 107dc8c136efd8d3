//! Batches copied to a CUDA device ahead of the one in use.
//!
//! It takes from the loader what is ready, and waits for the loader only when nothing is staged. An error comes after
//! all batches before it.

use std::{
    collections::VecDeque,
    task::Poll,
    time::{Duration, Instant},
};

use super::{
    Feed, Input, Route, Transfer,
    cuda::Cuda,
    ring::{Pinned, Ring},
};
use crate::error::{Error, Result};
use lift_loader::Batch;

/// Places for batches on the device: one in use, two on their way.
const SLOTS: usize = 3;

/// How often a host that waits for a batch looks whether the device still works.
const GLANCE: Duration = Duration::from_micros(200);

/// Batches on their way.
pub(super) struct Prefetcher {
    ring: Ring<Cuda>,
    /// The labels of the staged ones.
    labels: VecDeque<Vec<i64>>,
    /// What came after the staged ones.
    failure: Option<Error>,
}

impl Prefetcher {
    pub(super) fn new(cuda: &Cuda) -> Result<Self> {
        Ok(Self {
            ring: Ring::new(cuda, SLOTS)?,
            labels: VecDeque::new(),
            failure: None,
        })
    }

    fn stage(&mut self, mut batch: Batch, transfer: &Transfer) -> Result<()> {
        let layout = batch.layout();
        transfer.require_patches(layout)?;
        if batch.pixels.memory_mut::<Pinned<Cuda>>().is_none() {
            let mut pinned = transfer.pixels(layout)?;
            pinned.copy_from_slice(&batch.pixels);
            batch.pixels = pinned;
        }
        let pinned = batch.pixels.memory_mut().expect("it is one now");
        let beside = (&batch.labels[..], &batch.mirrored[..]);
        self.ring.stage(pinned, beside, layout)?;
        self.labels.push_back(batch.labels);
        Ok(())
    }

    fn hand_over(&mut self) -> Result<Option<Input>> {
        let (Some((pixels, labels)), Some(host_labels)) =
            (self.ring.hand_over()?, self.labels.pop_front())
        else {
            return Ok(None);
        };
        Ok(Some(Input {
            pixels,
            labels,
            host_labels,
        }))
    }
}

impl Feed {
    pub(super) fn next_on_cuda(&mut self) -> Result<Option<Input>> {
        if self.ahead().ring.is_empty() {
            if let Some(failure) = self.ahead().failure.take() {
                return Err(failure);
            }
            match self.wait_beside_device()? {
                None => return Ok(None),
                Some(batch) => self.stage(batch)?,
            }
        }
        let input = self.ahead().hand_over()?;
        // Behind the kernel of this one, so that they are copied while it is used.
        while !self.ahead().ring.is_full() && self.ahead().failure.is_none() {
            let staged = match self.batches.poll_next(Duration::ZERO) {
                Poll::Pending | Poll::Ready(None) => break,
                Poll::Ready(Some(batch)) => batch
                    .map_err(Error::from)
                    .and_then(|batch| self.stage(batch)),
            };
            self.ahead().failure = staged.err();
        }
        Ok(input)
    }

    /// Waits for a batch, and counts what of the time the device had nothing to do: while it works, the host is only early.
    fn wait_beside_device(&mut self) -> Result<Option<Batch>> {
        let cuda = self.transfer.cuda.clone().expect("this way leads to CUDA");
        let work_so_far = cuda.mark()?;
        let mut resting_since = None;
        loop {
            if let Poll::Ready(batch) = self.batches.poll_next(GLANCE) {
                self.waited +=
                    resting_since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
                return Ok(batch.transpose()?);
            }
            if resting_since.is_none() && cuda.has_passed(&work_so_far)? {
                resting_since = Some(Instant::now());
            }
        }
    }

    fn stage(&mut self, batch: Batch) -> Result<()> {
        let transfer = self.transfer.clone();
        self.ahead().stage(batch, &transfer)
    }

    fn ahead(&mut self) -> &mut Prefetcher {
        match &mut self.way {
            Route::Cuda(ahead) => ahead,
            Route::Host(_) | Route::Over => unreachable!("the caller looked"),
        }
    }
}
