//! Lines on standard error while a model is fetched or a device is chosen.
//!
//! Names of files and words of a server come from outside. Invariant: none of their characters is one that a
//! terminal obeys or nobody sees. A line that cannot be written is lost, and the work goes on.

use std::io::{self, Write};

/// Prints a line.
pub(crate) fn say(text: &str) {
    let line = shown(text) + "\n";
    // `eprintln!` would panic, and with it end what the line is only about.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// `text` with what cannot be seen as Rust writes it: `\u{1b}`.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => out.push(character),
            _ => out.extend(character.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_seen() {
        assert_eq!(
            shown("a\u{1b}[2J\n\u{9b}K \u{202e}\"b\" é 猫"),
            "a\\u{1b}[2J\\n\\u{9b}K \\u{202e}\"b\" é 猫"
        );
    }
}
