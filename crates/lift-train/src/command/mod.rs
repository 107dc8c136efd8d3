//! The commands of `lift-train`: a function each, from settings to files and a table.
//!
//! [`training`] trains, [`evaluation`] judges; here is what both check and how reports are printed.

mod bench;
mod check_device;
mod consistency;
mod evaluation;
mod head_file;
mod init;
mod inputs;
mod parity;
mod report;
mod stage;
mod training;

use std::path::{Path, PathBuf};

use lift_clip::{
    DeviceChoice, Head, VisionTower, device_name,
    memory::{self, MemorySize},
    runtime,
};
use lift_data::{manifest::Manifest, terminal};
use tch::{Device, Tensor};

pub use bench::{BenchReport, BenchSettings, Form, Length, Speed, bench, print_bench};
pub use check_device::{CheckReport, check_device};
pub use consistency::{ConsistencySettings, IMAGES_PER_CLASS, consistency, print_consistency};
pub use evaluation::{EvalSettings, eval, zero_shot};
pub use head_file::HeadFile;
pub use init::{InitSettings, init};
pub use parity::parity;
pub use report::{ReportSettings, report};
pub use stage::{Stage, StageReport, StageSettings, print_stage, stage};
pub use training::{change_at_once, dry_run, resume, train, train_until};

use crate::{
    classifier::ClassifierKind,
    error::{Error, Result},
    eval::{Evaluation, Look, Tte},
    level::Groups,
    model::classifier_width,
    report::{Columns, Report, class_table, table},
};

/// The device as typed, whose memory is limited where that is asked for, and so many threads of libtorch (0: as it is).
///
/// # Errors
/// When it is none of auto, cpu and cuda:N, or is not there.
pub fn device(typed: &str, limit: Option<MemorySize>, threads: usize) -> Result<Device> {
    runtime::compute_with(threads);
    let choice: DeviceChoice = typed.parse().map_err(Error::Usage)?;
    let device = choice.resolve_with_note()?;
    memory::limit(device, limit)?;
    Ok(device)
}

/// The reports of runs in one table.
///
/// # Errors
/// When a run has no report.
pub fn compare(runs: &[PathBuf]) -> Result<Vec<Report>> {
    runs.iter().map(|run| Report::read(run)).collect()
}

/// How reports are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// An aligned table.
    Table(Columns),
    /// That, and a table of the classes for each report.
    TableAndClasses(Columns),
    /// One JSON document.
    Json,
}

/// Prints reports on standard output.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(reports: &[Report], output: Output) -> Result<()> {
    match (output, reports) {
        (Output::Table(columns), reports) => print_text(&table(reports, columns)),
        (Output::TableAndClasses(columns), reports) => {
            let classes = reports.iter().map(|report| match reports {
                [_] => format!("\n{}", class_table(report)),
                _ => format!("\n{}\n{}", report.name, class_table(report)),
            });
            print_text(&(table(reports, columns) + &classes.collect::<String>()))
        }
        (Output::Json, [report]) => print_json(report),
        (Output::Json, reports) => print_json(&reports),
    }
}

/// Prints the report of a run, and says where it lies.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_run(report: Report, run: &Path) -> Result<()> {
    print(&[report], Output::Table(Columns::Accuracies))?;
    terminal::say(format_args!(
        "report: {}",
        run.join("report.json").display()
    ));
    Ok(())
}

/// Writes to standard output.
///
/// # Errors
/// When it cannot be written.
pub fn print_text(text: &str) -> Result<()> {
    terminal::print(text).map_err(Error::io("standard output"))
}

/// As [`print_text`], one JSON document.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    terminal::print_json(value).map_err(Error::io("standard output"))
}

/// The image tower for crops of `resolution` pixels, or of those it was trained on; a text tower's memory is given back.
fn load_tower(model: &Path, resolution: Option<u32>) -> Result<VisionTower> {
    let mut tower = VisionTower::open(model)?;
    set_resolution(&mut tower, model, resolution)?;
    Ok(tower)
}

fn set_resolution(tower: &mut VisionTower, model: &Path, resolution: Option<u32>) -> Result<()> {
    let asked = resolution.map_or(Ok(()), |resolution| tower.set_resolution(resolution));
    asked.map_err(|e| match e {
        lift_clip::Error::Resolution { .. } => Error::Usage(format!("{}: {e}", model.display())),
        other => other.into(),
    })
}

/// A report without what only training knows.
fn report_of(
    name: &Path,
    manifest: &Manifest,
    model: &Path,
    settings: &EvalSettings,
    evaluations: Vec<Evaluation>,
    groups: Option<&Groups>,
) -> Report {
    let class_names = groups.map_or(&manifest.class_names, Groups::names);
    Report {
        format: "lift-report/1".into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        name: name
            .file_name()
            .unwrap_or(name.as_os_str())
            .to_string_lossy()
            .into_owned(),
        dataset: manifest.dataset.clone(),
        num_classes: class_names.len(),
        class_hash: class_names.hash(),
        class_names: class_names.as_slice().to_vec(),
        train_counts: None,
        bands: None,
        model: model.display().to_string(),
        template: String::new(),
        precision: settings.precision,
        device: device_name(settings.device),
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

/// The class texts (K, e) of a classifier file, as wide as the model's joint space.
fn class_texts<'a>(
    path: &Path,
    head: &'a Head,
    visual: &VisionTower,
    model: &Path,
) -> Result<&'a Tensor> {
    let Some(texts) = &head.text_embeds else {
        let reason = "has no text embeddings, which class texts are\nhint: make it with `lift-text classifier`";
        return Err(Error::BadRun {
            path: path.into(),
            reason: reason.into(),
        });
    };
    let width = classifier_width(ClassifierKind::Text, visual).map_err(|e| Error::BadRun {
        path: model.into(),
        reason: e.to_string(),
    })?;
    check_width(path, "text_embeds", texts, width, model)?;
    Ok(texts)
}

fn warn_of_expand(look: Look, tower: &VisionTower) {
    let (expand, patch) = (look.expand, tower.config().patch_size);
    if matches!(look.tte, Tte::FiveCrop | Tte::TenCrop) && i64::from(expand) % patch == 0 {
        terminal::say(format_args!(
            "warning: --expand {expand} is a multiple of the patch size {patch}: the corner crops repeat the patch grid, \
             and ensembling gains less (LIFT, section 4.4)"
        ));
    }
}
