//! `lift-train predict`, and `zero-shot` on images without labels: a model opened, images asked about, answers written.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use lift_loader::Images;
use lift_models::{Normalisation, Precision, hub};
use lift_page::{number::plain, progress::Reporting, terminal};
use lift_shards::atomic;
use tch::{Device, Tensor};

use super::{
    HeadFile,
    evaluation::{added_texts, load_tuned, text_model},
    prepare_outputs, print_text, settled,
};
use crate::{
    adjustment::{Adjusting, Adjustment, DeviceAdjustment},
    error::{Error, Result},
    eval::EvalView,
    footprint::of_passes,
    model::TunedModel,
    passes::{Passes, Passing},
    predict::{Answer, Wanted, gallery, inputs, predict as ask, rows},
    run::{self, Tuned},
    transfer::{Target, Transfer},
};

/// The model that is asked.
pub enum Asked<'a> {
    /// Of a run, with its model where that has been moved.
    Run(&'a Path, Option<&'a Path>, Adjusting),
    /// A model and class texts, without training.
    ZeroShot(&'a Path, HeadFile<'a>),
}

/// How images are asked about.
#[derive(Clone, Debug)]
pub struct PredictSettings {
    /// How images are looked at.
    pub look: EvalView,
    /// How they are passed.
    pub passing: Passing,
    /// Side of the crops in pixels; none: the model's.
    pub resolution: Option<u32>,
    /// Kind of the frozen weights.
    pub precision: Precision,
    /// Where to run.
    pub device: Device,
    /// Classes of an image that are named, at most.
    pub top: usize,
    /// Classes that are less likely are not named.
    pub min_confidence: f64,
    /// Images that may be bad.
    pub max_bad: u64,
    /// File for the answers; none: standard output.
    pub out: Option<PathBuf>,
    /// File for a page with small images.
    pub gallery: Option<PathBuf>,
    /// JSON lines on standard output.
    pub json: bool,
}

/// Asks a model about images, and writes what it says.
///
/// # Errors
/// When the model or an input cannot be used, a file cannot be written, or more images are bad than may be.
pub fn predict(asked: Asked<'_>, typed: &[PathBuf], settings: &PredictSettings) -> Result<()> {
    let form = rows::form_of(settings.out.as_deref())?;
    let files = [("out", &settings.out), ("gallery", &settings.gallery)];
    let files: Vec<(&str, &Path)> = files
        .into_iter()
        .filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
        .collect();
    prepare_outputs(&files)?;
    let groups = inputs::open(typed)?;
    let opened = open(asked, settings)?;

    let images: usize = groups.iter().map(Images::len).sum();
    let progress = Reporting::Stderr.start("predict", images as u64);
    let started = Instant::now();
    let mut answers: Vec<Answer> = Vec::new();
    let keeps = form.is_some() || settings.gallery.is_some();
    let mut bad = 0;
    for group in &groups {
        opened.ask(group, settings, &progress, |said| {
            bad += said.iter().filter(|answer| answer.said.is_err()).count() as u64;
            if form.is_none() {
                print_answers(&said, &opened.names, settings.json)?;
            }
            if keeps {
                answers.extend(said);
            }
            Ok(())
        })?;
    }
    progress.finish();
    let seconds = started.elapsed().as_secs_f64();
    if let Some((path, form)) = settings.out.as_deref().zip(form) {
        rows::write(path, form, &answers, &opened.names, settings.top)?;
    }
    if let Some(path) = &settings.gallery {
        let subject = format!("{}, {}", opened.name, plain(images as u64, "image"));
        let page = gallery::page(subject, &groups, &answers, &opened.names)?;
        atomic::write(path, page.html().as_bytes())?;
    }
    terminal::say(format_args!(
        "{} in {seconds:.1} s, {:.0} images/s{}",
        plain(images as u64, "image"),
        images as f64 / seconds.max(f64::MIN_POSITIVE),
        match bad {
            0 => String::new(),
            bad => format!("; {bad} could not be judged"),
        }
    ));
    for (_, path) in files {
        terminal::say(format_args!("written: {}", path.display()));
    }
    if bad > settings.max_bad {
        return Err(Error::BadImages {
            bad,
            most: settings.max_bad,
        });
    }
    Ok(())
}

fn print_answers(said: &[Answer], names: &[String], json: bool) -> Result<()> {
    let line = if json { rows::json_line } else { rows::line };
    let lines: String = said.iter().map(|answer| line(answer, names)).collect();
    if lines.is_empty() {
        return Ok(());
    }
    print_text(&lines)
}

/// A model that can be asked.
struct Opened {
    model: TunedModel,
    transfer: Transfer,
    names: Vec<String>,
    name: String,
    look: EvalView,
    adjustment: Option<DeviceAdjustment>,
}

fn open(asked: Asked<'_>, settings: &PredictSettings) -> Result<Opened> {
    let place = (settings.device, settings.precision.kind());
    let resolution = settings.resolution;
    let mut adjustment = None;
    let (model, normalisation, names, name): (TunedModel, Normalisation, _, _) = match asked {
        Asked::Run(run, model, adjusting) => {
            if adjusting == Adjusting::AsKept {
                adjustment = Adjustment::of_run(run)?;
            }
            let config = run::read_config(run)?;
            let mut tuned = Tuned::read(run)?;
            let model = hub::fetch(model.unwrap_or(&config.model))?;
            let tensors = std::mem::take(&mut tuned.file.tensors);
            let (mut tuned_model, normalisation) =
                load_tuned(run, &config, tensors, &model, resolution, place)?;
            let texts = added_texts(run, adjustment.as_ref(), &tuned_model.visual, &model)?;
            tuned_model.add_text_logits(texts);
            (
                tuned_model,
                normalisation,
                tuned.class_names,
                run.display().to_string(),
            )
        }
        Asked::ZeroShot(path, head_file) => {
            let head = head_file.read(path)?;
            let fetched = hub::fetch(path)?;
            let texts = (head_file.path(), &head);
            let (model, normalisation) = text_model(&fetched, texts, resolution, place)?;
            let name = format!("{}, zero-shot", path.display());
            (model, normalisation, head.class_names, name)
        }
    };
    let look = settled(settings.look, &model.visual);
    let transfer = Transfer::open(Target::of(&model.visual, normalisation))?;
    if let Some(adjustment) = &adjustment {
        terminal::say(format_args!("logits are adjusted: {}", adjustment.said()));
    }
    Ok(Opened {
        adjustment: adjustment.map(|one| one.on(settings.device)),
        model,
        transfer,
        names,
        name,
        look,
    })
}

impl Opened {
    fn ask(
        &self,
        images: &Images,
        settings: &PredictSettings,
        progress: &lift_page::progress::Progress,
        take: impl FnMut(Vec<Answer>) -> Result<()>,
    ) -> Result<()> {
        let (tower, view) = (&self.model.visual, self.look.view());
        let tuned = self.model.parameter_counts().tuned();
        let passes = Passes::open(
            images.clone(),
            tower,
            &self.transfer,
            (view, "prediction"),
            of_passes(tower, tuned, self.names.len() as u64),
            settings.passing,
        )?;
        let wanted = Wanted {
            top: settings.top,
            min_confidence: settings.min_confidence,
            crops: view.crops(),
        };
        let forward = |patches: &Tensor| {
            let logits = self.model.forward(patches);
            let adjustment = self.adjustment.as_ref();
            adjustment.map_or_else(|| logits.shallow_clone(), |one| one.apply(&logits))
        };
        ask(&passes, wanted, progress, forward, take)
    }
}
