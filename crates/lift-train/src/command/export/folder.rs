//! `--format folder`: a run that has its model with it, and no path that leads out of its folder.
//!
//! It is a run's folder: what reads a run reads it, wherever it lies. Left behind are the shards, the predictions (which name
//! images), TensorBoard's events and the command that was typed. Invariant: every file is the run's or the model's to the last
//! byte, but for the settings and the report, in which paths are replaced.

use lift_models::files_of;
use lift_page::terminal;

use super::{
    beside,
    card::{self, Taken},
    source::{ExportSettings, Source},
    staging::Staging,
};
use crate::{
    adjustment,
    config::start::TUNED,
    error::{Error, Result},
    file_hash, place,
    provenance::Provenance,
    report::Report,
};

/// Files of a run that go along as they are, where there are any.
const AS_THEY_ARE: [&str; 5] = [
    TUNED,
    "head.safetensors",
    "metrics.jsonl",
    adjustment::FILE,
    adjustment::TEXTS,
];

/// Writes a run that can be taken to another machine.
///
/// # Errors
/// When the run is not finished, its model is not there or another, or the folder cannot be written.
pub fn export_folder(settings: &ExportSettings) -> Result<()> {
    let source = Source::open(settings)?;
    let (tower, normalisation) = source.tower(&source.model)?;
    let sizes = tower.config().clone();
    // Refused here rather than on the other machine.
    source.tuned_model(tower)?;
    let staging = Staging::begin(&settings.out)?;
    for (from, name) in files_of(&source.model)? {
        staging.copy(&from, &format!("{}/{name}", place::MODEL))?;
    }
    for name in AS_THEY_ARE {
        let from = source.run.join(name);
        if from.is_file() {
            staging.copy(&from, name)?;
        }
    }
    let config = place::portable(&source.config, copy_head(&source, &staging)?);
    let text = toml::to_string(&config)
        .map_err(|e| Error::Config(format!("the settings cannot be written: {e}")))?;
    staging.text("config.toml", &text)?;
    if let Some(provenance) = &source.provenance {
        let provenance = Provenance {
            command: Vec::new(),
            ..provenance.clone()
        };
        provenance.write(staging.folder())?;
    }
    let report = Report {
        model: source.base().full(),
        config: Some(config),
        ..source.report.clone()
    };
    beside::write_classes(&source, &staging)?;
    beside::write_preprocessing(&sizes, normalisation, &staging)?;
    report.write(staging.folder())?;
    card::write(&source, &sizes, normalisation, Taken::Folder, &staging)?;
    staging.publish()
}

/// Copies the classifier file that training started from; not needed to use what was tuned, so that one which is gone or has
/// changed is left out, and that is said.
fn copy_head(source: &Source, staging: &Staging) -> Result<bool> {
    let Some(head) = &source.config.head else {
        return Ok(false);
    };
    let wanted = source.provenance.as_ref();
    let wanted = wanted.and_then(|provenance| provenance.origins.head.as_ref());
    let is_same = match (head.is_file(), wanted) {
        (false, _) => false,
        (true, Some(wanted)) => &file_hash::of_file(head)? == wanted,
        (true, None) => true,
    };
    if is_same {
        staging.copy(head, place::HEAD)?;
    } else {
        terminal::say(format_args!(
            "note: {} is not there, or not what training started from; left out, and not needed to classify",
            head.display()
        ));
    }
    Ok(is_same)
}
