//! The commands of `lift-train`: a function each, from settings to files and a table.
//!
//! [`training`] trains, [`evaluation`] judges; here is what both check and how reports are printed.

mod adjust;
mod advise;
mod bench;
mod check_device;
mod choosing;
mod consistency;
mod evaluation;
mod export;
mod head_file;
mod import;
mod init;
mod inputs;
mod parity;
mod predict;
mod report;
mod soup;
mod stage;
mod sweep;
mod training;

use std::path::{Path, PathBuf};

use lift_models::{
    DeviceChoice, Head, VisionTower, device_name,
    memory::{self, MemorySize},
    runtime,
};
use lift_page::{number::counted, terminal};
use lift_shards::{manifest::Manifest, outputs};
use tch::{Device, Tensor};

pub use adjust::{AdjustSettings, Found, Prior, adjust, reset_adjustment};
pub use advise::advise;
pub use bench::{BenchReport, BenchSettings, Form, Length, Speed, bench, print_bench};
pub use check_device::{CheckReport, check_device};
pub use consistency::{ConsistencySettings, IMAGES_PER_CLASS, consistency, print_consistency};
pub use evaluation::{EvalSettings, eval, zero_shot};
pub use export::{ExportSettings, export_folder, export_merged, export_onnx, export_peft};
pub use head_file::HeadFile;
pub use import::{ImportSettings, import};
pub use init::{InitSettings, init};
pub use parity::parity;
pub use predict::{Asked, PredictSettings, predict};
pub use report::{ReportSettings, report};
pub use soup::{SoupSettings, Weighing, soup};
pub use stage::{Stage, StageReport, StageSettings, print_stage, stage};
pub use sweep::sweep;
pub use training::{change, dry_run, go_back, resume, train, train_until};

use crate::{
    classifier::ClassifierKind,
    error::{Error, Result},
    eval::{EvalView, Evaluation, Tte},
    level::Groups,
    model::classifier_width,
    report::{Columns, Report, class_table, table},
    run,
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

/// The reports of runs, for one table. What has no report is left out, and that is said.
///
/// # Errors
/// When nothing is left, a path is not there, a report is none, or runs are of other classes than the first.
pub fn compare(runs: &[PathBuf]) -> Result<Vec<Report>> {
    let (mut reports, mut left_out): (Vec<(&Path, Report)>, _) = (Vec::new(), None);
    for run in runs {
        if let Some(reason) = run::without_report(run) {
            terminal::say(format_args!("note: {}: {reason}; left out", run.display()));
            left_out = left_out.or(Some((run, reason)));
            continue;
        }
        let report = Report::read(run)?;
        if let Some((first, wanted)) = reports.first()
            && report.class_hash != wanted.class_hash
        {
            let difference = difference(&report.class_names, &wanted.class_names);
            return Err(Error::BadRun {
                path: run.clone(),
                reason: format!(
                    "its classes are not those of {}: {difference}\nhint: compare runs on the same classes, judged at the same --level",
                    first.display()
                ),
            });
        }
        reports.push((run, report));
    }
    match left_out {
        Some((run, reason)) if reports.is_empty() => Err(Error::BadRun {
            path: run.join("report.json"),
            reason: format!(
                "there is none: {reason}\nhint: name the folder of a run that has ended"
            ),
        }),
        _ => Ok(reports.into_iter().map(|(_, report)| report).collect()),
    }
}

/// Looks whether these (flag, file) can be written, before the work that makes them.
///
/// # Errors
/// When one cannot, or two are the same file.
pub fn prepare_outputs(files: &[(&str, &Path)]) -> Result<()> {
    if let Some(reason) = outputs::same_file(files) {
        return Err(Error::Usage(reason));
    }
    Ok(outputs::prepare(files.iter().map(|(_, path)| *path))?)
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

/// Prints the report of what was done, and also that of work whose files could not be written, which is then the error.
///
/// # Errors
/// That of the work, or when standard output cannot be written.
pub fn print_done(done: Result<Report>, output: Output) -> Result<()> {
    match done {
        Err(Error::Unwritten { report, source }) => {
            let report = serde_json::from_value(*report).expect("it was a report");
            print(&[report], output)?;
            Err(*source)
        }
        done => print(&[done?], output),
    }
}

/// As [`print_done`] the report of a run; says where it lies.
///
/// # Errors
/// As [`print_done`].
pub fn print_run(done: Result<Report>, run: &Path) -> Result<()> {
    print_done(done, Output::Table(Columns::Accuracies))?;
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
        lift_models::Error::Resolution { .. } => Error::Usage(format!("{}: {e}", model.display())),
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
        selection: None,
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
    Err(Error::ClassesDiffer {
        path: path.into(),
        other: shards.into(),
        difference: difference(names, manifest.class_names.as_slice()),
    })
}

/// The first class that differs in two lists.
fn difference(names: &[String], theirs: &[String]) -> String {
    let (ours, there) = (names.len(), theirs.len());
    let differing = names.iter().zip(theirs).position(|(a, b)| a != b);
    match differing.unwrap_or(ours.min(there)) {
        label if label < ours.min(there) => format!(
            "label {label} is {:?}, there {:?}",
            names[label], theirs[label]
        ),
        label if label < ours => format!(
            "label {label} is {:?}, there are only {} there",
            names[label],
            counted(there as u64, "class")
        ),
        label if label < there => format!(
            "it has {}, there label {label} is {:?}",
            counted(ours as u64, "class"),
            theirs[label]
        ),
        _ => "their hashes differ, the names are the same".into(),
    }
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

/// How images are looked at for this tower. Pixels beyond the resolution that were given and gain nothing are worth a warning.
fn settled(look: EvalView, tower: &VisionTower) -> EvalView {
    let patch = tower.config().patch_size;
    if let (Tte::FiveCrop | Tte::TenCrop, Some(expand)) = (look.tte, look.expand)
        && i64::from(expand) % patch == 0
    {
        terminal::say(format_args!(
            "warning: --expand {expand} is a multiple of the patch size {patch}: the corner crops repeat the patch grid, \
             and ensembling gains less (LIFT, section 4.4)"
        ));
    }
    look.at(tower.config())
}
