//! What a figure is worth nothing without: which machine, when, which commit, how busy.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::checkout::Checkout;

/// The machine and the checkout, as JSON; also said on stderr.
pub fn describe(checkout: &Checkout, profile: &str) -> Result<Value> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load
        .split(' ')
        .next()
        .and_then(|one| one.parse::<f64>().ok());
    let cores = std::thread::available_parallelism()?.get();
    let cpu = cpu_model(&cpuinfo);
    let date = said(checkout.command("date").args(["-u", "+%F"]))?;
    let commit = said(
        checkout
            .command("git")
            .args(["describe", "--always", "--dirty"]),
    )?;
    eprintln!("{cpu}, {cores} cores, {date}, commit {commit}, profile {profile}");
    if let Some(load) = load.filter(|&load| load > 0.5) {
        eprintln!(
            "warning: the machine is busy (load {load}); compare images per CPU-second, not images/s"
        );
    }
    Ok(json!({
        "cpu": cpu,
        "cores": cores,
        "date": date,
        "commit": commit,
        "profile": profile,
        "load_before": load,
    }))
}

fn cpu_model(cpuinfo: &str) -> &str {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(':'));
    model.map_or("unknown CPU", |(_, model)| model.trim())
}

fn said(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().context(program)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_read_where_the_system_tells_it() {
        let text = "processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nprocessor\t: 1\n";
        assert_eq!(cpu_model(text), "A CPU @ 2 GHz");
        assert_eq!(cpu_model(""), "unknown CPU");
    }
}
