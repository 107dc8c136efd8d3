//! A run as one ONNX file, with what prepares images for it in the file's metadata.
//!
//! Nothing that is there is replaced.

use std::path::Path;

use lift_loader::View;
use lift_models::{Normalisation, hub};
use lift_page::terminal;

use super::ExportSettings;
use crate::{
    adjustment::Adjustment,
    command::{load_tower, prepare_outputs},
    error::{Error, Result},
    model::Parts,
    onnx::{self, MOST_INLINE},
    provenance::Provenance,
    run::{self, Tuned},
};

/// Writes the graph of a run; tensors above 1.5 GiB lie in a file beside it.
///
/// # Errors
/// When the run or its model cannot be used, or a file is there already or cannot be written.
pub fn export_onnx(settings: &ExportSettings) -> Result<()> {
    let ExportSettings { run, out, model } = settings;
    let config = run::read_config(run)?;
    if let Some(reason) = run::without_report(run) {
        return Err(Error::BadRun {
            path: run.clone(),
            reason,
        });
    }
    let mut tuned = Tuned::read(run)?;
    require_free(out)?;
    prepare_outputs(&[("out", out)])?;

    let model = hub::fetch(model.as_ref().unwrap_or(&config.model))?;
    let visual = load_tower(&model, config.resolution)?;
    let tensors = std::mem::take(&mut tuned.file.tensors);
    let parts = Parts::take(visual, tensors, config.classifier, config.scale);
    let parts = parts.map_err(|e| Error::BadRun {
        path: run.join("tuned.safetensors"),
        reason: format!("{e}\nhint: export with the model that the run was trained with"),
    })?;
    let classes = parts.classifier.weight.size()[0];
    if classes != tuned.class_names.len() as i64 {
        return Err(Error::BadRun {
            path: run.join("tuned.safetensors"),
            reason: format!(
                "its classifier has {classes} rows for {} class names",
                tuned.class_names.len()
            ),
        });
    }
    let normalisation = Normalisation::of_model(&model, parts.visual.usual_normalisation())?;
    let adjustment = Adjustment::of_run(run)?;
    let graph = onnx::graph(&parts, &normalisation, adjustment.as_ref());
    let resolution = parts.visual.config().resolution as u32;
    let mut metadata = metadata(run, &tuned, resolution, &normalisation)?;
    metadata.extend(adjustment.map(|adjustment| ("adjustment", adjustment.said())));
    let bytes = onnx::write(&graph, &metadata, out, MOST_INLINE)?;
    terminal::say(format_args!(
        "export: {}, {:.1} MB",
        out.display(),
        bytes as f64 / 1e6
    ));
    Ok(())
}

/// Refuses a model that is there, or the tensors of one.
fn require_free(out: &Path) -> Result<()> {
    let data = onnx::data_path(out);
    match [out, &data].into_iter().find(|path| path.is_file()) {
        None => Ok(()),
        Some(path) => Err(Error::BadRun {
            path: path.into(),
            reason:
                "exists, and an export replaces nothing\nhint: choose another --out, or remove it"
                    .into(),
        }),
    }
}

/// What a program needs to prepare images and to name what comes out, and where the model is from.
fn metadata(
    run: &Path,
    tuned: &Tuned,
    resolution: u32,
    normalisation: &Normalisation,
) -> Result<Vec<(&'static str, String)>> {
    let json = |value: serde_json::Value| value.to_string();
    let mut all = vec![
        ("format", "lift-onnx/1".to_owned()),
        ("lift_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("class_names", json(serde_json::json!(tuned.class_names))),
        ("class_hash", tuned.class_hash.clone()),
        ("template", tuned.template.clone()),
        ("resolution", resolution.to_string()),
        ("resize", View::Center.short_side(resolution).to_string()),
        ("interpolation", "bicubic".to_owned()),
        ("mean", json(serde_json::json!(normalisation.mean))),
        ("std", json(serde_json::json!(normalisation.std))),
    ];
    if let Some(provenance) = Provenance::read(run)? {
        all.push(("data_hash", provenance.origins.shards));
        all.push(("model_hash", provenance.origins.model));
    }
    Ok(all)
}
