//! `cargo xtask bench --step`: a step of training and an evaluation's forward pass on this CPU, beside the same in plain PyTorch.
//!
//! The tower has random weights, AdaptFormer in each block and a cosine classifier of 1,000 classes, all in fp32; ours once more in
//! bf16. PyTorch's side is
//! `xtask/gpu/baseline.py`. Invariant: the contenders take turns, with the threads that libtorch takes by itself.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::report::median;
use super::stage::number;
use super::{Bench, measure, peers};
use crate::steps::succeed;

/// Of xtask/gpu/make_model.py: its word and what it stands for.
const MODELS: [(&str, &str); 2] = [("s16", "ViT-S/16"), ("b16", "ViT-B/16")];
const STAGES: [&str; 2] = ["step", "evaluation"];
/// Small, as on a laptop.
const BATCH: &str = "8";

/// Images per second of the contenders in a stage, round by round.
struct Line {
    model: &'static str,
    stage: &'static str,
    lift: Vec<f64>,
    /// With weights and products in bf16, where the CPU has instructions for it.
    bf16: Vec<f64>,
    pytorch: Vec<f64>,
}

/// Measures, prints a table, and returns the result for programs.
pub fn run(bench: &Bench, rounds: usize) -> Result<Value> {
    let python = peers::with_torch(bench)?;
    let models = bench.folder.join("models");
    std::fs::create_dir_all(&models).with_context(|| models.display().to_string())?;
    #[cfg(target_arch = "x86_64")]
    let has_bf16 = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let has_bf16 = false;
    let mut lines = Vec::new();
    for (size, model) in MODELS {
        let path = models.join(format!("{size}.safetensors"));
        let mut make = bench.checkout.command(&python);
        make.args(["xtask/gpu/make_model.py", "--size", size, "--out"]);
        succeed(make.arg(&path))?;
        for stage in STAGES {
            let mut line = Line {
                model,
                stage,
                lift: Vec::new(),
                bf16: Vec::new(),
                pytorch: Vec::new(),
            };
            for _ in 0..rounds {
                line.lift
                    .push(rate(&mut lift(bench, &path, stage, "fp32"))?);
                if has_bf16 {
                    let rate = rate(&mut lift(bench, &path, stage, "bf16"))?;
                    line.bf16.push(rate);
                }
                line.pytorch
                    .push(rate(&mut pytorch(bench, &python, &path, stage))?);
            }
            eprint!("{}", table(std::slice::from_ref(&line)));
            lines.push(line);
        }
    }
    print!("{}", table(&lines));
    Ok(lines.iter().map(Line::document).collect())
}

fn lift(bench: &Bench, model: &Path, stage: &str, precision: &str) -> Command {
    let mut command = Command::new(bench.programs.join("lift-train"));
    command.args([
        "bench",
        "--json",
        "--device",
        "cpu",
        "--precision",
        precision,
    ]);
    command.args(["--stage", stage, "--batch-size", BATCH]);
    command.args(["--seconds", bench.seconds, "--model"]);
    command.arg(model);
    command
}

fn pytorch(bench: &Bench, python: &Path, model: &Path, stage: &str) -> Command {
    let mut command = bench.checkout.command(python);
    command.args(["xtask/gpu/baseline.py", "--device", "cpu"]);
    command.args(["--stage", stage, "--batch-size", BATCH, "--warm-up", "3"]);
    command.args(["--seconds", bench.seconds, "--model"]);
    command.arg(model);
    command
}

fn rate(command: &mut Command) -> Result<f64> {
    number(&measure::run(command)?.output, "images_per_second")
}

/// The median of one contender's rounds over another's that followed them.
fn ratio(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    median(ours.iter().zip(theirs).map(|(a, b)| a / b).collect())
}

impl Line {
    fn document(&self) -> Value {
        json!({
            "model": self.model,
            "stage": self.stage,
            "rounds": self.pytorch.len(),
            "batch_size": BATCH.parse::<usize>().unwrap_or_default(),
            "lift_images_per_second": median(self.lift.clone()),
            "lift_bf16_images_per_second": median(self.bf16.clone()),
            "pytorch_images_per_second": median(self.pytorch.clone()),
            "lift_over_pytorch": ratio(&self.lift, &self.pytorch),
        })
    }
}

fn table(lines: &[Line]) -> String {
    let columns = ["lift", "PyTorch", "lift is", "lift, bf16"];
    let mut out = format!("{:<9} {:<10}", "model", "images/s");
    for column in columns {
        out += &format!("  {column:>12}");
    }
    let cell = |value: Option<f64>, unit: &str| {
        let text = value.map_or("-".to_owned(), |value| format!("{value:.2}{unit}"));
        format!("  {text:>12}")
    };
    for line in lines {
        out += &format!("\n{:<9} {:<10}", line.model, line.stage);
        for rates in [&line.lift, &line.pytorch] {
            out += &cell(median(rates.clone()), "");
        }
        out += &cell(ratio(&line.lift, &line.pytorch), "x");
        out += &cell(median(line.bf16.clone()), "");
    }
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_medians_and_ratios_of_rounds_that_followed_each_other() {
        let line = Line {
            model: "ViT-S/16",
            stage: "step",
            lift: vec![12.0, 6.0, 9.0],
            bf16: Vec::new(),
            pytorch: vec![8.0, 2.0, 9.0],
        };
        let document = line.document();
        assert_eq!(document["lift_images_per_second"], 9.0);
        assert_eq!(document["pytorch_images_per_second"], 8.0);
        // 1.5, 3 and 1.
        assert_eq!(document["lift_over_pytorch"], 1.5);
        let text = table(&[line]);
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(widths, [76, 76], "{text}");
        assert!(text.ends_with(" 1.50x             -\n"), "{text}");
    }
}
