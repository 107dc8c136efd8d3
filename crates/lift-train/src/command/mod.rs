//! The commands of `lift-train`: a function each, from settings to files and a table.
//!
//! [`training`] trains, [`evaluation`] judges; here is what both check and how reports are printed.

mod evaluation;
mod training;

use std::path::{Path, PathBuf};

use lift_clip::{Clip, VisionTower};
use lift_data::manifest::Manifest;
use tch::{Device, Tensor};

pub use evaluation::{EvalSettings, eval, zero_shot};
pub use training::{dry_run, train};

use crate::{
    error::{Error, Result},
    eval::{Evaluation, Tte},
    report::{Report, table},
};

/// The reports of runs in one table.
///
/// # Errors
/// When a run has no report.
pub fn compare(runs: &[PathBuf]) -> Result<Vec<Report>> {
    runs.iter().map(|run| Report::read(run)).collect()
}

/// Prints reports as a table, or as one JSON document.
pub fn print(reports: &[Report], json: bool) {
    match (json, reports) {
        (true, [report]) => println!(
            "{}",
            serde_json::to_string_pretty(report).expect("a report is plain data")
        ),
        (true, reports) => println!(
            "{}",
            serde_json::to_string_pretty(reports).expect("reports are plain data")
        ),
        (false, reports) => print!("{}", table(reports)),
    }
}

/// The image tower; the text tower's memory is given back.
fn load_tower(model: &Path) -> Result<VisionTower> {
    Ok(Clip::load(model)?.visual)
}

/// A report without what only training knows.
fn report_of(
    name: &Path,
    manifest: &Manifest,
    model: &Path,
    settings: &EvalSettings,
    evaluations: Vec<Evaluation>,
) -> Report {
    Report {
        format: "lift-report/1".into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        name: name
            .file_name()
            .unwrap_or(name.as_os_str())
            .to_string_lossy()
            .into_owned(),
        dataset: manifest.dataset.clone(),
        num_classes: manifest.num_classes(),
        class_hash: manifest.class_hash.clone(),
        model: model.display().to_string(),
        template: String::new(),
        precision: settings.precision,
        device: match settings.device {
            Device::Cuda(n) => format!("cuda:{n}"),
            _ => "cpu".into(),
        },
        parameters: None,
        training: None,
        config: None,
        evaluations,
    }
}

/// Refuses a class list that is not the shards', and names the first difference.
fn check_classes(
    path: &Path,
    names: &[String],
    hash: &str,
    shards: &Path,
    manifest: &Manifest,
) -> Result<()> {
    if hash == manifest.class_hash {
        return Ok(());
    }
    let theirs = manifest.class_names.as_slice();
    let differing = names.iter().zip(theirs).position(|(a, b)| a != b);
    let difference = match differing {
        Some(label) => format!(
            "label {label} is {:?}, there {:?}",
            names[label], theirs[label]
        ),
        None => format!("{} classes, there {}", names.len(), theirs.len()),
    };
    Err(Error::ClassesDiffer {
        path: path.into(),
        other: shards.into(),
        difference,
    })
}

fn check_width(head: &Path, name: &str, tensor: &Tensor, width: i64, model: &Path) -> Result<()> {
    let found = tensor.size()[1];
    if found == width {
        return Ok(());
    }
    let reason = format!(
        "{name} is {found} wide, the model {} needs {width}\nhint: make the head with the same model",
        model.display()
    );
    Err(Error::BadRun {
        path: head.into(),
        reason,
    })
}

fn warn_of_expand(tte: Tte, expand: u32, tower: &VisionTower) {
    let patch = tower.config().patch_size;
    if tte == Tte::FiveCrop && i64::from(expand) % patch == 0 {
        eprintln!(
            "warning: --expand {expand} is a multiple of the patch size {patch}: the corner crops repeat the patch grid, \
             and ensembling gains less (LIFT, section 4.4)"
        );
    }
}

fn report_note(note: Option<String>) {
    if let Some(note) = note {
        eprintln!("{note}");
    }
}
