//! Replays a reference run of another implementation and says how far this one ends up from it.
//!
//! A reference run is a safetensors file with what was tuned before (`init.*`) and after (`final.*`) some steps of SGD,
//! the losses and logits on the way, and its settings as metadata; its batches lie in a second file. Module, blocks
//! and sizes are read off the tensors. Nothing is drawn here: the same files give the same deviations.

mod reference;

use std::{collections::BTreeMap, path::Path};

use lift_models::{Precision, VisionTower, device_name};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use reference::{Batches, Reference, Settings};

use crate::{
    classifier::ClassifierKind,
    error::Result,
    loss::{Loss, LossKind},
    model::TunedModel,
    optim::{Sgd, cosine_lr},
};

/// Reference runs are two epochs long; the learning rate is a cosine stepped once an epoch.
const EPOCHS: usize = 2;
const LOSS_TOLERANCE: f64 = 1e-4;
const LOGIT_TOLERANCE: f64 = 1e-3;
const TENSOR_TOLERANCE: f64 = 1e-3;

/// What the references' fp32 is allowed is multiplied by this in 16 bits: bfloat16 keeps 8 of fp32's 24, half 11.
fn leeway(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => 1.0,
        Precision::Bf16 => 500.0,
        Precision::Fp16 => 60.0,
    }
}

/// How far one kind of number lies from the reference at most.
#[derive(Clone, Debug, Serialize)]
pub struct Deviation {
    /// Which numbers.
    pub what: &'static str,
    /// The largest difference.
    pub largest: f64,
    /// Where it is: the step or the tensor.
    pub place: String,
    /// Whether it was divided by the reference.
    pub relative: bool,
    /// What is allowed; none where the number is only shown.
    pub tolerance: Option<f64>,
}

impl Deviation {
    /// Whether it is allowed; a difference that is no number is not.
    pub fn is_within(&self) -> bool {
        self.tolerance
            .is_none_or(|tolerance| self.largest <= tolerance)
    }
}

/// A replayed run.
#[derive(Clone, Debug, Serialize)]
pub struct Parity {
    /// The reference run's file.
    pub run: String,
    /// The modules that its tensors belong to, as `--tuner` names them.
    pub tuners: Vec<String>,
    /// From its metadata.
    pub classifier: ClassifierKind,
    /// From its metadata.
    pub loss: LossKind,
    /// Where it was replayed.
    pub device: String,
    /// In which kind.
    pub precision: Precision,
    /// Parameters that were tuned.
    pub tuned_parameters: u64,
    /// Steps that were replayed.
    pub steps: usize,
    /// One a kind of number.
    pub deviations: Vec<Deviation>,
}

impl Parity {
    /// Whether every deviation is allowed.
    pub fn is_within(&self) -> bool {
        self.deviations.iter().all(Deviation::is_within)
    }
}

/// Trains on `device` from the tensors that the reference run started from, and compares.
///
/// In 16 bits tolerances are wider, and losses are not scaled.
///
/// # Errors
/// When a file cannot be read, lacks a tensor or a setting, or the three do not go together.
pub fn replay(
    model: &Path,
    inputs: &Path,
    run: &Path,
    device: Device,
    precision: Precision,
) -> Result<Parity> {
    let inputs = Reference::read(inputs)?;
    let run = Reference::read(run)?;
    let visual = VisionTower::open(model)?;
    let resolution = visual.config().resolution;
    let settings = Settings::of(&run)?;
    let model = TunedModel::from_tuned(
        visual,
        run.starting_with("init."),
        settings.classifier,
        settings.scale,
        device,
        precision.kind(),
    )
    .map_err(|e| run.bad(e.to_string()))?;
    let tuned_parameters = model.parameter_counts().tuned();
    if settings
        .tuned_params
        .is_some_and(|told| told != tuned_parameters)
    {
        return Err(run.bad(format!(
            "tuned_params is {}, its init.* tensors have {tuned_parameters} parameters",
            settings.tuned_params.unwrap_or_default()
        )));
    }

    let classes = model.classifier.weight.size()[0];
    let batches = Batches::of(&inputs, resolution, classes)?.on(device);
    let (steps, images) = (batches.labels.size()[0], batches.labels.size()[1]);
    let losses = run.tensor("losses", &[Some(steps)])?;
    let grad_norms = run.optional("grad_norms", &[Some(steps)])?;
    let logits = |name: &str, rows: i64| run.tensor(name, &[Some(rows), Some(classes)]);
    let first_logits = logits("first_logits", images)?;
    let eval_logits = logits("eval_logits", batches.eval.size()[0])?;
    let five_crop_logits = logits("five_crop_logits", batches.five_crop.size()[0])?;
    let last = run.starting_with("final.");
    check_same_tensors(&run, &model.state(), &last)?;

    let loss_function = Loss::new(
        settings.loss,
        &batches.counts,
        settings.tau,
        settings.scale,
        device,
    );
    let mut optimiser = Sgd::new(
        model.tuned().into_values().collect(),
        settings.momentum,
        settings.weight_decay,
    );
    let mut loss = Largest::default();
    let mut norm = Largest::default();
    let mut first = Largest::default();
    let steps_per_epoch = (steps as usize).div_ceil(EPOCHS);
    for step in 0..steps {
        let z = model.forward(&batches.train.get(step));
        if step == 0 {
            first.add(difference(&z, &first_logits), || "step 0".into());
        }
        let value = loss_function.forward(&z, &batches.labels.get(step));
        let at_step = || format!("step {step}");
        loss.add(relative(&value, &losses.get(step)), at_step);
        optimiser.zero_grad();
        value.backward();
        if let Some(grad_norms) = &grad_norms {
            norm.add(
                relative(&gradient_norm(&model), &grad_norms.get(step)),
                at_step,
            );
        }
        let lr = cosine_lr(settings.lr, step as usize / steps_per_epoch, EPOCHS);
        optimiser.step(lr, None)?;
    }

    let (mut eval, mut five_crop) = (Largest::default(), Largest::default());
    tch::no_grad(|| {
        let z = model.forward(&batches.eval);
        eval.add(difference(&z, &eval_logits), String::new);
        let size = batches.five_crop.size();
        let flat = batches.five_crop.flatten(0, 1);
        let z = model.forward(&flat).view([size[0], size[1], -1]);
        let z = z.mean_dim([1i64].as_slice(), false, Kind::Float);
        five_crop.add(difference(&z, &five_crop_logits), String::new);
    });
    let mut tensors = Largest::default();
    for (name, tensor) in &model.state() {
        tensors.add(difference(tensor, &last[name]), || name.clone());
    }

    let within = |tolerance: f64| Some(tolerance * leeway(precision));
    let mut deviations = vec![
        loss.deviation("losses", true, within(LOSS_TOLERANCE)),
        first.deviation("first logits", false, within(LOGIT_TOLERANCE)),
        eval.deviation("eval logits", false, within(LOGIT_TOLERANCE)),
        five_crop.deviation("five-crop logits", false, within(LOGIT_TOLERANCE)),
        tensors.deviation("final tensors", false, within(TENSOR_TOLERANCE)),
    ];
    if grad_norms.is_some() {
        deviations.push(norm.deviation("gradient norms", true, None));
    }
    let kinds = model.tuner.kinds();
    Ok(Parity {
        run: run.path.display().to_string(),
        tuners: kinds.iter().map(ToString::to_string).collect(),
        classifier: settings.classifier,
        loss: settings.loss,
        device: device_name(device),
        precision,
        tuned_parameters,
        steps: steps as usize,
        deviations,
    })
}

/// The largest difference so far. One that is no number stays the largest.
#[derive(Default)]
struct Largest {
    value: f64,
    place: String,
}

impl Largest {
    fn add(&mut self, value: f64, place: impl FnOnce() -> String) {
        if !self.value.is_nan() && (value.is_nan() || value > self.value) {
            *self = Self {
                value,
                place: place(),
            };
        }
    }

    fn deviation(self, what: &'static str, relative: bool, tolerance: Option<f64>) -> Deviation {
        Deviation {
            what,
            largest: self.value,
            place: self.place,
            relative,
            tolerance,
        }
    }
}

/// The largest absolute difference of two tensors of the same shape; NaN where one has one.
fn difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    if ours.numel() == 0 {
        return 0.0;
    }
    let on_cpu = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double);
    let difference = on_cpu(ours) - on_cpu(theirs);
    difference.abs().max().double_value(&[])
}

/// The difference of two scalars, divided by the second.
fn relative(ours: &Tensor, theirs: &Tensor) -> f64 {
    let theirs_value = theirs.double_value(&[]);
    difference(ours, theirs) / theirs_value.abs().max(f64::MIN_POSITIVE)
}

fn gradient_norm(model: &TunedModel) -> Tensor {
    let gradients = model.tuned().into_values().map(|t| t.grad());
    let squares: Vec<Tensor> = gradients
        .filter(Tensor::defined)
        .map(|g| g.square().sum(Kind::Double))
        .collect();
    Tensor::stack(&squares, 0).sum(Kind::Double).sqrt()
}

/// Refuses a run whose `final.*` are not its `init.*`, by name and shape.
fn check_same_tensors(
    run: &Reference,
    first: &BTreeMap<String, Tensor>,
    last: &BTreeMap<String, Tensor>,
) -> Result<()> {
    for (name, tensor) in first {
        match last.get(name) {
            Some(last) if last.size() == tensor.size() => {}
            Some(last) => {
                return Err(run.bad(format!(
                    "final.{name} has shape {:?}, init.{name} {:?}",
                    last.size(),
                    tensor.size()
                )));
            }
            None => return Err(run.bad(format!("no tensor named final.{name}"))),
        }
    }
    match last.keys().find(|name| !first.contains_key(*name)) {
        Some(name) => Err(run.bad(format!("no tensor named init.{name}"))),
        None => Ok(()),
    }
}
