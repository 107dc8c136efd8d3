//! Progress of a long run on standard error: a bar on a terminal, plain lines otherwise.
//!
//! It decides nothing. Invariant: standard output is never touched, and a run that takes seconds
//! prints no plain line.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::escape;
use crate::terminal;

/// Time between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reporting {
    /// To standard error.
    Stderr,
    /// Nowhere.
    Silent,
}

impl Reporting {
    /// Says what the user should know, a line that starts with `note:`.
    pub fn note(self, text: &str) {
        match self {
            Reporting::Silent => {}
            Reporting::Stderr => terminal::say(format_args!("note: {text}")),
        }
    }

    /// Starts counting to `total` images; `what` is named in front.
    pub fn start(self, what: &'static str, total: u64) -> Progress {
        self.start_of(what, "images", total)
    }

    /// Starts counting to `total` of this unit, a plural.
    pub fn start_of(self, what: &'static str, unit: &'static str, total: u64) -> Progress {
        let sink = match self {
            Reporting::Silent => Sink::None,
            Reporting::Stderr if std::io::stderr().is_terminal() => {
                Sink::Bar(bar(what, unit, total))
            }
            Reporting::Stderr => Sink::Lines {
                next: Cell::new(LINE_EVERY),
            },
        };
        Progress {
            what,
            unit,
            total,
            done: Cell::new(0),
            start: Instant::now(),
            sink,
        }
    }
}

/// A count on its way to a total.
pub struct Progress {
    what: &'static str,
    unit: &'static str,
    total: u64,
    done: Cell<u64>,
    start: Instant,
    sink: Sink,
}

enum Sink {
    Bar(ProgressBar),
    Lines { next: Cell<Duration> },
    None,
}

impl Progress {
    /// So many more.
    pub fn advance(&self, more: u64) {
        self.done.set(self.done.get() + more);
        match &self.sink {
            Sink::Bar(bar) => bar.inc(more),
            Sink::Lines { next } if self.start.elapsed() >= next.get() => {
                let elapsed = self.start.elapsed();
                next.set(elapsed + LINE_EVERY);
                terminal::say(self.line(elapsed.as_secs_f64()));
            }
            Sink::Lines { .. } | Sink::None => {}
        }
    }

    /// Words behind the bar, such as the loss; plain lines do without.
    pub fn note(&self, text: String) {
        if let Sink::Bar(bar) = &self.sink {
            bar.set_message(escape::visible(&text));
        }
    }

    /// A line of its own, above the bar if there is one.
    pub fn say(&self, text: &str) {
        match &self.sink {
            Sink::Bar(bar) => bar.println(escape::lines(text)),
            Sink::Lines { .. } => terminal::say(text),
            Sink::None => {}
        }
    }

    /// Takes the bar away; a summary follows.
    pub fn finish(&self) {
        if let Sink::Bar(bar) = &self.sink {
            bar.finish_and_clear();
        }
    }

    fn line(&self, seconds: f64) -> String {
        let (done, rate) = (self.done.get(), self.done.get() as f64 / seconds);
        let left = (self.total - done.min(self.total)) as f64 / rate;
        format!(
            "{}: {done} of {} {unit}, {rate:.0} {unit}/s, {left:.0} s left",
            self.what,
            self.total,
            unit = self.unit
        )
    }
}

fn bar(what: &'static str, unit: &'static str, total: u64) -> ProgressBar {
    // A terminal of 50 columns holds it; what is behind it is cut there.
    let template = "{prefix} {bar:10} {human_pos}/{human_len} {per_sec} {eta} {wide_msg}";
    let style = ProgressStyle::with_template(template)
        .expect("the template is right")
        .with_key(
            "per_sec",
            move |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{:.0} {unit}/s", state.per_sec());
            },
        );
    ProgressBar::new(total).with_style(style).with_prefix(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_says_rate_and_time_left() {
        let progress = Reporting::Silent.start("train", 100);
        progress.advance(24);
        progress.advance(1);
        assert_eq!(
            progress.line(5.0),
            "train: 25 of 100 images, 5 images/s, 15 s left"
        );
        let progress = Reporting::Silent.start_of("encode", "texts", 4);
        progress.advance(2);
        let line = progress.line(1.0);
        assert_eq!(line, "encode: 2 of 4 texts, 2 texts/s, 1 s left");
    }
}
