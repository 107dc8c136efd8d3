//! `--format merged`: the base model in its own layout, with the tuner folded into the image tower, and the classifier beside it.
//!
//! LoRA, SSF and tuned copies of the blocks' own tensors (full, BitFit, LayerNorm, AFT) change linears and LayerNorms into other
//! linears and LayerNorms ([`lift_models::VisionTower::absorb`]); what adds a path or tokens to a block, or lies between the
//! towers, does not fold and is refused. Positions that were resampled for another resolution are written as they were used.
//! Invariant: before the folder appears, the model in it was read back and compared with the run's.

use lift_models::{VisionTower, write_with_tower};
use lift_page::terminal;
use tch::{Device, Kind, Tensor};

use super::{
    beside,
    card::{self, Taken},
    source::{ExportSettings, Source, does_not_fold},
    staging::Staging,
};
use crate::{
    classifier::Classifier,
    error::{Error, Result},
    model::TunedModel,
    tuner::{Tuner, TunerKind},
};

/// The most that logits may differ, relative to the largest.
const TOLERANCE: f64 = 1e-4;

/// Images that the two models are compared on.
const COMPARED: i64 = 4;

/// Writes the model with its tuner folded in.
///
/// # Errors
/// When the run has a tuner that does not fold, is not finished, its model is not there or another, or the folder cannot be
/// written.
pub fn export_merged(settings: &ExportSettings) -> Result<()> {
    let source = Source::open(settings)?;
    source.refuse_texts()?;
    let (mut tower, normalisation) = source.tower(&source.model)?;
    let run = source.tuned_model(source.tower(&source.model)?.0)?;
    require_foldable(&source, &run)?;
    tower.absorb(&run.tuner);
    let staging = Staging::begin(&settings.out)?;
    let layout = write_with_tower(&source.model, &tower, staging.folder())?;
    let sizes = tower.config().clone();
    beside::write_classes(&source, &staging)?;
    beside::write_preprocessing(&sizes, normalisation, &staging)?;
    beside::write_classifier(&source, &run, &staging)?;
    compare(&run, VisionTower::open(staging.folder())?, &source)?;
    let taken = Taken::Merged(layout);
    card::write(&source, &sizes, normalisation, taken, &staging)?;
    staging.publish()
}

/// Refuses a run with a part that no tensor of the tower can stand for.
fn require_foldable(source: &Source, run: &TunedModel) -> Result<()> {
    let other = does_not_fold(run);
    let Some(kind) = other else { return Ok(()) };
    let why = match kind {
        TunerKind::VptShallow | TunerKind::VptDeep => "adds tokens to the blocks",
        TunerKind::Adapter | TunerKind::Adaptformer => "adds a path with a ReLU to each MLP",
        _ => "lies between the two towers",
    };
    Err(Error::BadRun {
        path: source.run.clone(),
        reason: format!(
            "{kind} {why}, which no tensor of the model can stand for\n\
             hint: --format folder takes every tuner along, and --format onnx makes one graph of it"
        ),
    })
}

/// Refuses a model whose logits are not the run's, and says how far apart they are.
fn compare(run: &TunedModel, tower: VisionTower, source: &Source) -> Result<()> {
    let side = tower.config().resolution;
    let (kind, scale) = (source.config.classifier, source.config.scale());
    let mut classifier = Classifier::new(kind, &run.classifier.weight, scale);
    classifier.bias = run.classifier.bias.as_ref().map(Tensor::detach);
    let place = (Device::Cpu, Kind::Float);
    let merged = TunedModel::new(tower, Tuner::default(), classifier, place.0, place.1);
    // Any images do, and these are the same ones each time.
    let shape = [COMPARED, 3, side, side];
    let images = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
    let images = images.sin().to_kind(Kind::Float).view(shape);
    let (ours, theirs) = tch::no_grad(|| (run.forward(&images), merged.forward(&images)));
    let apart = ((&ours - theirs).abs().max() / ours.abs().max()).double_value(&[]);
    if apart.is_nan() || apart > TOLERANCE {
        return Err(Error::BadRun {
            path: source.run.clone(),
            reason: format!(
                "the merged model's logits differ from the run's by {apart:.1e} of the largest, more than {TOLERANCE:.0e}\n\
                 hint: --format folder takes the tuner along as it is"
            ),
        });
    }
    terminal::say(format_args!(
        "the merged model's logits differ from the run's by at most {apart:.1e} of the largest"
    ));
    Ok(())
}
