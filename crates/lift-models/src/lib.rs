//! CLIP's two towers on libtorch: configuration, checkpoints, tokenizer and devices.
//!
//! Everything here is inference code without opinions on training: a tower is frozen, and whoever
//! tunes it (lift-train) hangs its modules into the blocks through [`Hooks`].
//!
//! Sources: Radford et al. 2021 (CLIP), Dosovitskiy et al. 2021 (ViT).

#![deny(unsafe_code)]
// Only `say` prints.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod absorb;
mod block;
mod checkpoint;
mod clip;
mod config;
mod device;
mod error;
mod finite;
mod fold;
mod footprint;
mod head;
mod hooks;
pub mod hub;
#[allow(unsafe_code)]
pub mod libtorch;
mod mapped;
pub mod memory;
pub mod out_of_memory;
mod own_layout;
pub mod panics;
mod parts;
mod pickle;
mod positions;
mod preprocess;
mod read;
mod rows;
pub mod runtime;
mod say;
mod tensor_file;
mod text;
mod timm;
mod tokenizer;
mod vision;

pub use block::{Attention, Block, LayerNorm, Linear, Mlp};
pub use clip::{Clip, normalize};
pub use config::{Activation, ClipConfig, TextConfig, VisionConfig};
pub use device::{DeviceChoice, Precision, device_name};
pub use error::{Error, Result};
pub use finite::{is_finite, not_finite};
pub use footprint::{Footprint, PASSING};
pub use head::Head;
pub use hooks::{Hooks, MlpInput, NoHooks, Parameter, Place};
pub use own_layout::{Layout, layout_of, write_with_tower};
pub use pickle::torch_dictionaries;
pub use preprocess::Normalisation;
pub use read::files_of;
pub use rows::identical_rows;
pub use tensor_file::TensorFile;
pub use text::TextTower;
pub use tokenizer::{Encoded, Tokenizer};
pub use vision::VisionTower;
