//! Tunes a frozen foundation model on long-tailed shards and evaluates it (LIFT+, arXiv 2504.13282).
//!
//! Shards -> [`lift_loader`] -> [`transfer`] -> [`model::TunedModel`] (frozen tower, [`tuner`], [`classifier`]) -> [`loss`] -> [`optim`];
//! [`train`] is the loop, [`step`] what it does with a batch, [`eval`] judges, [`parity`] compares with reference runs, [`run`] and [`report`] keep what came out,
//! [`checkpoint`] what a run that is stopped needs to go on. [`command`] holds one function
//! a command of the program.

// Only where CUDA is driven: transfer/cuda.rs.
#![deny(unsafe_code)]
// Only `lift_page::terminal` prints.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod adjustment;
pub mod advice;
mod authors;
pub mod balance;
pub mod checkpoint;
pub mod classifier;
pub mod cli;
pub mod command;
pub mod config;
pub mod consistency;
pub mod error;
pub mod eval;
pub mod features;
mod figures;
pub mod file_hash;
pub mod fingerprint;
mod footprint;
pub mod head_init;
pub mod joint;
pub mod level;
pub mod logits;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod onnx;
pub mod optim;
pub mod parity;
pub mod passes;
mod place;
pub mod plan;
pub mod predict;
pub mod predictions;
pub mod preset;
pub mod provenance;
mod recompute;
pub mod report;
pub mod run;
pub mod run_report;
pub mod soup;
pub mod step;
pub mod stop;
pub mod sweep;
pub mod tensorboard;
#[cfg(test)]
#[path = "../../../tests/src/shared_folder.rs"]
mod testing;
pub mod train;
pub mod transfer;
pub mod tuner;
pub mod validation;
