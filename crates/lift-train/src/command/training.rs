//! Training: inputs checked, the plan printed, the run's folder filled.

use std::{path::Path, sync::Arc};

use lift_clip::{Head, Normalisation};
use lift_data::{layout::split_dir, manifest::Manifest, shard::ShardReader, split::Split};
use tch::{Device, Tensor, kind::FLOAT_CPU};

use super::{
    check_classes, check_width,
    evaluation::{EvalSettings, judge},
    load_tower, read_head, report_of, warn_of_expand, write_stdout,
};
use crate::{
    classifier::Classifier,
    config::TrainConfig,
    error::{Error, Result},
    eval::{Evaluation, Look, Tte},
    head_init::{HeadInit, Source, head_of},
    loader::Loader,
    model::TunedModel,
    plan::Plan,
    report::Report,
    run::{self, Tuned},
    tensorboard::EventFile,
    train,
    tuner::Tuner,
};

/// Prints what a run would do.
///
/// # Errors
/// When its inputs cannot be used.
pub fn dry_run(config: &TrainConfig) -> Result<()> {
    let device = config.device_choice()?.resolve_with_note()?;
    let inputs = Inputs::open(config, device)?;
    let plan = Plan::new(config, &inputs.model, inputs.train.manifest(), device);
    write_stdout(plan.to_string().as_bytes())
}

/// Trains, evaluates on the test shards and writes the run's folder; returns the report.
///
/// # Errors
/// When an input cannot be used, the run's folder exists, or training fails.
pub fn train(config: &TrainConfig) -> Result<Report> {
    let device = config.device_choice()?.resolve_with_note()?;
    let Inputs {
        train,
        test,
        mut model,
        normalisation,
        mut head,
    } = Inputs::open(config, device)?;
    let manifest = train.manifest().clone();
    run::create(config)?;
    eprint!("{}", Plan::new(config, &model, &manifest, device));

    let train = Arc::new(train);
    if config.init != HeadInit::Head {
        head = initial_head(config, &train, &model, normalisation)?;
        model.start_from(Classifier::new(
            config.classifier,
            &head.weight,
            config.scale,
        ));
    }
    let resolution = model.visual.config().resolution as u32;
    let loader = Loader::new(train, resolution, config.batch_size, config.threads)?;
    let training = train::train(&model, &loader, config, normalisation)?;
    let steps = training.steps;
    Tuned::of(&model, &manifest.class_counts, &head).write(&config.out)?;

    let test = Arc::new(test);
    let look = config.look();
    let mut settings = EvalSettings {
        shards: config.shards.clone(),
        split: Split::Test,
        look: Look {
            tte: Tte::None,
            ..look
        },
        batch_size: config.batch_size,
        precision: config.precision,
        device,
        threads: config.threads,
        predictions: Some(config.out.join("predictions-plain.parquet")),
        confusion: None,
    };
    let counts = Some(manifest.class_counts.as_slice());
    let mut evaluations = vec![judge(
        &settings,
        &test,
        &model,
        normalisation,
        counts,
        None,
    )?];
    if look.tte != Tte::None {
        settings.look = look;
        let file = format!("predictions-{}.parquet", look.tte.as_str());
        settings.predictions = Some(config.out.join(file));
        evaluations.push(judge(
            &settings,
            &test,
            &model,
            normalisation,
            counts,
            None,
        )?);
    }
    let report = Report {
        parameters: Some(model.parameter_counts()),
        training: Some(training),
        config: Some(config.clone()),
        template: head.template,
        train_counts: Some(manifest.class_counts.clone()),
        ..report_of(
            &config.out,
            &manifest,
            &config.model,
            &settings,
            evaluations,
        )
    };
    if config.tensorboard {
        let mut events = EventFile::create(&config.out)?;
        for evaluation in &report.evaluations {
            write_accuracies(&mut events, steps, evaluation)?;
        }
    }
    report.write(&config.out)?;
    Ok(report)
}

/// The accuracies of one evaluation, at the last step of training.
fn write_accuracies(events: &mut EventFile, step: usize, evaluation: &Evaluation) -> Result<()> {
    let metrics = &evaluation.metrics;
    let ensembling = evaluation.tte.as_str();
    let figures = [
        ("overall", Some(metrics.overall)),
        ("mean_class", Some(metrics.mean_class)),
        ("many", metrics.many),
        ("medium", metrics.medium),
        ("few", metrics.few),
    ];
    for (name, value) in figures {
        // A band without classes has no accuracy.
        if let Some(value) = value {
            events.scalars(step, &[(&format!("{ensembling}/{name}"), value)])?;
        }
    }
    Ok(())
}

/// The classifier that `--init` makes, also written into the run's folder.
fn initial_head(
    config: &TrainConfig,
    train: &Arc<ShardReader>,
    model: &TunedModel,
    normalisation: Normalisation,
) -> Result<Head> {
    let source = Source {
        train: Arc::clone(train),
        model: &config.model,
        tower: &model.visual,
        normalisation,
        batch_size: config.batch_size,
        threads: config.threads,
        seed: config.seed,
    };
    let head = source.head(config.init)?;
    head.write(&config.out.join("head.safetensors"))?;
    Ok(head)
}

/// The classifier file, which must be of these classes and as wide as the tower.
fn file_head(path: &Path, config: &TrainConfig, manifest: &Manifest, width: i64) -> Result<Head> {
    let head = read_head(path, &config.model)?;
    check_classes(
        path,
        &head.class_names,
        &head.class_hash,
        &config.shards,
        manifest,
    )?;
    check_width(path, "weight", &head.weight, width, &config.model)?;
    Ok(head)
}

/// What a run starts from, all of it opened and checked before the first step.
struct Inputs {
    train: ShardReader,
    test: ShardReader,
    model: TunedModel,
    normalisation: Normalisation,
    head: Head,
}

impl Inputs {
    fn open(config: &TrainConfig, device: Device) -> Result<Self> {
        run::require_empty(&config.out)?;
        let train = ShardReader::open(&split_dir(&config.shards, Split::Train)?)?;
        let test_dir = split_dir(&config.shards, Split::Test)?;
        let test = ShardReader::open(&test_dir)?;
        let manifest = train.manifest();
        if let Some(label) = manifest.class_counts.iter().position(|&n| n == 0) {
            let (shards, name) = (
                config.shards.display(),
                &manifest.class_names.as_slice()[label],
            );
            return Err(Error::Config(format!(
                "{shards}: class {name:?} has no training image\nhint: the loss needs at least one image a class"
            )));
        }
        let names = manifest.class_names.as_slice();
        check_classes(
            &config.shards,
            names,
            &manifest.class_hash,
            &test_dir,
            test.manifest(),
        )?;
        let visual = load_tower(&config.model)?;
        let tower = visual.config();
        let head = match &config.head {
            Some(path) => file_head(path, config, manifest, tower.width)?,
            None => {
                config.init.check(&config.shards, manifest, tower.width)?;
                // Its rows are made once the run has its folder.
                head_of(
                    manifest,
                    Tensor::zeros([names.len() as i64, tower.width], FLOAT_CPU),
                )
            }
        };
        warn_of_expand(config.look(), &visual);
        let tuner = Tuner::new(&config.tuner_options(), &visual, manifest.num_classes())?;
        let classifier = Classifier::new(config.classifier, &head.weight, config.scale);
        let kind = config.precision.kind();
        let model = TunedModel::new(visual, tuner, classifier, device, kind);
        let usual = model.visual.usual_normalisation();
        let normalisation = Normalisation::of_model(&config.model, usual)?;
        Ok(Self {
            train,
            test,
            model,
            normalisation,
            head,
        })
    }
}
