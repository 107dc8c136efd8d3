//! The progress of a download on standard error: a bar on a terminal, one line otherwise.

use std::io::{self, IsTerminal};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::say::{say, shown};

/// Files below this size are not worth a word.
const WORTH_A_WORD: u64 = 1 << 20;

/// Counts bytes of a file; `None` where the size is not known.
pub fn start(what: String, size: Option<u64>) -> ProgressBar {
    if size.is_some_and(|bytes| bytes < WORTH_A_WORD) {
        return ProgressBar::hidden();
    }
    if !io::stderr().is_terminal() {
        let size = size.map_or("size unknown".into(), |bytes| HumanBytes(bytes).to_string());
        say(&format!("fetching {what}, {size}"));
        return ProgressBar::hidden();
    }
    let template = match size {
        Some(_) => "{prefix} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{prefix} {bytes}, {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is right");
    let bar = match size {
        Some(bytes) => ProgressBar::new(bytes),
        None => ProgressBar::no_length(),
    };
    bar.with_style(style).with_prefix(shown(&what))
}
