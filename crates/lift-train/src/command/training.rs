//! Training: inputs checked, the plan printed, the run's folder filled.

use std::{path::Path, sync::Arc};

use lift_clip::{Clip, Head, Normalisation, TextTower, Tokenizer, VisionTower, hub};
use lift_data::{layout::split_dir, manifest::Manifest, shard::ShardReader, split::Split};
use tch::{Device, Tensor, kind::FLOAT_CPU};

use super::{
    check_classes, check_width, class_texts,
    evaluation::{EvalSettings, judge},
    load_tower, read_head, report_of, set_resolution, warn_of_expand, write_stdout,
};
use crate::{
    checkpoint::{self, Checkpoint, Keeper},
    classifier::{Classifier, ClassifierKind},
    config::TrainConfig,
    error::{Error, Result},
    eval::{Evaluation, Look, Tte},
    fingerprint::Origins,
    head_init::{HeadInit, Source, head_of},
    joint::{Context, ContextPosition, Encoder, Joint, USUAL_LENGTH},
    loader::Loader,
    model::{TunedModel, classifier_width},
    plan::Plan,
    report::Report,
    run::{self, Tuned},
    stop::Stop,
    tensorboard::EventFile,
    train,
    tuner::Tuner,
};

/// The classifier file that `--init` made, in the run's folder.
const MADE_HEAD: &str = "head.safetensors";

/// Prints what a run would do.
///
/// # Errors
/// When its inputs cannot be used.
pub fn dry_run(config: &TrainConfig) -> Result<()> {
    let device = config.device_choice()?.resolve_with_note()?;
    run::require_empty(&config.out)?;
    let inputs = Inputs::open(config, device, None)?;
    let plan = Plan::new(
        &inputs.config,
        &inputs.model,
        inputs.train.manifest(),
        device,
    );
    write_stdout(plan.to_string().as_bytes())
}

/// Trains, evaluates on the test shards and writes the run's folder; returns the report.
///
/// # Errors
/// When an input cannot be used, the run's folder exists, or training fails.
pub fn train(config: &TrainConfig) -> Result<Report> {
    train_until(config, &Stop::default())
}

/// As [`train`], with a checkpoint and an end when `stop` wants it.
///
/// # Errors
/// As [`train`], and when it is stopped.
pub fn train_until(config: &TrainConfig, stop: &Stop) -> Result<Report> {
    let device = config.device_choice()?.resolve_with_note()?;
    run::require_empty(&config.out)?;
    let inputs = Inputs::open(config, device, None)?;
    let config = &inputs.config;
    run::create(config)?;
    let _lock = run::lock(&config.out)?;
    eprint!(
        "{}",
        Plan::new(config, &inputs.model, inputs.train.manifest(), device)
    );
    finish(device, inputs, None, stop)
}

/// Goes on with the run in the folder `config.out`, whose settings `config` are, from its last checkpoint.
///
/// # Errors
/// When it is finished, has no checkpoint or was started from something else; and as [`train_until`].
pub fn resume(config: &TrainConfig, stop: &Stop) -> Result<Report> {
    let device = config.device_choice()?.resolve_with_note()?;
    let run = &config.out;
    let _lock = run::lock(run)?;
    run::require_unfinished(run)?;
    let mut checkpoint = Checkpoint::read(run)?;
    checkpoint.require_settings(run, config)?;
    checkpoint.origins.require_files(config)?;
    let inputs = Inputs::open(config, device, Some(&mut checkpoint))?;
    let step = checkpoint.position.step;
    eprintln!("{}: goes on after step {step}", run.display());
    finish(device, inputs, Some(checkpoint), stop)
}

/// Trains from the start or from a checkpoint, evaluates, and writes what a run's folder holds at its end.
fn finish(device: Device, inputs: Inputs, from: Option<Checkpoint>, stop: &Stop) -> Result<Report> {
    let Inputs {
        config,
        train,
        test,
        mut model,
        normalisation,
        mut head,
        origins,
    } = inputs;
    let config = &config;
    let manifest = train.manifest().clone();

    let train = Arc::new(train);
    let made = config.out.join(MADE_HEAD);
    if config.init != HeadInit::Head && from.is_some() {
        head = Head::read(&made)?;
    } else if config.init != HeadInit::Head {
        head = initial_head(config, &train, &model, normalisation)?;
        head.write(&made)?;
        model.start_from(Classifier::new(
            config.classifier,
            &head.weight,
            config.scale,
        ));
    }
    let resolution = model.visual.config().resolution as u32;
    let loader = Loader::new(train, resolution, config.batch_size, config.threads)?;
    let keeper = Keeper::new(config, &origins);
    let training = train::train(
        &mut model,
        &loader,
        config,
        normalisation,
        keeper,
        from,
        stop,
    )?;
    let steps = training.steps;
    model.update_texts();
    stop.training_is_over();
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
        resolution: config.resolution,
        precision: config.precision,
        device,
        threads: config.threads,
        predictions: Some(config.out.join("predictions-plain.parquet")),
        confusion: None,
        level: None,
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
            None,
        )
    };
    if config.tensorboard {
        let mut events = EventFile::create(&config.out)?;
        for evaluation in &report.evaluations {
            write_accuracies(&mut events, steps, evaluation)?;
        }
    }
    report.write(&config.out)?;
    checkpoint::remove(&config.out)?;
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
    source.head(config.init)
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
    /// The settings, with the model's commit where it was given by name.
    config: TrainConfig,
    train: ShardReader,
    test: ShardReader,
    model: TunedModel,
    normalisation: Normalisation,
    head: Head,
    origins: Origins,
}

impl Inputs {
    /// With what is tuned as it starts, or as a checkpoint has it, which is then taken out of it.
    fn open(
        config: &TrainConfig,
        device: Device,
        checkpoint: Option<&mut Checkpoint>,
    ) -> Result<Self> {
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
        // Fetching may take minutes, so what can be wrong without the model has been looked at.
        let model = hub::fetch(&config.model)?;
        let config = &TrainConfig {
            model,
            ..config.clone()
        };
        let learns_words = config.learned_words().is_some();
        let (visual, words) = match learns_words {
            true => {
                let (visual, words) = load_towers(config)?;
                (visual, Some(words))
            }
            false => (load_tower(&config.model, config.resolution)?, None),
        };
        let origins = match &checkpoint {
            Some(checkpoint) => {
                checkpoint.origins.require_model(config, &visual)?;
                checkpoint.origins.clone()
            }
            None => Origins::of(config, &visual)?,
        };
        let tower = visual.config();
        let head = match &config.head {
            Some(path) => file_head(path, config, manifest, tower.width)?,
            None if learns_words => Head {
                template: "learned words".into(),
                ..head_of(manifest, Tensor::zeros([names.len() as i64, 1], FLOAT_CPU))
            },
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
        let kind = config.precision.kind();
        let mut model = match checkpoint {
            None => fresh(config, visual, &head, words.as_ref(), device)?,
            Some(checkpoint) => {
                let tuned = std::mem::take(&mut checkpoint.model);
                let (classifier, scale) = (config.classifier, config.scale);
                TunedModel::from_tuned(visual, tuned, classifier, scale, device, kind)?
            }
        };
        if let Some(words) = words {
            let encoder = words.encoder(names, &model, config.coop_position)?;
            model.joint.encode_with(encoder);
        }
        model.recomputes = config.activation_checkpointing;
        let usual = model.visual.usual_normalisation();
        let normalisation = Normalisation::of_model(&config.model, usual)?;
        Ok(Self {
            config: config.clone(),
            train,
            test,
            model,
            normalisation,
            head,
            origins,
        })
    }
}

/// The model before its first step.
fn fresh(
    config: &TrainConfig,
    visual: VisionTower,
    head: &Head,
    words: Option<&Words>,
    device: Device,
) -> Result<TunedModel> {
    let options = config.tuner_options();
    let classes = head.class_names.len();
    let tuner = Tuner::new(&options, &visual, classes)?;
    let context = words.map(|words| words.context(config)).transpose()?;
    let joint = Joint::new(&options, &visual, context)?;
    let width = classifier_width(config.classifier, &visual)?;
    let rows = match (config.classifier, &config.head) {
        (ClassifierKind::Text, Some(path)) => class_texts(path, head, &visual, &config.model)?,
        // Learned words make them before the first step.
        (ClassifierKind::Text, None) => &Tensor::zeros([classes as i64, width], FLOAT_CPU),
        _ => &head.weight,
    };
    let classifier = Classifier::new(config.classifier, rows, config.scale);
    let kind = config.precision.kind();
    Ok(TunedModel::new(visual, tuner, classifier, device, kind).with_joint(joint))
}

/// Both towers of a CLIP, the text tower with its tokenizer.
fn load_towers(config: &TrainConfig) -> Result<(VisionTower, Words)> {
    let clip = Clip::load(&config.model)?;
    let mut visual = clip.visual;
    set_resolution(&mut visual, &config.model, config.resolution)?;
    let words = Words {
        tower: clip.text,
        tokenizer: Tokenizer::of_model(&config.model)?,
    };
    Ok((visual, words))
}

/// What learned words are made from.
struct Words {
    tower: TextTower,
    tokenizer: Tokenizer,
}

impl Words {
    fn context(&self, config: &TrainConfig) -> Result<Context> {
        let length = config.learned_words().unwrap_or(USUAL_LENGTH);
        match &config.coop_init {
            None => Ok(Context::random(length, &self.tower, config.seed)),
            Some(phrase) => Context::of_phrase(phrase, &self.tower, &self.tokenizer),
        }
    }

    fn encoder(
        self,
        names: &[String],
        model: &TunedModel,
        position: ContextPosition,
    ) -> Result<Encoder> {
        let words = model.joint.context().map_or(0, Context::words);
        let place = (model.visual.device(), model.visual.kind());
        Encoder::new(self.tower, &self.tokenizer, names, words, position, place)
    }
}
