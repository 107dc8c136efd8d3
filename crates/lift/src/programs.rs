//! The programs that do the work, started one after the other.
//!
//! What they print goes to standard error, so that standard output has the result alone. Invariant: what was started is told, in the
//! order in which it ran, in words that a shell takes.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use lift_page::terminal;

/// A program ended with this exit code, and has said why.
#[derive(Debug)]
pub(crate) struct Failed(pub u8);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::error::Error for Failed {}

/// The commands that ran.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    pub ran: Vec<String>,
}

impl Programs {
    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it is missing, or fails.
    pub fn run(&mut self, name: &str, args: &[&OsStr]) -> Result<()> {
        let mut command = command(name);
        command.args(args).stdout(Stdio::from(io::stderr()));
        self.tell(name, args);
        let status = command.status().with_context(|| missing(name))?;
        ended(status.code())
    }

    /// As [`Programs::run`]; what it prints on standard output.
    ///
    /// # Errors
    /// As [`Programs::run`].
    pub fn ask(&mut self, name: &str, args: &[&OsStr]) -> Result<Vec<u8>> {
        self.tell(name, args);
        printed_by(name, args)
    }

    fn tell(&mut self, name: &str, args: &[&OsStr]) {
        let words = args.iter().map(|word| quoted(&word.to_string_lossy()));
        let line: Vec<String> = [name.to_owned()].into_iter().chain(words).collect();
        let line = line.join(" ");
        terminal::say(format_args!("$ {line}"));
        self.ran.push(line);
    }
}

/// What a program prints on standard output; it is not told.
///
/// # Errors
/// As [`Programs::run`].
pub(crate) fn printed_by(name: &str, args: &[&OsStr]) -> Result<Vec<u8>> {
    let mut command = command(name);
    command.args(args).stderr(Stdio::inherit());
    let output = command.output().with_context(|| missing(name))?;
    ended(output.status.code())?;
    Ok(output.stdout)
}

fn ended(code: Option<i32>) -> Result<()> {
    match code {
        Some(0) => Ok(()),
        // Ended by a signal.
        None => Err(Failed(1).into()),
        Some(code) => Err(Failed(u8::try_from(code).unwrap_or(1)).into()),
    }
}

fn missing(name: &str) -> String {
    format!(
        "{name} cannot be started\nhint: it comes with `pip install lift-data lift-longtail`, or stands beside this program in target/debug"
    )
}

/// The program that stands beside this one, else what PATH has.
fn command(name: &str) -> Command {
    let beside = std::env::current_exe().ok();
    let beside = beside.and_then(|this| Some(this.parent()?.join(name)));
    let program: PathBuf = beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| Path::new(name).to_owned());
    Command::new(program)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_from_a_shell() {
        for word in ["", "a b", "it's", "$HOME", "a;b", "--x=1", "ä", "*"] {
            let output = Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quoted(word)))
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn a_program_that_fails_ends_with_its_code() {
        let mut programs = Programs::default();
        let args = ["-c", "exit 2"].map(OsStr::new);
        let failed = programs.run("sh", &args).unwrap_err();
        assert_eq!(failed.downcast_ref::<Failed>().unwrap().0, 2);
        assert_eq!(programs.ran, ["sh -c 'exit 2'"]);
        let text = format!("{:#}", programs.run("lift-none", &[]).unwrap_err());
        assert!(
            text.starts_with("lift-none cannot be started\nhint: "),
            "{text}"
        );
    }
}
