//! Training: inputs checked, the plan printed, the run's folder filled.

use std::{path::Path, sync::Arc};

use lift_clip::{Head, Normalisation};
use lift_data::{layout::split_dir, manifest::Manifest, shard::ShardReader, split::Split};
use tch::Device;

use super::{
    check_classes, check_width,
    evaluation::{EvalSettings, judge},
    load_tower, report_note, report_of, warn_of_expand,
};
use crate::{
    config::TrainConfig,
    error::{Error, Result},
    eval::Tte,
    loader::Loader,
    model::TunedModel,
    plan::Plan,
    report::Report,
    run::{self, Tuned},
    train,
    tuner::Tuner,
};

/// Prints what a run would do.
///
/// # Errors
/// When its inputs cannot be used.
pub fn dry_run(config: &TrainConfig) -> Result<()> {
    let (device, note) = config.device_choice()?.resolve()?;
    report_note(note);
    let inputs = Inputs::open(config, device)?;
    print!(
        "{}",
        Plan::new(config, &inputs.model, inputs.train.manifest(), device)
    );
    Ok(())
}

/// Trains, evaluates on the test shards and writes the run's folder; returns the report.
///
/// # Errors
/// When an input cannot be used, the run's folder exists, or training fails.
pub fn train(config: &TrainConfig) -> Result<Report> {
    let (device, note) = config.device_choice()?.resolve()?;
    report_note(note);
    let Inputs {
        train,
        model,
        normalisation,
        head,
    } = Inputs::open(config, device)?;
    let test = split_dir(&config.shards, Split::Test)?;
    same_classes(
        &config.shards,
        train.manifest(),
        &test,
        &Manifest::load(&test)?,
    )?;
    warn_of_expand(config.tte, config.expand, &model.visual);
    run::create(config)?;
    eprint!("{}", Plan::new(config, &model, train.manifest(), device));

    let resolution = model.visual.config().resolution as u32;
    let manifest = train.manifest().clone();
    let loader = Loader::new(
        Arc::new(train),
        resolution,
        config.batch_size,
        config.threads,
    )?;
    let training = train::train(&model, &loader, config, normalisation)?;
    Tuned::of(
        &model,
        &manifest.class_counts,
        &head.class_names,
        &head.class_hash,
    )
    .write(&config.out)?;

    let mut settings = EvalSettings {
        shards: config.shards.clone(),
        tte: Tte::None,
        expand: config.expand,
        batch_size: config.batch_size,
        precision: config.precision,
        device,
        threads: config.threads,
    };
    let mut evaluations = Vec::new();
    let kinds = if config.tte == Tte::None {
        vec![Tte::None]
    } else {
        vec![Tte::None, config.tte]
    };
    for tte in kinds {
        settings.tte = tte;
        evaluations.push(judge(
            &settings,
            &model,
            normalisation,
            Some(&manifest.class_counts),
            None,
        )?);
    }
    let report = Report {
        parameters: Some(model.parameter_counts()),
        training: Some(training),
        config: Some(config.clone()),
        template: head.template,
        ..report_of(
            &config.out,
            &manifest,
            &config.model,
            &settings,
            evaluations,
        )
    };
    report.write(&config.out)?;
    Ok(report)
}

/// What training starts from.
struct Inputs {
    train: ShardReader,
    model: TunedModel,
    normalisation: Normalisation,
    head: Head,
}

impl Inputs {
    fn open(config: &TrainConfig, device: Device) -> Result<Self> {
        let train = ShardReader::open(&split_dir(&config.shards, Split::Train)?)?;
        let manifest = train.manifest();
        if let Some(label) = manifest.class_counts.iter().position(|&n| n == 0) {
            let name = &manifest.class_names.as_slice()[label];
            let message = format!(
                "{}: class {name:?} has no training image",
                config.shards.display()
            );
            return Err(Error::Config(format!(
                "{message}\nhint: the loss needs at least one image a class"
            )));
        }
        let head = Head::read(&config.head)?;
        check_classes(
            &config.head,
            &head.class_names,
            &head.class_hash,
            &config.shards,
            manifest,
        )?;
        let visual = load_tower(&config.model)?;
        check_width(
            &config.head,
            "weight",
            &head.weight,
            visual.config().width,
            &config.model,
        )?;
        let tuner = Tuner::new(
            config.tuner,
            config.tuner_size,
            visual.config(),
            manifest.num_classes(),
            config.seed,
        );
        let model = TunedModel::new(
            visual,
            tuner,
            &head.weight,
            config.scale,
            device,
            config.precision.kind(),
        );
        Ok(Self {
            train,
            model,
            normalisation: Normalisation::of_model(&config.model)?,
            head,
        })
    }
}

fn same_classes(
    train: &Path,
    train_manifest: &Manifest,
    test: &Path,
    test_manifest: &Manifest,
) -> Result<()> {
    let names = train_manifest.class_names.as_slice();
    check_classes(
        train,
        names,
        &train_manifest.class_hash,
        test,
        test_manifest,
    )
}
