//! Class names -> classifier weights, by semantic-aware initialisation (arXiv 2309.10019, section 4.2).
//!
//! A prompt is made for each class, encoded by CLIP's text tower and carried back into the space of the image
//! tower's class token. The rows go into a classifier file ([`lift_models::Head`]) that lift-train starts from.

#![forbid(unsafe_code)]
// Only `lift_page::terminal` prints.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod classifier;
pub mod cli;
mod findings;
mod prompt_files;
mod prompts;
mod similarity;

pub use classifier::{ClassifierOptions, Error, build_head};
pub use prompts::{Prompts, Template};
pub use similarity::{Nearest, Neighbour, cosines, nearest};
