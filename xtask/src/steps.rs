//! Named steps: announced, timed, stopped at the first that fails. Writes to stderr only.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The steps done so far and how long each took.
#[derive(Debug, Default)]
pub struct Steps {
    done: Vec<(String, Duration)>,
}

impl Steps {
    /// Announces and runs `step`; its error is given the step's name.
    pub fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("==> {name}");
        let start = Instant::now();
        let value = step().with_context(|| format!("step `{name}` failed"))?;
        self.done.push((name.to_owned(), start.elapsed()));
        Ok(value)
    }

    /// Runs a command as a step of its own.
    pub fn command(&mut self, name: &str, command: &mut Command) -> Result<()> {
        self.run(name, || succeed(command))
    }

    /// One line with the time of every step.
    pub fn print_times(&self) {
        eprintln!("{}", self.times());
    }

    fn times(&self) -> String {
        let total: Duration = self.done.iter().map(|(_, time)| *time).sum();
        let each: Vec<String> = self
            .done
            .iter()
            .map(|(name, time)| format!("{name} {:.1} s", time.as_secs_f64()))
            .collect();
        format!("{}; in all {:.1} s", each.join(", "), total.as_secs_f64())
    }
}

/// Runs `command` with the terminal as its own; an exit code other than 0 is an error.
pub fn succeed(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program());
    let program = program
        .file_name()
        .unwrap_or_default()
        .display()
        .to_string();
    let status = command
        .status()
        .with_context(|| format!("{program}: cannot be started"))?;
    if !status.success() {
        bail!("{program}: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_named_and_not_counted() {
        let mut steps = Steps::default();
        steps.run("first", || Ok(())).unwrap();
        let error = steps.run("second", || -> Result<()> { bail!("no luck") });
        let message = format!("{:#}", error.unwrap_err());
        assert_eq!(message, "step `second` failed: no luck");
        assert!(steps.times().starts_with("first 0.0 s; in all"));
    }

    #[test]
    fn an_exit_code_is_an_error() {
        assert!(succeed(&mut Command::new("true")).is_ok());
        assert!(succeed(&mut Command::new("false")).is_err());
        let missing = succeed(&mut Command::new("no-such-program-here"));
        let message = format!("{:#}", missing.unwrap_err());
        assert!(message.starts_with("no-such-program-here: cannot be started"));
    }
}
