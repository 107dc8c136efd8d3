//! What the programs print: the one place that writes to standard output and standard error.
//!
//! Names of classes and files come from outside, and a terminal obeys what is printed on it. Invariant: of
//! the characters that it could obey only the line feed passes, the rest is shown as [`escape`] shows it; in
//! JSON it is escaped as JSON escapes, so that a reader gets the name as it is. A column is as wide as what
//! is shown of it.
//!
//! Results that cannot be written are an error; messages that cannot be written are lost, and the work goes on:
//! hours of training do not end because the log's disk is full.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write as _};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::escape;

/// Prints a line, or several, on standard error, in one write. What cannot be written is lost.
pub fn say(text: impl Display) {
    let line = escape::lines(&text.to_string()) + "\n";
    // `eprintln!` would panic, and with it end what the line is only about.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Writes text to standard output; a reader that went away (`| head`) is no error.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn print(text: &str) -> io::Result<()> {
    print_as_it_is(escape::lines(text).as_bytes())
}

/// As [`print`], one JSON document.
///
/// # Errors
/// As [`print`].
///
/// # Panics
/// When the value cannot be JSON, which results, being plain data, can.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value).expect("results are plain data");
    print_as_it_is((escape::json(&text) + "\n").as_bytes())
}

/// As [`print`], what this program alone has made and what has no name of others in it: a shell's script.
///
/// # Errors
/// As [`print`].
pub fn print_as_it_is(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    unless_nobody_reads(out.write_all(text).and_then(|()| out.flush()))
}

fn unless_nobody_reads(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(err),
        _ => Ok(()),
    }
}

/// The program's arguments; wrong ones, `--help` and `--version` end the program as clap ends it, but a word
/// of the command line that a terminal would obey (a file's name, by `*`) is shown, and help that cannot be written
/// ends it with 1.
pub fn arguments<C: clap::Parser>() -> C {
    C::try_parse().unwrap_or_else(|err| {
        let shown = std::env::args_os().map(|word| escape::visible(&word.to_string_lossy()));
        let err = C::try_parse_from(shown).err().unwrap_or(err);
        let printed = err.print().and_then(|()| io::stdout().flush());
        match unless_nobody_reads(printed) {
            Err(failed) if !err.use_stderr() => {
                say(format_args!(
                    "error: standard output: cannot write: {failed}"
                ));
                std::process::exit(1);
            }
            _ => std::process::exit(err.exit_code()),
        }
    })
}

/// What reads a flag's word: each with its value and what it means, for the help.
pub fn words<T: Clone + Send + Sync + 'static>(
    words: &'static [(T, &'static str, &'static str)],
) -> impl TypedValueParser<Value = T> {
    let known = words
        .iter()
        .map(|(_, word, means)| PossibleValue::new(*word).help(*means));
    PossibleValuesParser::new(known).map(|typed| {
        let found = words.iter().find(|(_, word, _)| *word == typed);
        found
            .map(|(value, ..)| value.clone())
            .expect("it is one of the words")
    })
}

/// Rows of one length as text: the first `left` columns to the left, the others to the right.
pub fn aligned(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let right: Vec<bool> = (0..columns).map(|column| column >= left).collect();
    aligned_as(rows, &right)
}

/// Rows of one length as text, each column to the right where `right` says so.
pub fn aligned_as(rows: &[Vec<String>], right: &[bool]) -> String {
    let shown: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| escape::visible(cell)).collect())
        .collect();
    let width = |column: usize| shown.iter().map(|row| row[column].width()).max();
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(|i| width(i).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &shown {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // Counted in the terminal's columns, of which a wide character takes two.
            let blank = " ".repeat(width - cell.width());
            let between = if column > 0 { "  " } else { "" };
            let _ = if right[column] {
                write!(line, "{between}{blank}{cell}")
            } else {
                write!(line, "{between}{cell}{blank}")
            };
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// Rows of one length as text that is at most `width` columns wide: where it would be wider, the columns after the first
/// `left` go on in a further table below, which repeats those.
pub fn folded(rows: &[Vec<String>], left: usize, width: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            rows.iter()
                .map(|row| escape::visible(&row[at]).width())
                .max()
                .unwrap_or(0)
                + 2
        })
        .collect();
    let repeated: usize = widths.iter().take(left).sum();
    let mut parts: Vec<Vec<usize>> = vec![Vec::new()];
    // The last column has no blanks behind it.
    let mut used = repeated;
    for (at, &wide) in widths.iter().enumerate().skip(left) {
        let is_full = used + wide > width + 2;
        match parts.last_mut() {
            Some(part) if part.is_empty() || !is_full => part.push(at),
            _ => {
                parts.push(vec![at]);
                used = repeated;
            }
        }
        used += wide;
    }
    let part = |columns: &Vec<usize>| {
        let of = |row: &Vec<String>| {
            let all = (0..left).chain(columns.iter().copied());
            all.map(|at| row[at].clone()).collect()
        };
        aligned(&rows.iter().map(of).collect::<Vec<_>>(), left)
    };
    parts.iter().map(part).collect::<Vec<_>>().join("\n")
}

/// Columns of the terminal that results go to: what `COLUMNS` says, else what the terminal says, else 80; none where they go to a
/// file or a program, which is to find each row on one line.
pub fn columns() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let said = std::env::var("COLUMNS").ok();
    let said = said.and_then(|said| said.parse().ok());
    let said = said.filter(|&columns: &usize| columns > 0);
    let own =
        || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    Some(said.or_else(own).unwrap_or(80))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_shown() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let table = [
            row("", "n"),
            row("\u{1b}[31mred", "1"),
            row("猫", "10"),
            row("e\u{301}t\n", "5"),
        ];
        assert_eq!(
            aligned(&table, 1),
            "           n\n\
             ␛[31mred   1\n\
             猫        10\n\
             e\u{301}t␊        5\n"
        );
        assert_eq!(aligned(&[], 1), "");
    }

    #[test]
    fn wide_tables_go_on_below_and_lose_nothing() {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let table = [
            row(["run", "overall", "few", "ECE"]),
            row(["a", "50.0", "1.0", "9.5"]),
        ];
        assert_eq!(folded(&table, 1, 80), aligned(&table, 1));
        // 3 + 2 + 7 + 2 + 3 columns hold two figures, not three.
        assert_eq!(
            folded(&table, 1, 17),
            "run  overall  few\na       50.0  1.0\n\nrun  ECE\na    9.5\n"
        );
        for width in 1..30 {
            let all = folded(&table, 1, width);
            assert!(
                ["50.0", "1.0", "9.5"].iter().all(|cell| all.contains(cell)),
                "{width}"
            );
            assert!(
                width < 12 || all.lines().all(|line| line.len() <= width),
                "{width}: {all}"
            );
        }
        assert_eq!(folded(&[], 1, 80), "");
    }
}
