//! `lift-train import`: a checkpoint of the authors' programs becomes a run that is judged here.
//!
//! A checkpoint holds tensors and nothing else: class names and training counts come from the shards, and how it was trained is
//! not known, so that the run's settings have no epochs. Invariant: the run is read back by [`super::evaluation::eval`], as any
//! other, before it has its report.

use std::{collections::BTreeMap, path::PathBuf};

use lift_models::{hub, torch_dictionaries};
use lift_page::{number::counted, terminal};
use lift_shards::{layout::split_dir, manifest::Manifest, split::Split};
use tch::{Device, Kind, Tensor};

use super::{
    evaluation::{EvalSettings, eval},
    load_tower,
};
use crate::{
    authors,
    classifier::ClassifierKind,
    config::{Start, TrainArgs, TrainConfig},
    error::{Error, Result},
    eval::Tte,
    fingerprint::Origins,
    head_init::HeadInit,
    model::TunedModel,
    preset::Preset,
    provenance::Provenance,
    report::Report,
    run::{self, Tuned},
    tuner::{Choice, Layers, LoraTarget, TunerKind},
};

/// What becomes a run, and of what.
#[derive(Clone, Debug)]
pub struct ImportSettings {
    /// The authors' `checkpoint.pth.tar`.
    pub checkpoint: PathBuf,
    /// The settings as far as they are typed: shards, model, out, classifier, scale, resolution and where to compute.
    pub typed: TrainArgs,
    /// Where to judge it.
    pub device: Device,
    /// The command as typed.
    pub command: Vec<String>,
}

/// Makes a run of a checkpoint and judges it on the test shards.
///
/// # Errors
/// When the checkpoint cannot be read, holds what has no place here, does not fit the model or the shards, or the folder is not
/// free.
pub fn import(settings: &ImportSettings) -> Result<Report> {
    let path = &settings.checkpoint;
    let bad = |reason: String| Error::BadRun {
        path: path.clone(),
        reason,
    };
    let named = torch_dictionaries(path, &authors::DICTIONARIES)?;
    let is_lift = named.keys().any(|name| name.starts_with("head."));
    let mut config = resolved(settings, is_lift)?;
    run::require_empty(&config.out)?;
    let manifest = Manifest::load(&split_dir(&config.shards, Split::Train)?)?;
    split_dir(&config.shards, Split::Test)?;
    config.model = hub::fetch(&config.model)?;

    let tower = load_tower(&config.model, config.resolution)?;
    let tensors = authors::to_our_names(named, &tower).map_err(|e| bad(e.to_string()))?;
    let weight = tensors.get("classifier.weight").ok_or_else(|| {
        bad("it has no classifier\nhint: runs that compare with class texts are not read".into())
    })?;
    let rows = weight.size().first().copied().unwrap_or(0);
    let classes = manifest.class_names.len();
    if rows != classes as i64 {
        return Err(bad(format!(
            "its classifier has {}, the shards {} have {}\nhint: give shards of the dataset that it was trained on",
            counted(rows as u64, "class"),
            config.shards.display(),
            counted(classes as u64, "class")
        )));
    }
    if settings.typed.classifier.is_none() && tensors.contains_key("classifier.bias") {
        config.classifier = ClassifierKind::Linear;
    }
    describe(&mut config, &tensors, tower.resblocks.len());
    let origins = Origins::of(&config, &tower, None)?;
    let model = tuned(&config, tower, &tensors)
        .map_err(|e| bad(format!("{e}\nhint: give the model that it was trained on")))?;
    set_tuner(&mut config, &model, &tensors)?;

    let manifest_names = manifest.class_names.as_slice().to_vec();
    run::create(&config)?;
    Provenance::new(&settings.command, &origins).write(&config.out)?;
    let mut written = Tuned {
        file: lift_models::TensorFile::default(),
        class_counts: manifest.class_counts.clone(),
        class_names: manifest_names,
        class_hash: manifest.class_hash.clone(),
        template: "not known (imported)".into(),
    };
    let state = model.state().into_iter();
    written.file.tensors = state
        .map(|(name, tensor)| (name, tensor.detach()))
        .collect();
    written.write(&config.out)?;
    drop(model);
    terminal::say(format_args!(
        "classes are those of {} in label order; a checkpoint holds none to compare them with",
        config.shards.display()
    ));
    let judged = EvalSettings {
        predictions: Some(config.out.join("predictions-plain.parquet")),
        ..EvalSettings::of_run(&config, Tte::None, settings.device)
    };
    let report = eval(&config.out, None, &judged)?;
    let finished = report.write(&config.out);
    report.unless_unwritten(finished)
}

/// The settings of the run, but for its tuner.
fn resolved(settings: &ImportSettings, is_lift: bool) -> Result<TrainConfig> {
    let args = TrainArgs {
        preset: Some(if is_lift {
            Preset::Lift
        } else {
            Preset::LiftPlus
        }),
        epochs: Some(0),
        init: Some(Start::Head(HeadInit::Random)),
        tte: Some(Tte::None),
        ..settings.typed.clone()
    };
    let config = args.resolve()?.on(settings.device);
    // Nothing made the classifier here.
    Ok(TrainConfig {
        init: Start::default(),
        ..config
    })
}

/// Which blocks and projections have modules.
fn describe(config: &mut TrainConfig, tensors: &BTreeMap<String, Tensor>, blocks: usize) {
    let mut layers: Vec<usize> = tensors
        .keys()
        .filter_map(|name| {
            name.strip_prefix("image_encoder.blocks.")?
                .split_once('.')?
                .0
                .parse()
                .ok()
        })
        .collect();
    layers.sort_unstable();
    layers.dedup();
    config.layers = if layers.is_empty() || layers.len() == blocks {
        Layers::All
    } else {
        Layers::Only(layers)
    };
    if tensors.keys().any(|name| name.contains("mlp.lora.")) {
        let has_q = tensors.keys().any(|name| name.contains("attn.lora."));
        let mlp = [LoraTarget::MlpIn, LoraTarget::MlpOut];
        config.lora_targets = if has_q {
            [LoraTarget::usual(), mlp.to_vec()].concat()
        } else {
            mlp.to_vec()
        };
    }
}

fn tuned(
    config: &TrainConfig,
    tower: lift_models::VisionTower,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<TunedModel> {
    let tensors = tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
    let (kind, scale) = (config.classifier, config.scale());
    TunedModel::from_tuned(
        tower,
        tensors.collect(),
        kind,
        scale,
        Device::Cpu,
        Kind::Float,
    )
}

/// The modules, with the sizes that their tensors have.
fn set_tuner(
    config: &mut TrainConfig,
    model: &TunedModel,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<()> {
    let size = |end: &str, axis: usize| {
        let tensor = tensors.iter().find(|(name, _)| name.ends_with(end))?.1;
        tensor.size().get(axis).copied()
    };
    let choices = model.tuner.kinds().into_iter().map(|kind| {
        let size = match kind {
            TunerKind::Lora => size(".down", 1),
            TunerKind::Adapter => size("mlp.adapter.down.weight", 0),
            TunerKind::Adaptformer => size("adaptformer.down.weight", 0),
            TunerKind::VptShallow | TunerKind::VptDeep => size(".prompt", 0),
            _ => None,
        };
        Choice { kind, size }.to_string()
    });
    let choices: Vec<String> = choices.collect();
    let text = match choices.as_slice() {
        [] => "none".to_owned(),
        choices => choices.join(","),
    };
    config.tuner = text.parse().map_err(Error::Config)?;
    Ok(())
}
