//! What comes from outside and is hostile, damaged or odd: rows, names, images that nobody can decode.

#[path = "../support/mod.rs"]
mod support;

mod bad_rows;
mod export;
mod names;
mod reports;
mod settings;
