//! `lift-train parity`: how far a replayed reference run lies from its file, as a table.

use std::{fmt::Write, path::Path};

use lift_models::{Precision, hub};
use tch::Device;

use super::{Output, print_json, print_text};
use crate::{
    error::{Error, Result},
    parity::{Deviation, Parity, replay},
    tuner::Tuners,
};

/// Replays `run` on `model` and `inputs`, a step's images in so many `parts`, and prints the deviations; `tuner`, where given,
/// must be what the run's tensors belong to.
///
/// # Errors
/// When a file cannot be used, the tuner is another, or a deviation lies above its tolerance.
pub fn parity(
    model: &Path,
    inputs: &Path,
    run: &Path,
    tuner: Option<&Tuners>,
    place: (Device, Precision),
    parts: usize,
    output: Output,
) -> Result<()> {
    let parity = replay(&hub::fetch(model)?, inputs, run, place, parts)?;
    if let Some(tuner) = tuner {
        let asked: Vec<String> = tuner.choices().iter().map(|c| c.kind.to_string()).collect();
        if asked != parity.tuners {
            return Err(Error::BadRun {
                path: run.into(),
                reason: format!(
                    "its tensors are those of {}, not of {tuner}\nhint: without --tuner it is read off the tensors",
                    named(&parity)
                ),
            });
        }
    }
    match output {
        Output::Table(_) | Output::TableAndClasses(_) => print_text(&table(&parity))?,
        Output::Json => {
            let mut value = serde_json::json!(parity);
            value["within_tolerance"] = parity.is_within().into();
            print_json(&value)?;
        }
    }
    let above: Vec<&str> = parity.above().map(|d| d.what).collect();
    if above.is_empty() {
        Ok(())
    } else {
        Err(Error::AboveTolerance {
            run: run.into(),
            what: above.join(", "),
        })
    }
}

fn named(parity: &Parity) -> String {
    if parity.tuners.is_empty() {
        "none".into()
    } else {
        parity.tuners.join(",")
    }
}

fn table(parity: &Parity) -> String {
    let mut text = format!(
        "{}: tuner {}, {} classifier, loss {}, {} parameters, {} steps, {} on {}\n",
        parity.run,
        named(parity),
        parity.classifier,
        parity.loss,
        parity.tuned_parameters,
        parity.steps,
        parity.precision,
        parity.device
    );
    text += &rows("from the reference, fp32", &parity.deviations);
    if !parity.from_fp32.is_empty() {
        let from = format!("{} from fp32", parity.precision);
        text += &rows(&from, &parity.from_fp32);
    }
    text
}

fn rows(from: &str, deviations: &[Deviation]) -> String {
    let mut text = format!(
        "{from:<24}  {:>9}  {:<8}  {:>9}  {:<5}  at\n",
        "deviation", "", "tolerance", ""
    );
    for deviation in deviations {
        let Deviation {
            what,
            largest,
            place,
            relative,
            tolerance,
        } = deviation;
        let kind = if *relative { "relative" } else { "absolute" };
        let verdict = match (tolerance, deviation.is_within()) {
            (None, _) => "",
            (Some(_), true) => "ok",
            (Some(_), false) => "ABOVE",
        };
        let tolerance = tolerance.map_or("-".into(), |t| format!("{t:.0e}"));
        let line = format!(
            "{what:<24}  {largest:>9.1e}  {kind:<8}  {tolerance:>9}  {verdict:<5}  {place}"
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}
