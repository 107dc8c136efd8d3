//! Head against tail after training, from logits that are kept in a file: what shifts of the logits do to each class, for
//! which class frequencies, at which temperature. No model, no image.
//!
//! [`rows`] gives the logits, batch by batch, as often as they are asked for; [`prior`] and [`estimate`] say how often
//! classes come; [`curve`] and [`calibration`] judge. Invariant: memory does not grow with the number of images times the
//! number of classes.

pub mod calibration;
pub mod curve;
pub mod estimate;
pub mod prior;
pub mod rows;
