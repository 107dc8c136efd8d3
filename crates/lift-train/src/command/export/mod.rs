//! `lift-train export`: a finished run in a form that can be taken along, a function a form.
//!
//! [`folder`] is a run with its model beside it; [`merged`] a model in the base's own layout; [`peft`] an adapter for Hugging
//! Face's PEFT; [`onnx`] one graph. Invariant: what is in a folder that an export made classifies as the run does.

mod beside;
mod card;
mod folder;
mod merged;
mod onnx;
mod peft;
mod source;
mod staging;

pub use folder::export_folder;
pub use merged::export_merged;
pub use onnx::export_onnx;
pub use peft::export_peft;
pub use source::ExportSettings;
