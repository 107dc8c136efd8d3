//! Shards -> batches of u8 pixels: which rows in which order, which part of each image, prepared ahead of use.
//!
//! [`Transfer`] brings them to the device as the patches that a tower takes.
//!
//! Every random draw is a function of (seed, epoch, row id, repeat), never of a thread or of the order of work, so that a
//! batch holds the same bytes however many threads prepare it.

mod augment;
mod bare;
mod batch;
mod buffers;
mod cache;
mod classic;
mod draws;
mod epoch;
mod prefetch;
mod shuffle;
mod streams;
mod transfer;
mod view;
mod window;

pub use augment::{AreaSchedule, Augmentation, mda_crop};
pub use bare::Bare;
pub use batch::{Batch, Batches};
pub use buffers::Pixels;
pub use cache::Cache;
pub use draws::Sampler;
pub(crate) use draws::{rows_by_class, sample};
pub use epoch::{Draw, Draws};
pub use prefetch::Loader;
pub use shuffle::Shuffle;
pub use streams::image_rng;
pub use transfer::{Checked, Feed, Input, Layout, Target, Transfer, check};
pub use view::View;
