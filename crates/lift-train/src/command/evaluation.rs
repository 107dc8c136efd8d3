//! Evaluating a run again, and zero-shot classification.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use lift_clip::{Head, Normalisation, Precision};
use lift_data::{layout::split_dir, manifest::Manifest, shard::ShardReader, split::Split};
use tch::{Device, Tensor};

use super::{check_classes, check_width, load_tower, report_of, warn_of_expand};
use crate::{
    classifier::normalize,
    error::{Error, Result},
    eval::{EvalOptions, Evaluation, Tte, evaluate},
    loader::Loader,
    model::TunedModel,
    report::Report,
    run::{self, Tuned},
    tuner::Tuner,
};

/// How an evaluation is run, whatever is evaluated.
#[derive(Clone, Debug)]
pub struct EvalSettings {
    /// Folder with the test shards.
    pub shards: PathBuf,
    /// Test-time ensembling.
    pub tte: Tte,
    /// Pixels beyond the resolution.
    pub expand: u32,
    /// Crops a forward pass.
    pub batch_size: usize,
    /// Kind of the frozen weights.
    pub precision: Precision,
    /// Where to run.
    pub device: Device,
    /// Loader threads; 0: one a core.
    pub threads: usize,
}

/// Evaluates a run again, on its own test shards or others with the same classes.
///
/// # Errors
/// When the run or the shards cannot be used, or their classes differ.
pub fn eval(run: &Path, model: Option<&Path>, settings: &EvalSettings) -> Result<Report> {
    let config = run::read_config(run)?;
    let tuned = Tuned::read(run)?;
    let model_path = model.unwrap_or(&config.model).to_path_buf();
    let test = split_dir(&settings.shards, Split::Test)?;
    let manifest = Manifest::load(&test)?;
    check_classes(run, &tuned.class_names, &tuned.class_hash, &test, &manifest)?;
    let visual = load_tower(&model_path)?;
    warn_of_expand(settings.tte, settings.expand, &visual);
    let model = TunedModel::from_tuned(
        visual,
        tuned.file.tensors,
        config.scale,
        settings.device,
        settings.precision.kind(),
    )
    .map_err(|e| Error::BadRun {
        path: run.join("tuned.safetensors"),
        reason: e.to_string(),
    })?;
    let normalisation = Normalisation::of_model(&model_path)?;
    let evaluation = judge(
        settings,
        &model,
        normalisation,
        Some(&tuned.class_counts),
        None,
    )?;
    Ok(Report {
        parameters: Some(model.parameter_counts()),
        config: Some(config),
        ..report_of(run, &manifest, &model_path, settings, vec![evaluation])
    })
}

/// Classifies by the nearest class text in the joint space, without any training.
///
/// # Errors
/// When the model, the head or the shards cannot be used, or their classes differ.
pub fn zero_shot(
    model: &Path,
    head_path: &Path,
    out: Option<&Path>,
    settings: &EvalSettings,
) -> Result<Report> {
    let head = Head::read(head_path)?;
    let test = split_dir(&settings.shards, Split::Test)?;
    let manifest = Manifest::load(&test)?;
    check_classes(
        head_path,
        &head.class_names,
        &head.class_hash,
        &test,
        &manifest,
    )?;
    let Some(text_embeds) = &head.text_embeds else {
        let reason = "has no text embeddings, which zero-shot needs\nhint: make it with `lift-text classifier`";
        return Err(Error::BadRun {
            path: head_path.into(),
            reason: reason.into(),
        });
    };
    // Bands need training counts; a folder with test shards alone is judged without bands.
    let train_counts = match split_dir(&settings.shards, Split::Train) {
        Ok(train) => Some(Manifest::load(&train)?.class_counts),
        Err(_) => None,
    };
    let visual = load_tower(model)?;
    check_width(
        head_path,
        "text_embeds",
        text_embeds,
        visual.proj.size()[1],
        model,
    )?;
    warn_of_expand(settings.tte, settings.expand, &visual);
    let tower = TunedModel::new(
        visual,
        Tuner::default(),
        &head.weight,
        1.0,
        settings.device,
        settings.precision.kind(),
    );
    let normalisation = Normalisation::of_model(model)?;
    let evaluation = judge(
        settings,
        &tower,
        normalisation,
        train_counts.as_deref(),
        Some(text_embeds),
    )?;
    let name = out.unwrap_or(Path::new("zero-shot"));
    let report = Report {
        template: head.template.clone(),
        ..report_of(name, &manifest, model, settings, vec![evaluation])
    };
    if let Some(out) = out {
        std::fs::create_dir_all(out).map_err(Error::io(out))?;
        report.write(out)?;
    }
    Ok(report)
}

/// One evaluation: by the model's classifier, or by `text_embeds` (K, e) in the joint space.
pub(super) fn judge(
    settings: &EvalSettings,
    model: &TunedModel,
    normalisation: Normalisation,
    train_counts: Option<&[u64]>,
    text_embeds: Option<&Tensor>,
) -> Result<Evaluation> {
    let reader = ShardReader::open(&split_dir(&settings.shards, Split::Test)?)?;
    let crops = if settings.tte == Tte::None { 1 } else { 5 };
    let images = (settings.batch_size / crops).max(1);
    let loader = Loader::new(
        Arc::new(reader),
        model.visual.config().resolution as u32,
        images,
        settings.threads,
    )?;
    let options = EvalOptions {
        normalisation,
        device: settings.device,
        train_counts,
        expand: settings.expand,
    };
    match text_embeds {
        None => evaluate(&loader, settings.tte, &options, |images| {
            model.forward(images)
        }),
        Some(embeds) => {
            let texts = normalize(&embeds.to_device(settings.device)).tr();
            evaluate(&loader, settings.tte, &options, |images| {
                normalize(
                    &model
                        .visual
                        .embed(&model.visual.features(images, &model.tuner)),
                )
                .matmul(&texts)
            })
        }
    }
}
