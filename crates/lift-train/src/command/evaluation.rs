//! Evaluating a run again, and zero-shot classification.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use lift_models::{Head, Normalisation, Precision, VisionTower, hub};
use lift_page::{progress::Reporting, terminal};
use lift_shards::{
    layout::split_dir,
    manifest::{MANIFEST_FILE, Manifest},
    shard::ShardReader,
    split::Split,
    table_file::TableForm,
};
use tch::{Device, Kind, Tensor};

use super::{
    HeadFile, check_classes, class_texts, load_tower, prepare_outputs, report_of, settled,
};
use crate::{
    adjustment::{Adjusting, Adjustment, TEXTS},
    classifier::{Classifier, ClassifierKind},
    config::{TrainConfig, start::TUNED},
    error::{Error, Result},
    eval::{EvalOptions, EvalView, Evaluation, Tte, evaluate},
    file_hash,
    footprint::of_passes,
    level::{Groups, Level},
    logits::{About, Judged, LogitsWriter, Pass},
    model::TunedModel,
    passes::{Passes, Passing},
    predictions::{write_confusion, write_predictions},
    report::Report,
    run::{self, Tuned},
    transfer::{Target, Transfer},
    tuner::Tuner,
};

/// How an evaluation is run, whatever is evaluated.
#[derive(Clone, Debug)]
pub struct EvalSettings {
    /// Folder with the shards.
    pub shards: PathBuf,
    /// Which of its splits.
    pub split: Split,
    /// How images are looked at.
    pub look: EvalView,
    /// How images are passed.
    pub passing: Passing,
    /// Side of the crops in pixels; none: the model's.
    pub resolution: Option<u32>,
    /// Kind of the frozen weights.
    pub precision: Precision,
    /// Where to run.
    pub device: Device,
    /// File for what was said of each image.
    pub predictions: Option<PathBuf>,
    /// File for the confusion matrix.
    pub confusion: Option<PathBuf>,
    /// File for the logits of each image.
    pub logits: Option<PathBuf>,
    /// Whether the adjustment that a run keeps is obeyed.
    pub adjusting: Adjusting,
    /// Joins the classes to those of a rank.
    pub level: Option<Level>,
}

impl EvalSettings {
    /// What changes logits, besides the view.
    pub(super) fn pass(&self) -> Pass {
        Pass {
            resolution: self.resolution,
            precision: self.precision,
            exact: self.passing.exact,
        }
    }

    /// Looks whether the files that are asked for can be written, before anything is computed for them.
    fn prepare_files(&self) -> Result<()> {
        let files = [
            ("predictions", &self.predictions),
            ("confusion", &self.confusion),
            ("logits", &self.logits),
        ];
        let files: Vec<(&str, &Path)> = files
            .into_iter()
            .filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
            .collect();
        for (flag, path) in &files {
            let form = TableForm::of(path);
            match form.map_err(|reason| Error::Usage(format!("--{flag} {reason}")))? {
                TableForm::Csv if *flag == "logits" => {
                    return Err(Error::Usage(format!(
                        "--logits {}: logits are written as .parquet alone\nhint: end the name in .parquet",
                        path.display()
                    )));
                }
                _ => {}
            }
        }
        prepare_outputs(&files)
    }

    /// How a run with these settings judges its test shards: no file is written but the report.
    pub fn of_run(config: &TrainConfig, tte: Tte, device: Device) -> Self {
        Self {
            shards: config.shards.clone(),
            split: Split::Test,
            look: EvalView {
                tte,
                ..config.look()
            },
            passing: config.passing(),
            resolution: config.resolution,
            precision: config.precision(),
            device,
            predictions: None,
            confusion: None,
            logits: None,
            // What was recorded in training knows of no adjustment.
            adjusting: Adjusting::LeftOut,
            level: None,
        }
    }
}

/// Evaluates a run again, on its own test shards or others with the same classes.
///
/// # Errors
/// When the run or the shards cannot be used, or their classes differ.
pub fn eval(run: &Path, model: Option<&Path>, settings: &EvalSettings) -> Result<Report> {
    settings.prepare_files()?;
    let config = run::read_config(run)?;
    let mut tuned = Tuned::read(run)?;
    let dir = split_dir(&settings.shards, settings.split)?;
    let test = Arc::new(ShardReader::open(&dir)?);
    check_classes(
        run,
        &tuned.class_names,
        &tuned.class_hash,
        &dir,
        test.manifest(),
    )?;

    let adjustment = match settings.adjusting {
        Adjusting::AsKept => Adjustment::of_run(run)?,
        Adjusting::LeftOut => None,
    };
    if let Some(adjustment) = &adjustment {
        terminal::say(format_args!(
            "{}: its adjustment is in force: {}\nhint: --no-adjust leaves it out",
            run.display(),
            adjustment.said()
        ));
    }

    let adds_texts = adjustment.as_ref().is_some_and(|one| one.texts.is_some());
    if settings.logits.is_some() && adds_texts {
        return Err(Error::Usage(format!(
            "--logits keeps logits before any adjustment, and that of {} adds others to them\nhint: give --no-adjust",
            run.display()
        )));
    }
    let model_path = hub::fetch(model.unwrap_or(&config.model))?;
    let place = (settings.device, settings.precision.kind());
    let tensors = std::mem::take(&mut tuned.file.tensors);
    let (mut model, normalisation) = load_tuned(
        run,
        &config,
        tensors,
        &model_path,
        settings.resolution,
        place,
    )?;
    let texts = added_texts(run, adjustment.as_ref(), &model.visual, &model_path)?;
    model.add_text_logits(texts);
    let settings = &EvalSettings {
        look: settled(settings.look, &model.visual),
        ..settings.clone()
    };
    let counts = Some(tuned.class_counts.as_slice());
    let groups = groups(settings, &test)?;
    let groups = groups.as_ref();
    let transfer = Transfer::open(Target::of(&model.visual, normalisation))?;
    let judged = Judged {
        run: name_of(run),
        tuned: Some(file_hash::of_file(&run.join(TUNED))?),
        model: model_path.display().to_string(),
    };
    let mut logits = keep(settings, &test, judged)?;
    let judging = Judging {
        counts,
        groups,
        adjustment: adjustment.as_ref(),
        logits: logits.as_mut(),
    };
    let (evaluation, written) = judge_with(settings, &test, &model, &transfer, judging)?;
    let written = written.and(logits.map_or(Ok(()), LogitsWriter::finish));
    let report = Report {
        parameters: Some(model.parameter_counts()),
        config: Some(config),
        template: tuned.template,
        bands: Some(test.manifest().bands),
        train_counts: Some(
            groups.map_or(tuned.class_counts.clone(), |g| g.sums(&tuned.class_counts)),
        ),
        ..report_of(
            run,
            test.manifest(),
            &model_path,
            settings,
            vec![evaluation],
            groups,
        )
    };
    report.unless_unwritten(written)
}

/// The model of a run from its tuned tensors and the files of its frozen tower, with that tower's constants.
pub(super) fn load_tuned(
    run: &Path,
    config: &TrainConfig,
    tensors: BTreeMap<String, Tensor>,
    model: &Path,
    resolution: Option<u32>,
    (device, kind): (Device, Kind),
) -> Result<(TunedModel, Normalisation)> {
    let visual = load_tower(model, resolution)?;
    let (classifier, scale) = (config.classifier, config.scale());
    let mut tuned = TunedModel::from_tuned(visual, tensors, classifier, scale, device, kind)
        .map_err(|e| Error::BadRun {
            path: run.join(TUNED),
            reason: format!("{e}\nhint: evaluate with the model that the run was trained with"),
        })?;
    tuned.visual.keep_residual_in(config.residual_kind());
    let normalisation = Normalisation::of_model(model, tuned.visual.usual_normalisation())?;
    Ok((tuned, normalisation))
}

/// The class texts whose zero-shot logits the run's adjustment adds to those of a model with this tower, where it adds any.
pub(super) fn added_texts(
    run: &Path,
    adjustment: Option<&Adjustment>,
    tower: &VisionTower,
    model: &Path,
) -> Result<Option<Classifier>> {
    if adjustment.is_none_or(|adjustment| adjustment.texts.is_none()) {
        return Ok(None);
    }
    let path = run.join(TEXTS);
    let head = Head::read(&path)?;
    let texts = class_texts(&path, &head, tower, model)?;
    let scale = head.logit_scale;
    Ok(Some(Classifier::new(ClassifierKind::Text, texts, scale)))
}

/// An image tower with the class texts of a classifier file in the place of a classifier.
pub(super) fn text_model(
    model: &Path,
    (head_path, head): (&Path, &Head),
    resolution: Option<u32>,
    (device, kind): (Device, Kind),
) -> Result<(TunedModel, Normalisation)> {
    let visual = load_tower(model, resolution)?;
    let texts = class_texts(head_path, head, &visual, model)?;
    let classifier = Classifier::new(ClassifierKind::Text, texts, head.logit_scale);
    let tower = TunedModel::new(visual, Tuner::default(), classifier, device, kind);
    let normalisation = Normalisation::of_model(model, tower.visual.usual_normalisation())?;
    Ok((tower, normalisation))
}

/// Classifies by the nearest class text in the joint space, without any training.
///
/// # Errors
/// When the model, the head or the shards cannot be used, their classes differ, or `out` is not empty.
pub fn zero_shot(
    model: &Path,
    head_file: HeadFile,
    out: Option<&Path>,
    settings: &EvalSettings,
) -> Result<Report> {
    out.map_or(Ok(()), run::require_empty)?;
    settings.prepare_files()?;
    let (head, head_path) = (head_file.read(model)?, head_file.path());
    let dir = split_dir(&settings.shards, settings.split)?;
    let test = Arc::new(ShardReader::open(&dir)?);
    check_classes(
        head_path,
        &head.class_names,
        &head.class_hash,
        &dir,
        test.manifest(),
    )?;
    let train_counts = train_counts(&settings.shards, head_path, &head)?;

    let model = &hub::fetch(model)?;
    let place = (settings.device, settings.precision.kind());
    let texts = (head_path, &head);
    let (tower, normalisation) = text_model(model, texts, settings.resolution, place)?;
    let look = settled(settings.look, &tower.visual);
    let counts = train_counts.as_deref();
    let groups = groups(settings, &test)?;
    let groups = groups.as_ref();
    if let Some(out) = out {
        std::fs::create_dir_all(out).map_err(Error::io(out))?;
    }
    let file = format!("predictions-{}.parquet", settings.look.tte.as_str());
    let kept = out.filter(|_| groups.is_none()).map(|out| out.join(file));
    let settings = &EvalSettings {
        predictions: settings.predictions.clone().or(kept),
        look,
        ..settings.clone()
    };
    let transfer = Transfer::open(Target::of(&tower.visual, normalisation))?;
    let name = out.unwrap_or(Path::new("zero-shot"));
    let judged = Judged {
        run: name_of(name),
        tuned: None,
        model: model.display().to_string(),
    };
    let mut logits = keep(settings, &test, judged)?;
    let judging = Judging {
        counts,
        groups,
        adjustment: None,
        logits: logits.as_mut(),
    };
    let (evaluation, written) = judge_with(settings, &test, &tower, &transfer, judging)?;
    let written = written.and(logits.map_or(Ok(()), LogitsWriter::finish));
    let report = Report {
        bands: train_counts.as_ref().map(|_| test.manifest().bands),
        template: head.template.clone(),
        train_counts: train_counts.map(|counts| groups.map_or(counts.clone(), |g| g.sums(&counts))),
        ..report_of(
            name,
            test.manifest(),
            model,
            settings,
            vec![evaluation],
            groups,
        )
    };
    // With its report a folder is whole, so that it comes last and where all else is there.
    let written = written.and_then(|()| out.map_or(Ok(()), |out| report.write(out)));
    report.unless_unwritten(written)
}

/// Training images of each class, for the bands; none where test shards stand alone.
fn train_counts(shards: &Path, head_path: &Path, head: &Head) -> Result<Option<Vec<u64>>> {
    if !shards.join(Split::Train.as_str()).exists() {
        return Ok(None);
    }
    let train = split_dir(shards, Split::Train)?;
    let manifest = Manifest::load(&train)?;
    // The head was compared with the test shards before, so this compares train with test.
    check_classes(
        head_path,
        &head.class_names,
        &head.class_hash,
        &train,
        &manifest,
    )?;
    Ok(Some(manifest.class_counts))
}

/// What the classes of the test shards are joined to, where that is asked for.
fn groups(settings: &EvalSettings, test: &ShardReader) -> Result<Option<Groups>> {
    let names = &test.manifest().class_names;
    let level = settings.level.as_ref();
    level.map(|level| Groups::read(level, names)).transpose()
}

/// What an evaluation knows besides its settings, the images and the model.
#[derive(Default)]
pub(super) struct Judging<'a> {
    /// Training images of each class, for the bands.
    pub(super) counts: Option<&'a [u64]>,
    /// What classes are joined to, where they are.
    pub(super) groups: Option<&'a Groups>,
    /// What is done to the logits.
    pub(super) adjustment: Option<&'a Adjustment>,
    /// Where logits are kept.
    pub(super) logits: Option<&'a mut LogitsWriter>,
}

/// The file for logits, begun where it is asked for.
fn keep(
    settings: &EvalSettings,
    test: &Arc<ShardReader>,
    judged: Judged,
) -> Result<Option<LogitsWriter>> {
    let Some(path) = &settings.logits else {
        return Ok(None);
    };
    let folder = split_dir(&settings.shards, settings.split)?;
    let shards = file_hash::of_file(&folder.join(MANIFEST_FILE))?;
    let (look, tte) = (settings.look, settings.look.tte);
    let expand = look.expand.filter(|_| tte != Tte::None);
    let view = (tte.as_str(), look.view().crops(), expand);
    let about = About::of(judged, test, shards, view, settings.pass());
    LogitsWriter::begin(path, &about, Arc::clone(test)).map(Some)
}

fn name_of(run: &Path) -> String {
    let name = run.file_name().unwrap_or(run.as_os_str());
    name.to_string_lossy().into_owned()
}

/// One evaluation, and whether the files that were asked for could be written.
pub(super) fn judge(
    settings: &EvalSettings,
    test: &Arc<ShardReader>,
    model: &TunedModel,
    transfer: &Transfer,
    counts: Option<&[u64]>,
    groups: Option<&Groups>,
) -> Result<(Evaluation, Result<()>)> {
    let judging = Judging {
        counts,
        groups,
        ..Judging::default()
    };
    judge_with(settings, test, model, transfer, judging)
}

/// As [`judge`].
pub(super) fn judge_with(
    settings: &EvalSettings,
    test: &Arc<ShardReader>,
    model: &TunedModel,
    transfer: &Transfer,
    judging: Judging,
) -> Result<(Evaluation, Result<()>)> {
    let groups = judging.groups;
    let (tower, classes) = (&model.visual, model.classifier.weight.size()[0]);
    let passes = Passes::open(
        Arc::clone(test),
        tower,
        transfer,
        (settings.look.view(), "evaluation"),
        of_passes(tower, model.parameter_counts().tuned(), classes as u64),
        settings.passing,
    )?;
    let options = EvalOptions {
        train_counts: judging.counts,
        look: settings.look,
        groups,
        reporting: Reporting::Stderr,
        adjustment: judging.adjustment,
    };
    let forward = |patches: &Tensor| model.forward(patches);
    let (device, logits) = (tower.device(), judging.logits);
    let (evaluation, judged) = evaluate(&passes, test, &options, device, (forward, None), logits)?;
    let predictions = match &settings.predictions {
        Some(path) => write_predictions(path, test, &judged),
        None => Ok(()),
    };
    let confusion = match &settings.confusion {
        Some(path) => {
            let names = &test.manifest().class_names;
            write_confusion(path, groups.map_or(names, Groups::names), &judged)
        }
        None => Ok(()),
    };
    Ok((evaluation, predictions.and(confusion)))
}
