//! Progress on stderr: a bar with images/s and time left on a terminal, silence elsewhere (the caller prints lines).

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts images.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over `images`.
    pub fn new(what: &str, images: u64) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(images), target);
        let style = ProgressStyle::with_template(
            "{msg} [{bar:32}] {pos}/{len} images  {per_sec}  {eta} left",
        );
        bar.set_style(style.expect("the template is valid").progress_chars("=> "));
        bar.set_message(what.to_owned());
        Self { bar }
    }

    /// More images are done.
    pub fn advance(&self, images: u64) {
        self.bar.inc(images);
    }

    /// Changes the words before the bar.
    pub fn say(&self, what: String) {
        self.bar.set_message(what);
    }

    /// A line above the bar on a terminal, a plain line elsewhere.
    pub fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
