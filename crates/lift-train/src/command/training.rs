//! Training: the plan printed, the run's folder filled.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use lift_files::process::peak_memory_bytes;
use lift_models::{Head, Normalisation};
use lift_page::terminal;
use lift_shards::{Manifest, Split, shard::ShardReader};
use serde_json::Value;
use tch::{Device, Tensor};

use super::{
    device,
    evaluation::{EvalSettings, judge},
    inputs::Inputs,
    print_text, report_of,
};
use crate::{
    checkpoint::{self, Checkpoint, CheckpointWriter, kept},
    classifier::Classifier,
    config::TrainConfig,
    error::{Error, Result},
    eval::{EvalView, Evaluation, Tte},
    features::Features,
    head_init::{HeadInit, Source},
    model::TunedModel,
    plan::{KeptFeatures, Plan},
    provenance::{Change, Provenance},
    report::Report,
    run::{self, MADE_HEAD, Tuned},
    stop::Stop,
    tensorboard::EventFile,
    train::{self, Data},
    transfer::{Target, Transfer},
    validation::{Kept, Selection, ValEvery, Validation, copied, put_back},
};
use lift_loader::Loader;

/// Prints what a run would do.
///
/// # Errors
/// When its inputs cannot be used.
pub fn dry_run(config: &TrainConfig) -> Result<()> {
    let device = device(&config.device, config.max_memory, config.threads)?;
    run::require_free(&config.out)?;
    let inputs = Inputs::open(&config.on(device), device, None)?;
    print_text(&plan(&inputs, device)?.to_string())
}

fn plan(inputs: &Inputs, device: Device) -> Result<Plan> {
    let val_images = inputs.val.as_ref().map_or(0, |val| val.len() as u64);
    let images = (inputs.train.manifest(), val_images);
    Plan::new(&inputs.config, &inputs.model, images, device)
}

/// Trains, evaluates on the test shards and writes the run's folder; returns the report.
///
/// # Errors
/// When an input cannot be used, the run's folder exists, or training fails.
pub fn train(config: &TrainConfig) -> Result<Report> {
    train_until(config, &[], &Stop::default())
}

/// As [`train`], with a checkpoint and an end when `stop` wants it; `command` is what was typed.
///
/// # Errors
/// As [`train`], and when it is stopped.
pub fn train_until(config: &TrainConfig, command: &[String], stop: &Stop) -> Result<Report> {
    let device = device(&config.device, config.max_memory, config.threads)?;
    run::require_free(&config.out)?;
    let inputs = Inputs::open(&config.on(device), device, None)?;
    let config = &inputs.config.clone();
    let plan = plan(&inputs, device)?;
    run::create(config)?;
    let _lock = run::lock(&config.out)?;
    Provenance::new(command, &inputs.origins).write(&config.out)?;
    terminal::say(plan.to_string().trim_end());
    finish(device, inputs, None, stop).map_err(|e| e.in_run(&config.out))
}

/// Goes on with the run in the folder `config.out`, whose settings `config` are, from its last checkpoint; begins again
/// where it ended before its first one.
///
/// # Errors
/// When it is finished, has lost its checkpoint or was started from something else; and as [`train_until`].
pub fn resume(config: &TrainConfig, stop: &Stop) -> Result<Report> {
    let device = device(&config.device, config.max_memory, config.threads)?;
    let config = &config.on(device);
    let run = &config.out;
    let _lock = run::lock(run)?;
    run::require_unfinished(run)?;
    if run::is_not_begun(run) {
        return begin_again(config, device, stop).map_err(|e| e.in_run(run));
    }
    let mut checkpoint = Checkpoint::read(run)?;
    // What followed from the classifier when the run began.
    let config = &TrainConfig {
        scale: config.scale.or(checkpoint.config.scale),
        ..config.clone()
    };
    let changes = checkpoint.changes(run, config)?;
    checkpoint.origins.require_files(config)?;
    let inputs = Inputs::open(config, device, Some(&mut checkpoint))?;
    let step = checkpoint.position.step;
    terminal::say(format_args!("{}: goes on after step {step}", run.display()));
    record(run, step, changes)?;
    finish(device, inputs, Some(checkpoint), stop).map_err(|e| e.in_run(run))
}

/// Says which settings are others than before, and notes it in the run's provenance.
fn record(run: &Path, step: usize, changes: Vec<(String, Value, Value)>) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut provenance = Provenance::read(run)?;
    for (setting, from, to) in changes {
        terminal::say(format_args!(
            "{setting}: {from} until here, {to} from here on"
        ));
        if let Some(provenance) = &mut provenance {
            provenance.changes.push(Change {
                step,
                setting,
                from,
                to,
            });
        }
    }
    provenance.map_or(Ok(()), |provenance| provenance.write(run))
}

/// Goes back in a run to a checkpoint that it kept, that of this step or its last; a finished run, whose report goes by
/// another name from then on, is extended like this. Resuming it comes next.
///
/// # Errors
/// When it kept none, another process trains in it, or its folder cannot be written.
pub fn go_back(run: &Path, step: Option<usize>) -> Result<()> {
    drop(run::lock(run)?);
    let latest = checkpoint::path_in(run);
    let step = kept::go_back(&latest, step)?;
    let report = run.join("report.json");
    if report.exists() {
        let name = (1..)
            .map(|n| run.join(format!("report-{n}.json")))
            .find(|path| !path.exists())
            .expect("numbers do not end");
        terminal::say(format_args!(
            "{}: its report until now is kept as {}",
            run.display(),
            name.display()
        ));
        fs::rename(&report, name).map_err(Error::io(&report))?;
    }
    terminal::say(format_args!("{}: goes back to step {step}", run.display()));
    Ok(())
}

/// Begins with a run that ended before its first checkpoint, from what it was started from.
fn begin_again(config: &TrainConfig, device: Device, stop: &Stop) -> Result<Report> {
    let run = &config.out;
    let inputs = Inputs::open(config, device, None)?;
    match Provenance::read(run)? {
        Some(recorded) => recorded.origins.require_same(&inputs.origins, config)?,
        None => Provenance::new(&[], &inputs.origins).write(run)?,
    }
    terminal::say(format_args!(
        "{}: has no checkpoint yet, and begins again",
        run.display()
    ));
    finish(device, inputs, None, stop)
}

/// Writes settings of a run anew that were changed for its next steps.
///
/// # Errors
/// When the run is finished, another process trains in it, or its folder cannot be written.
pub fn change(config: &TrainConfig) -> Result<()> {
    let run = &config.out;
    run::require_unfinished(run)?;
    drop(run::lock(run)?);
    run::write_config(config)
}

/// Trains from the start or from a checkpoint, evaluates, and writes what a run's folder holds at its end.
fn finish(device: Device, inputs: Inputs, from: Option<Checkpoint>, stop: &Stop) -> Result<Report> {
    let Inputs {
        config,
        train,
        val,
        judged,
        mut model,
        normalisation,
        mut head,
        mut origins,
    } = inputs;
    let config = &config;
    let manifest = train.manifest().clone();

    let mut train = train;
    // Asked again: a run that goes on has no plan.
    config.cache.plan(train.num_bytes())?;
    config.cache.fill(&mut train)?;
    let train = Arc::new(train);
    let made = config.out.join(MADE_HEAD);
    if config.init.makes().is_some() && from.is_some() {
        origins.require_made_head(&made)?;
        head = Head::read(&made)?;
    } else if let Some(init) = config.init.makes() {
        head = initial_head(init, config, &train, &model, normalisation)?;
        head.write(&made)?;
        origins.note_made_head(&made)?;
        model.start_from(Classifier::new(
            config.classifier,
            &head.weight,
            config.scale(),
        ));
    }
    let resolution = model.visual.config().resolution as u32;
    let mut loader = Loader::new(
        Arc::clone(&train),
        resolution,
        config.batch_size,
        config.threads,
    )?;
    loader.set_exact(config.exact);
    if let Some(batches) = config.prefetch {
        loader.set_depth(batches);
    }
    let transfer = Transfer::open(Target::of(&model.visual, normalisation))?;
    let keeper = CheckpointWriter::new(config, &origins);
    let val_images = val.as_ref().map_or(0, |val| val.len() as u64);
    let mut validation = val.map(|val| {
        let every = config.val_every.unwrap_or(ValEvery::Epoch);
        let rules = (every, config.monitor, config.patience);
        let how = (config.passing(), config.seed);
        Validation::new(Arc::new(val), &manifest.class_counts, rules, how)
    });
    let kept = KeptFeatures::of(config, &model, (manifest.rows, val_images));
    if let (Some(validation), Some(_)) = (&mut validation, kept.val) {
        validation.keep_features(&model, &transfer, &config.out)?;
    }
    let looks = validation.as_ref();
    let features = match kept.train {
        None => None,
        Some(_) => Some(Features::compute(
            &train,
            &model,
            &transfer,
            config.passing(),
            &config.out,
        )?),
    };
    let data = Data {
        reader: &train,
        loader: &loader,
        transfer: &transfer,
        validation: looks,
        features: features.as_ref(),
    };
    let trained = train::train(&mut model, data, config, keeper, from, stop)?;
    let mut training = trained.training;
    let steps = training.steps;
    model.bring_texts_up(config.max_memory)?;
    stop.training_is_over();
    let selection = looks.map(|_| Selection {
        split: Split::Val,
        monitor: config.monitor,
        best: trained.validated.best,
        kept: config.keep[0],
        ended_early: trained.validated.ended_early,
    });
    // What could not be written is said behind the figures, which hours were spent on.
    let mut written = write_kept(&mut model, &trained.best, config, &manifest, &head)?;

    let mut settings = EvalSettings::of_run(config, Tte::None, device);
    let counts = Some(manifest.class_counts.as_slice());
    let mut evaluations = Vec::new();
    if let Some(judged) = judged {
        let judged = Arc::new(judged);
        settings.split = judged.manifest().split;
        let mut views = vec![EvalView {
            tte: Tte::None,
            ..config.look()
        }];
        views.extend((config.tte != Tte::None).then(|| config.look()));
        for look in views {
            settings.look = look;
            let file = format!("predictions-{}.parquet", look.tte.as_str());
            settings.predictions = Some(config.out.join(file));
            let (found, kept) = judge(&settings, &judged, &model, &transfer, counts, None)?;
            written = written.and(kept);
            evaluations.push(found);
        }
    }
    training.peak_memory_bytes = peak_memory_bytes();
    let report = Report {
        bands: Some(manifest.bands),
        parameters: Some(model.parameter_counts()),
        training: Some(training),
        config: Some(config.clone()),
        template: head.template,
        selection,
        train_counts: Some(manifest.class_counts.clone()),
        ..report_of(
            &config.out,
            &manifest,
            &config.model,
            &settings,
            evaluations,
            None,
        )
    };
    let written = written.and_then(|()| close(&report, steps, config));
    report.unless_unwritten(written)
}

/// Writes the states of the model that the run keeps; the first of them is the model's from here on.
fn write_kept(
    model: &mut TunedModel,
    best: &BTreeMap<String, Tensor>,
    config: &TrainConfig,
    manifest: &Manifest,
    head: &Head,
) -> Result<Result<()>> {
    let last = copied(&model.state());
    let mut written = Ok(());
    // The first at the end, so that the model has it.
    for (place, &kept) in config.keep.iter().enumerate().rev() {
        let state = match kept {
            Kept::Last => &last,
            Kept::Best => best,
        };
        put_back(&model.state(), state);
        model.bring_texts_up(config.max_memory)?;
        let tuned = Tuned::of(model, &manifest.class_counts, head);
        written = written.and(match place {
            0 => tuned.write(&config.out),
            _ => tuned.write_as(
                &config
                    .out
                    .join(format!("tuned-{}.safetensors", kept.as_str())),
            ),
        });
    }
    Ok(written)
}

/// Writes the report, with which the run is finished, and what comes behind it.
fn close(report: &Report, steps: usize, config: &TrainConfig) -> Result<()> {
    report.write(&config.out)?;
    // Behind the report: no run that goes on writes them twice.
    if config.tensorboard {
        let mut events = EventFile::create(&config.out)?;
        for evaluation in &report.evaluations {
            write_accuracies(&mut events, steps, evaluation)?;
        }
    }
    checkpoint::remove(&config.out)
}

/// The accuracies of one evaluation, at the last step of training.
fn write_accuracies(events: &mut EventFile, step: usize, evaluation: &Evaluation) -> Result<()> {
    let metrics = &evaluation.metrics;
    let ensembling = evaluation.tte.as_str();
    let figures = [
        ("overall", metrics.overall),
        ("mean_class", metrics.mean_class),
        ("many", metrics.many),
        ("medium", metrics.medium),
        ("few", metrics.few),
    ];
    for (name, value) in figures {
        // A band without classes has no accuracy, nor has a split without images.
        if let Some(value) = value {
            events.scalars(step, &[(&format!("{ensembling}/{name}"), value)])?;
        }
    }
    Ok(())
}

/// The classifier that `--init` makes, also written into the run's folder.
fn initial_head(
    init: HeadInit,
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
        passing: config.passing(),
        images_a_class: config.init_images,
        seed: config.seed,
    };
    source.head(init)
}
