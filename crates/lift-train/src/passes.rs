//! Images of shards through a model without gradients: for evaluation, class means, linear probing and consistency.
//!
//! All of them come this way, so that all keep to the limit of memory, go on with fewer crops at once where memory does
//! not suffice, and refuse values that are not finite with the image they arose at. Invariant: what comes out has a row
//! a crop in the draws' order, however many are passed at once.

use std::cell::Cell;

use lift_files::memory::total_bytes;
use lift_models::{
    Footprint, VisionTower,
    memory::{MemorySize, there},
    out_of_memory::halving,
};
use lift_shards::shard::ShardReader;
use tch::{Device, Kind, Tensor};

use crate::{
    error::{Error, Result},
    footprint::AHEAD,
    transfer::{Input, Transfer},
};
use lift_loader::{Draws, Images, Loader, View};

/// How images are passed; nothing of it changes what comes out, but for rounding.
#[derive(Clone, Copy, Debug)]
pub struct Passing {
    /// Crops at once, at most.
    pub batch_size: usize,
    /// How much memory passes may take; none: what there is.
    pub max_memory: Option<MemorySize>,
    /// Loader threads; 0: one a core.
    pub threads: usize,
    /// Whether large JPEGs are decoded at their full size before they are shrunk.
    pub exact: bool,
}

/// What is passed, and how far it may go at once.
pub struct Passes<'a> {
    transfer: &'a Transfer,
    loader: Loader,
    view: View,
    /// Crops at once; it falls where memory does not suffice.
    at_once: Cell<usize>,
    max_memory: Option<MemorySize>,
    /// Such as `evaluation`, for messages.
    what: &'static str,
}

impl<'a> Passes<'a> {
    /// Passes of `images` to `tower`, which take as much as `footprint` says.
    ///
    /// # Errors
    /// When not a single crop fits the limit, or the loader's threads cannot be started.
    pub fn open(
        images: impl Into<Images>,
        tower: &VisionTower,
        transfer: &'a Transfer,
        (view, what): (View, &'static str),
        footprint: Footprint,
        passing: Passing,
    ) -> Result<Self> {
        let limit = passing.max_memory;
        let one = format!("{what} of one crop at once");
        let at_once = footprint.fitting(passing.batch_size.max(1), limit, &one);
        let at_once = at_once.map_err(Error::Usage)?;
        let resolution = tower.config().resolution as u32;
        let batch = (at_once / view.crops()).max(1);
        let mut loader = Loader::new(images, resolution, batch, passing.threads)?;
        loader.set_exact(passing.exact);
        if limit.is_some() {
            loader.set_depth(AHEAD);
        }
        Ok(Self {
            transfer,
            loader,
            view,
            at_once: Cell::new(at_once),
            max_memory: limit,
            what,
        })
    }

    /// Gives `take` what `forward` makes of each batch of these draws, patches (c, n, 3 p p) -> (c, d), and its labels: on
    /// their device, and on the host.
    ///
    /// # Errors
    /// When an image cannot be loaded, memory does not suffice for one crop, or `take` fails.
    pub fn each(
        &self,
        draws: Draws,
        forward: impl Fn(&Tensor) -> Tensor,
        take: impl FnMut(Tensor, &Tensor, &[i64]) -> Result<()>,
    ) -> Result<()> {
        let wanted = draws.len();
        let feed = self.transfer.feed(&self.loader, draws, self.view)?;
        self.each_of(feed, wanted, forward, take)
    }

    /// As [`Passes::each`], of what `feed` gives of so many images, in place of the loader.
    ///
    /// # Errors
    /// As [`Passes::each`].
    pub fn each_of(
        &self,
        feed: impl Iterator<Item = Result<Input>>,
        wanted: usize,
        forward: impl Fn(&Tensor) -> Tensor,
        mut take: impl FnMut(Tensor, &Tensor, &[i64]) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        for input in feed {
            let input = input?;
            let crops = input.pixels.size()[0];
            let mut at_once = self.at_once.get().min(crops as usize);
            let asked = at_once;
            let rows = halving(&mut at_once, "crops", |at_once| {
                if at_once as i64 >= crops {
                    forward(&input.pixels)
                } else {
                    let parts = input.pixels.split(at_once as i64, 0);
                    Tensor::cat(&parts.iter().map(&forward).collect::<Vec<_>>(), 0)
                }
            })
            .map_err(|refused| {
                let (device, what) = (self.transfer.target().device, self.what);
                let work = format!("{what} with one crop at once");
                let hint = "a smaller --model or --resolution takes less";
                let there = there(device, self.max_memory, total_bytes());
                refused.error(device, there, &work, hint)
            })?;
            if at_once < asked {
                self.at_once.set(at_once);
            }
            done += input.host_labels.len();
            take(rows, &input.labels, &input.host_labels)?;
        }
        // A loader thread that died only closes the queue.
        if done < wanted {
            return Err(lift_loader::Error::Stopped.into());
        }
        Ok(())
    }

    /// Crops at once, at most.
    pub fn batch_size(&self) -> usize {
        self.at_once.get()
    }

    /// What is passed.
    pub fn images(&self) -> &Images {
        self.loader.images()
    }
}

/// Refuses rows (b, d) that are not finite, `values` such as `logits`; `row_of` says which row of the shards the place in
/// the batch is.
///
/// # Errors
/// Names the image.
pub fn require_finite(
    rows: &Tensor,
    values: &str,
    reader: &ShardReader,
    row_of: impl Fn(usize) -> usize,
) -> Result<()> {
    let finite = rows.isfinite().all_dim(1, false).to_kind(Kind::Uint8);
    let finite = Vec::<u8>::try_from(finite.to_device(Device::Cpu));
    let finite = finite.map_err(lift_models::Error::from)?;
    match finite.iter().position(|&is| is == 0) {
        Some(place) => Err(image_not_finite(values, reader, row_of(place))),
        None => Ok(()),
    }
}

/// The error of an image of which something that is no number was computed; all tensors were looked at before.
pub(crate) fn image_not_finite(values: &str, reader: &ShardReader, row: usize) -> Error {
    let manifest = reader.manifest();
    Error::NotFinite {
        image: format!(
            "image {} ({}) of {} {}",
            reader.row(row).id,
            reader.path(row),
            manifest.dataset,
            manifest.split
        ),
        values: values.into(),
    }
}
