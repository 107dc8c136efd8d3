//! The commands of `lift-train`: a function each, from settings to files and a table.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use lift_clip::{Clip, Head, Normalisation, Precision, VisionTower};
use lift_data::{layout::split_dir, manifest::Manifest, shard::ShardReader, split::Split};
use tch::{Device, Tensor};

use crate::{
    classifier::normalize,
    config::TrainConfig,
    error::{Error, Result},
    eval::{EvalOptions, Evaluation, Tte, evaluate},
    loader::Loader,
    model::TunedModel,
    plan::Plan,
    report::{Report, table},
    run::{self, Tuned},
    train,
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

/// The reports of runs in one table.
///
/// # Errors
/// When a run has no report.
pub fn compare(runs: &[PathBuf]) -> Result<Vec<Report>> {
    runs.iter().map(|run| Report::read(run)).collect()
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

/// The image tower; the text tower's memory is given back.
fn load_tower(model: &Path) -> Result<VisionTower> {
    Ok(Clip::load(model)?.visual)
}

/// One evaluation: by the model's classifier, or by `text_embeds` (K, e) in the joint space.
fn judge(
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

fn report_of(
    name: &Path,
    manifest: &Manifest,
    model: &Path,
    settings: &EvalSettings,
    evaluations: Vec<Evaluation>,
) -> Report {
    Report {
        format: "lift-report/1".into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        name: name
            .file_name()
            .unwrap_or(name.as_os_str())
            .to_string_lossy()
            .into_owned(),
        dataset: manifest.dataset.clone(),
        num_classes: manifest.num_classes(),
        class_hash: manifest.class_hash.clone(),
        model: model.display().to_string(),
        template: String::new(),
        precision: settings.precision,
        device: match settings.device {
            Device::Cuda(n) => format!("cuda:{n}"),
            _ => "cpu".into(),
        },
        parameters: None,
        training: None,
        config: None,
        evaluations,
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
    let theirs = manifest.class_names.as_slice();
    let differing = names.iter().zip(theirs).position(|(a, b)| a != b);
    let difference = match differing {
        Some(label) => format!(
            "label {label} is {:?}, there {:?}",
            names[label], theirs[label]
        ),
        None => format!("{} classes, there {}", names.len(), theirs.len()),
    };
    Err(Error::ClassesDiffer {
        path: path.into(),
        other: shards.into(),
        difference,
    })
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

fn warn_of_expand(tte: Tte, expand: u32, tower: &VisionTower) {
    let patch = tower.config().patch_size;
    if tte == Tte::FiveCrop && i64::from(expand) % patch == 0 {
        eprintln!(
            "warning: --expand {expand} is a multiple of the patch size {patch}: the corner crops repeat the patch grid, \
             and ensembling gains less (LIFT, section 4.4)"
        );
    }
}

fn report_note(note: Option<String>) {
    if let Some(note) = note {
        eprintln!("{note}");
    }
}

/// Prints reports as a table, or as one JSON document.
pub fn print(reports: &[Report], json: bool) {
    match (json, reports) {
        (true, [report]) => println!(
            "{}",
            serde_json::to_string_pretty(report).expect("a report is plain data")
        ),
        (true, reports) => println!(
            "{}",
            serde_json::to_string_pretty(reports).expect("reports are plain data")
        ),
        (false, reports) => print!("{}", table(reports)),
    }
}
