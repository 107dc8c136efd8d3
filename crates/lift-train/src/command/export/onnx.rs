//! `--format onnx`: a run as one graph, with what prepares images for it in the file's metadata and the model card beside it.
//!
//! A folder as the other forms write it, or, where a file is named, that file and its card. Nothing that is there is replaced.

use std::path::Path;

use lift_loader::View;
use lift_models::{Normalisation, VisionConfig};
use lift_page::terminal;

use super::{
    beside,
    card::{self, Taken},
    source::{ExportSettings, Source},
    staging::{Staging, Written},
};
use crate::{
    adjustment::Adjustment,
    command::{evaluation::added_texts, prepare_outputs},
    error::{Error, Result},
    model::Parts,
    onnx::{self, MOST_INLINE, graph::Graph},
};

/// The graph in a folder.
const MODEL: &str = "model.onnx";

/// Writes the graph of a run; tensors above 1.5 GiB lie in a file beside it.
///
/// # Errors
/// When the run or its model cannot be used, or a file is there already or cannot be written.
pub fn export_onnx(settings: &ExportSettings) -> Result<()> {
    let out = &settings.out;
    if !is_graph(out) {
        let exported = Exported::open(settings)?;
        let staging = Staging::begin(out)?;
        let bytes = exported.write(&staging.folder().join(MODEL))?;
        let source = &exported.source;
        beside::write_classes(source, &staging)?;
        beside::write_preprocessing(&exported.tower, exported.normalisation, &staging)?;
        staging.text("README.md", &exported.card(MODEL, &staging.files()?))?;
        staging.publish()?;
        say(out, bytes);
        return Ok(());
    }
    let (data, card) = (onnx::data_path(out), out.with_extension("md"));
    for path in [out, &data, &card] {
        require_free(path)?;
    }
    prepare_outputs(&[("out", out), ("card", &card)])?;
    let exported = Exported::open(settings)?;
    let bytes = exported.write(out)?;
    let files = [out, &data].into_iter().filter(|path| path.is_file());
    let files: Vec<Written> = files.map(|path| Written::of(path)).collect::<Result<_>>()?;
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let text = exported.card(&name, &files);
    lift_files::write(&card, &[text.as_bytes()]).map_err(Error::io(&card))?;
    say(out, bytes);
    Ok(())
}

/// Whether a file is asked for, and not a folder.
fn is_graph(out: &Path) -> bool {
    let extension = out.extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

/// Refuses to replace a file; what else stands in the way is refused where it is written.
fn require_free(path: &Path) -> Result<()> {
    if !path.is_file() {
        return Ok(());
    }
    Err(Error::BadRun {
        path: path.into(),
        reason: "exists, and an export replaces nothing\nhint: choose another --out, or remove it"
            .into(),
    })
}

fn say(out: &Path, bytes: usize) {
    terminal::say(format_args!(
        "export: {}, {:.1} MB",
        out.display(),
        bytes as f64 / 1e6
    ));
}

/// A run as a graph, before it is written.
struct Exported {
    source: Source,
    tower: VisionConfig,
    normalisation: Normalisation,
    graph: Graph,
    metadata: Vec<(&'static str, String)>,
}

impl Exported {
    fn open(settings: &ExportSettings) -> Result<Self> {
        let mut source = Source::open(settings)?;
        let (tower, normalisation) = source.tower(&source.model)?;
        let sizes = tower.config().clone();
        let tensors = std::mem::take(&mut source.tuned.file.tensors);
        let config = &source.config;
        let parts = Parts::take(tower, tensors, config.classifier, config.scale());
        let parts = parts.map_err(|e| source.does_not_fit(&e))?;
        let (classes, names) = (
            parts.classifier.weight.size()[0],
            source.tuned.class_names.len(),
        );
        if classes != names as i64 {
            let reason = format!("its classifier has {classes} rows for {names} class names");
            return Err(source.bad_tuned(reason));
        }
        let adjustment = Adjustment::of_run(&source.run)?;
        let run = &source.run;
        let texts = added_texts(run, adjustment.as_ref(), &parts.visual, &source.model)?;
        let graph = onnx::graph(&parts, texts.as_ref(), &normalisation, adjustment.as_ref());
        let mut metadata = metadata(&source, sizes.resolution as u32, &normalisation);
        metadata.extend(adjustment.map(|adjustment| ("adjustment", adjustment.said())));
        Ok(Self {
            source,
            tower: sizes,
            normalisation,
            graph,
            metadata,
        })
    }

    fn write(&self, path: &Path) -> Result<usize> {
        onnx::write(&self.graph, &self.metadata, path, MOST_INLINE)
    }

    fn card(&self, name: &str, files: &[Written]) -> String {
        let taken = Taken::Onnx(name.to_owned());
        card::text(&self.source, &self.tower, self.normalisation, taken, files)
    }
}

/// What a program needs to prepare images and to name what comes out, and where the model is from.
fn metadata(
    source: &Source,
    resolution: u32,
    normalisation: &Normalisation,
) -> Vec<(&'static str, String)> {
    let json = |value: serde_json::Value| value.to_string();
    let tuned = &source.tuned;
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
    if let Some(provenance) = &source.provenance {
        all.push(("data_hash", provenance.origins.shards.clone()));
        all.push(("model_hash", provenance.origins.model.clone()));
    }
    all
}
