//! Runs a program and says what it cost: time by the clock, and time on cores of the process and all that it waited for.
//!
//! Invariant: one program at a time, because the system adds up all children.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

/// One run of a program.
#[derive(Debug)]
pub struct Run {
    /// The JSON that it printed.
    pub output: Value,
    /// By the clock.
    pub seconds: f64,
    /// User and system time of its process tree.
    pub cpu_seconds: f64,
}

/// Runs `command`, which prints one JSON document, or a last line that is one. Its messages are shown when it fails.
pub fn run(command: &mut Command) -> Result<Run> {
    let program = command.get_program().to_string_lossy().into_owned();
    let (start, cpu) = (Instant::now(), children_cpu_seconds()?);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program}: cannot be started"))?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = children_cpu_seconds()? - cpu;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}: {}", output.status, last_lines(&messages));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let document = serde_json::from_str(&text)
        .or_else(|_| serde_json::from_str(text.lines().last().unwrap_or_default()));
    Ok(Run {
        output: document.with_context(|| format!("{program}: did not print JSON"))?,
        seconds,
        cpu_seconds,
    })
}

fn children_cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6);
    Ok(seconds.iter().sum())
}

/// The end of a program's messages: the error, not what led to it.
pub fn last_lines(messages: &str) -> String {
    let lines: Vec<&str> = messages.trim().lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_and_the_time_of_a_child_are_seen() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo noise; echo '{\"images\": 3}'"]);
        let run = run(&mut shell).unwrap();
        assert_eq!(run.output["images"], 3);
        assert!(run.seconds > 0.0 && run.cpu_seconds >= 0.0);
    }

    #[test]
    fn a_failure_shows_the_last_messages() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "for i in 1 2 3 4; do echo line $i >&2; done; exit 3"]);
        let message = run(&mut shell).unwrap_err().to_string();
        assert!(message.ends_with("line 2 / line 3 / line 4"), "{message}");
        assert!(run(&mut Command::new("true")).is_err(), "no JSON");
    }
}
