//! Batches of u8 pixels -> tensors that the tower takes: normalised patches on its device, and labels.
//!
//! On CUDA a batch is written into pinned memory, copied on a stream of our own while the device computes, and made
//! into patches by one kernel on the stream that libtorch computes on; the host waits for the device only where it
//! would write a buffer that is still being copied. On the CPU the same values come from a loop.
//! Invariant: the same batch becomes the same patches to the last bit, on any device.

mod ahead;
mod check;
// CUDA is driven by pointers.
#[allow(unsafe_code)]
mod cuda;
mod host;
#[cfg(test)]
mod model_check;
mod ring;
#[cfg(test)]
mod stand_in;
mod table;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lift_models::{Normalisation, VisionTower};
use tch::{Device, Kind, Tensor};

pub use check::{Checked, check};

use ahead::Prefetcher;
use cuda::Cuda;
use host::HostPatches;
use ring::Pinned;
use table::Table;

use crate::error::{Error, Result};
use lift_loader::{Batch, Batches, Buffers, Draws, Layout, Loader, Pixels, View};

/// Where batches go, and as what.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The tower's constants.
    pub normalisation: Normalisation,
    /// Where the tower lies.
    pub device: Device,
    /// The kind that its matrix products run in.
    pub kind: Kind,
    /// Side of a patch in pixels.
    pub patch_size: u32,
}

impl Target {
    /// What a tower takes.
    pub fn of(tower: &VisionTower, normalisation: Normalisation) -> Self {
        Self {
            normalisation,
            device: tower.device(),
            kind: tower.kind(),
            patch_size: tower.config().patch_size as u32,
        }
    }
}

/// A batch on the device. Its memory is libtorch's, and stays as long as the tensors do.
#[derive(Debug)]
pub struct Input {
    /// Patches (images x crops, n, 3 p p): n in the grid's rows, within a patch by channel, then row, then column, as
    /// the weights of the patch convolution are.
    pub pixels: Tensor,
    /// One label an image, i64.
    pub labels: Tensor,
    /// The same labels on the host.
    pub host_labels: Vec<i64>,
}

/// The pixels of all crops as normalised images (images x crops, 3, r, r) on `device`, mirrored where they are to be.
/// Simple and slow: training and evaluation take [`Transfer::feed`].
pub fn images(batch: &Batch, normalisation: &Normalisation, device: Device) -> Tensor {
    let resolution = batch.resolution as i64;
    let pixels = Tensor::from_slice(&batch.pixels).view([-1, resolution, resolution, 3]);
    let images = normalisation.apply(&pixels, device);
    if batch.mirrored.iter().all(|&flag| flag == 0) {
        return images;
    }
    let mirrored = Tensor::from_slice(&batch.mirrored).view([-1, 1, 1, 1]);
    let mirrored = mirrored.not_equal(0).to_device(device);
    images.flip([3]).where_self(&mirrored, &images)
}

/// An open way to a device. It is opened once and used for all that goes there.
#[derive(Clone)]
pub struct Transfer {
    target: Target,
    table: Arc<Table>,
    cuda: Option<Cuda>,
    buffers: Arc<Buffers>,
}

impl Transfer {
    /// Opens the device; for CUDA, that loads the driver and compiles the kernel.
    ///
    /// # Errors
    /// When the device cannot be used, or no tower runs in such a kind.
    pub fn open(target: Target) -> Result<Self> {
        let table = Table::new(&target.normalisation, target.kind)?;
        let (kind, patch) = (target.kind, target.patch_size);
        let cuda = match target.device {
            Device::Cuda(number) => Some(Cuda::open(number, kind, patch, &table)?),
            _ => None,
        };
        Ok(Self {
            target,
            table: Arc::new(table),
            // As many wait at most as were in use at once.
            buffers: match cuda.clone() {
                None => Buffers::new(usize::MAX),
                Some(cuda) => Buffers::copied_from(move |bytes| {
                    let pinned = Pinned::new(&cuda, bytes);
                    Ok(Box::new(pinned?))
                }),
            },
            cuda,
        })
    }

    /// Where batches go.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What [`Loader::batches`] gives, on the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn feed(&self, loader: &Loader, draws: Draws, view: View) -> Result<Feed> {
        self.feed_of(loader.batches_in(&self.buffers, draws, view))
    }

    /// These batches, on the device. They are copied once more where their pixels are not [`Transfer::pixels`].
    ///
    /// # Errors
    /// When the device fails.
    pub fn feed_of(&self, batches: Batches) -> Result<Feed> {
        let way = match &self.cuda {
            Some(cuda) => Route::Cuda(Prefetcher::new(cuda)?),
            None => Route::Host(HostPatches::default()),
        };
        Ok(Feed {
            batches,
            transfer: self.clone(),
            way,
            waited: Duration::ZERO,
        })
    }

    /// A buffer for the pixels of a batch, pinned where that helps; to be written from the first byte to the last.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn pixels(&self, layout: Layout) -> Result<Pixels> {
        Ok(self.buffers.take(layout)?)
    }

    fn require_patches(&self, layout: Layout) -> Result<()> {
        let (side, patch) = (layout.side, self.target.patch_size);
        if patch == 0 || side % patch != 0 {
            return Err(Error::Config(format!(
                "crops of {side} pixels are no grid of patches of {patch}"
            )));
        }
        Ok(())
    }
}

/// Batches on the device, in order; an error is the last of them.
pub struct Feed {
    batches: Batches,
    transfer: Transfer,
    way: Route,
    waited: Duration,
}

enum Route {
    Host(HostPatches),
    Cuda(Prefetcher),
    /// After an error.
    Over,
}

impl Feed {
    /// How long the device waited for batches since this was asked last.
    pub fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }

    fn next_on_host(&mut self) -> Result<Option<Input>> {
        let Some(batch) = self.wait_for_batch().transpose()? else {
            return Ok(None);
        };
        self.transfer.require_patches(batch.layout())?;
        let Route::Host(patches) = &mut self.way else {
            unreachable!("the caller looked")
        };
        let Target {
            device,
            kind,
            patch_size,
            ..
        } = self.transfer.target;
        let pixels = patches.make(&batch, &self.transfer.table, kind, patch_size);
        Ok(Some(Input {
            pixels: pixels.to_device(device),
            labels: Tensor::from_slice(&batch.labels).to_device(device),
            host_labels: batch.labels,
        }))
    }

    fn wait_for_batch(&mut self) -> Option<lift_loader::Result<Batch>> {
        let waiting = Instant::now();
        let batch = self.batches.next();
        self.waited += waiting.elapsed();
        batch
    }
}

impl Iterator for Feed {
    type Item = Result<Input>;

    fn next(&mut self) -> Option<Self::Item> {
        let input = match self.way {
            Route::Host(_) => self.next_on_host(),
            Route::Cuda(_) => self.next_on_cuda(),
            Route::Over => Ok(None),
        };
        if input.is_err() {
            self.way = Route::Over;
        }
        input.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(side: u32) -> Batch {
        Batch {
            pixels: vec![0; Layout::square(1, side).pixel_bytes()].into(),
            mirrored: vec![0],
            labels: vec![7],
            resolution: side,
        }
    }

    fn target(device: Device) -> Target {
        Target {
            normalisation: Normalisation::HALF,
            device,
            kind: Kind::Half,
            patch_size: 8,
        }
    }

    #[test]
    fn a_cuda_device_that_is_not_there_is_one_clear_line() {
        let refused = Transfer::open(target(Device::Cuda(4096))).err().unwrap();
        let message = refused.to_string();
        let line = message.lines().next().unwrap();
        assert!(line.starts_with("device cuda:4096: there "), "{message}");
        assert!(line.contains("CUDA d"), "{message}");
    }

    #[test]
    fn an_error_comes_after_all_before_it_and_is_the_last() {
        let transfer = Transfer::open(target(Device::Cpu)).unwrap();
        // The loader fails at the third, or the third is no grid of patches.
        for bad in [|| Err(lift_loader::Error::Stopped), || Ok(batch(20))] {
            let make = move |number| if number == 2 { bad() } else { Ok(batch(16)) };
            let mut feed = transfer.feed_of(Batches::made_by(5, make)).unwrap();
            for _ in 0..2 {
                let input = feed.next().unwrap().unwrap();
                assert_eq!(input.pixels.size(), [1, 4, 192]);
                assert_eq!(input.pixels.kind(), Kind::Half);
                assert_eq!(input.host_labels, [7]);
            }
            assert!(feed.next().unwrap().is_err());
            assert!(feed.next().is_none());
        }
    }
}
