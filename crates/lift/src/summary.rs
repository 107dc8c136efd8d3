//! What is said at the end: the lines that matter, and the commands that ran.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lift_page::{number::grouped, terminal};
use serde::Deserialize;

use crate::programs::Programs;

const PAGE: &str = "report.html";

#[derive(Deserialize)]
struct Report {
    dataset: String,
    num_classes: u64,
    train_counts: Vec<u64>,
    model: String,
    parameters: Parameters,
    evaluations: Vec<Evaluation>,
}

#[derive(Deserialize)]
struct Parameters {
    modules: u64,
    classifier: u64,
    frozen: u64,
}

#[derive(Deserialize)]
struct Evaluation {
    split: String,
    tte: String,
    metrics: Metrics,
}

#[derive(Deserialize)]
struct Metrics {
    images: u64,
    mean_class: f64,
    many: Option<f64>,
    medium: Option<f64>,
    few: Option<f64>,
}

/// Writes the run's page, where there is none yet.
pub(crate) fn report(run: &Path, programs: &mut Programs) -> Result<()> {
    let page = run.join(PAGE);
    if page.is_file() {
        return Ok(());
    }
    programs.run(
        "lift-train",
        &[
            "report".as_ref(),
            run.as_os_str(),
            "--html".as_ref(),
            page.as_os_str(),
        ],
    )
}

/// Prints the lines, or one JSON document.
pub(crate) fn print(run: &Path, programs: &Programs, json: bool) -> Result<()> {
    let path = run.join("report.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if json {
        let report: serde_json::Value = serde_json::from_str(&text)?;
        let all = serde_json::json!({"run": run, "page": run.join(PAGE), "commands": programs.ran, "report": report});
        return Ok(terminal::print_json(&all)?);
    }
    let report: Report = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(terminal::print(&lines(run, &report, &programs.ran))?)
}

fn lines(run: &Path, report: &Report, commands: &[String]) -> String {
    let mut text = String::new();
    let counts = &report.train_counts;
    let images: u64 = counts.iter().sum();
    let (most, least) = (counts.iter().max(), counts.iter().min());
    let _ = writeln!(
        text,
        "data      {}: {} training images, {} classes of {} to {}",
        report.dataset,
        grouped(images),
        report.num_classes,
        grouped(least.copied().unwrap_or(0)),
        grouped(most.copied().unwrap_or(0)),
    );
    let Parameters {
        modules,
        classifier,
        frozen,
    } = report.parameters;
    let share = 100.0 * modules as f64 / frozen.max(1) as f64;
    let _ = writeln!(
        text,
        "model     {}: {} parameters tuned ({share:.2} % of the tower), classifier {}",
        report.model,
        grouped(modules),
        grouped(classifier)
    );
    if let Some(last) = report.evaluations.last() {
        let percent = |value: Option<f64>| match value {
            Some(value) => format!("{:.1}", 100.0 * value),
            None => "-".into(),
        };
        let of = &last.metrics;
        let how = match last.tte.as_str() {
            "none" => "one crop",
            other => other,
        };
        let _ = writeln!(
            text,
            "accuracy  {} % mean class of {} {} images, {how}",
            percent(Some(of.mean_class)),
            grouped(of.images),
            last.split
        );
        let _ = writeln!(
            text,
            "bands     many {}, medium {}, few {}",
            percent(of.many),
            percent(of.medium),
            percent(of.few)
        );
    }
    let _ = writeln!(text, "run       {}", run.display());
    let _ = writeln!(text, "report    {}", run.join(PAGE).display());
    if !commands.is_empty() {
        let _ = writeln!(text, "\nby");
        commands.iter().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
    }
    text
}
