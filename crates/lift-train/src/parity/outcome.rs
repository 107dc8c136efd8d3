//! What a run of some steps came to, replayed here or read from a reference.

use std::{collections::BTreeMap, path::Path};

use lift_models::{Footprint, Precision, VisionTower};
use lift_shards::split::BandEdges;
use tch::{Device, Kind, Tensor};

use super::reference::{Batches, Reference, Settings};
use crate::{
    error::Result,
    model::TunedModel,
    optim::{OptimSettings, OptimiserKind, Schedule, ScheduleKind},
    step::{Step, StepSettings},
};

/// Reference runs are two epochs long; the learning rate is a cosine stepped once an epoch.
const EPOCHS: usize = 2;

/// The numbers of a run, on the CPU.
#[derive(Debug)]
pub struct Outcome {
    /// Of each step.
    pub losses: Vec<f64>,
    /// Norm of all gradients, of each step; none where a reference has none.
    pub gradient_norms: Option<Vec<f64>>,
    /// (b, K), before the first step.
    pub first_logits: Tensor,
    /// (n, K), after the last.
    pub eval_logits: Tensor,
    /// (n, K), the mean of an image's crops.
    pub five_crop_logits: Tensor,
    /// What was tuned and the constants, before the first step.
    pub start: BTreeMap<String, Tensor>,
    /// The same after the last.
    pub end: BTreeMap<String, Tensor>,
}

/// A run that was trained here.
#[derive(Debug)]
pub struct Replayed {
    /// Its numbers.
    pub outcome: Outcome,
    /// The modules that its tensors belong to.
    pub tuners: Vec<String>,
    /// Parameters that were tuned.
    pub tuned_parameters: u64,
}

/// The three files of a replay.
pub(super) struct Files<'a> {
    model: &'a Path,
    inputs: Reference,
    run: Reference,
    pub settings: Settings,
}

impl<'a> Files<'a> {
    pub fn read(model: &'a Path, inputs: &Path, run: &Path) -> Result<Self> {
        let (inputs, run) = (Reference::read(inputs)?, Reference::read(run)?);
        let settings = Settings::of(&run)?;
        Ok(Self {
            model,
            inputs,
            run,
            settings,
        })
    }

    /// Trains from the reference's first tensors.
    pub fn replay(&self, device: Device, precision: Precision, parts: usize) -> Result<Replayed> {
        let Self { run, settings, .. } = self;
        let visual = VisionTower::open(self.model)?;
        let resolution = visual.config().resolution;
        let mut model = TunedModel::from_tuned(
            visual,
            run.starting_with("init."),
            settings.classifier,
            settings.scale,
            device,
            precision.kind(),
        )
        .map_err(|e| run.bad(e.to_string()))?;
        let tuned_parameters = model.parameter_counts().tuned();
        if let Some(told) = settings
            .tuned_params
            .filter(|&told| told != tuned_parameters)
        {
            return Err(run.bad(format!(
                "tuned_params is {told}, its init.* tensors have {tuned_parameters} parameters"
            )));
        }
        let classes = model.classifier.weight.size()[0];
        let batches = Batches::of(&self.inputs, resolution, classes)?.on(device);
        let steps = batches.labels.size()[0] as usize;
        let start = copied(&model);
        let first_logits = tch::no_grad(|| on_cpu(&model.forward(&batches.train.get(0))));
        let (mut losses, mut gradient_norms) = (Vec::new(), Vec::new());
        let of_steps = step_settings(settings, steps, precision, parts);
        let mut step = Step::new(&model, of_steps, (&batches.counts, BandEdges::default()));
        let steps_per_epoch = steps.div_ceil(EPOCHS);
        for nth in 0..steps {
            let (images, labels) = (
                batches.train.get(nth as i64),
                batches.labels.get(nth as i64),
            );
            let seen = step.run(&mut model, &images, &labels, nth / steps_per_epoch, nth)?;
            losses.push(seen.loss_sum.double_value(&[]) / labels.size()[0] as f64);
            gradient_norms.push(gradient_norm(&model));
        }
        let (eval_logits, five_crop_logits) = tch::no_grad(|| {
            let size = batches.five_crop.size();
            let crops = model.forward(&batches.five_crop.flatten(0, 1));
            let crops = crops.view([size[0], size[1], -1]);
            let mean = crops.mean_dim([1i64].as_slice(), false, Kind::Float);
            (on_cpu(&model.forward(&batches.eval)), on_cpu(&mean))
        });
        Ok(Replayed {
            outcome: Outcome {
                losses,
                gradient_norms: Some(gradient_norms),
                first_logits,
                eval_logits,
                five_crop_logits,
                start,
                end: copied(&model),
            },
            tuners: model
                .tuner
                .kinds()
                .iter()
                .map(ToString::to_string)
                .collect(),
            tuned_parameters,
        })
    }

    /// What the reference says of a run like `replayed`.
    pub fn reference(&self, replayed: &Replayed) -> Result<Outcome> {
        let run = &self.run;
        let ours = &replayed.outcome;
        let steps = Some(ours.losses.len() as i64);
        let numbers = |tensor: Tensor| Vec::<f64>::try_from(tensor.to_kind(Kind::Double));
        let losses = numbers(run.tensor("losses", &[steps])?).map_err(lift_models::Error::from)?;
        let gradient_norms = run.optional("grad_norms", &[steps])?.map(numbers);
        let gradient_norms = gradient_norms
            .transpose()
            .map_err(lift_models::Error::from)?;
        let logits = |name: &str, ours: &Tensor| {
            let shape: Vec<Option<i64>> = ours.size().into_iter().map(Some).collect();
            run.tensor(name, &shape)
        };
        let (start, end) = (run.starting_with("init."), run.starting_with("final."));
        check_same_tensors(run, &ours.start, &end)?;
        Ok(Outcome {
            losses,
            gradient_norms,
            first_logits: logits("first_logits", &ours.first_logits)?,
            eval_logits: logits("eval_logits", &ours.eval_logits)?,
            five_crop_logits: logits("five_crop_logits", &ours.five_crop_logits)?,
            start,
            end,
        })
    }
}

fn step_settings(
    settings: &Settings,
    steps: usize,
    precision: Precision,
    parts: usize,
) -> StepSettings {
    StepSettings {
        optim: OptimSettings {
            optimizer: OptimiserKind::Sgd,
            lr: settings.lr,
            head_lr: settings.lr,
            momentum: settings.momentum,
            weight_decay: settings.weight_decay,
            clip_grad: None,
            precision,
        },
        schedule: Schedule {
            kind: ScheduleKind::CosineEpoch,
            warmup: 0,
            epochs: EPOCHS,
            steps,
        },
        loss: settings.loss,
        tau: settings.tau,
        scale: settings.scale,
        label_smoothing: 0.0,
        parts,
        footprint: Footprint { fixed: 0, each: 0 },
        max_memory: None,
    }
}

fn copied(model: &TunedModel) -> BTreeMap<String, Tensor> {
    let state = model.state().into_iter();
    state
        .map(|(name, tensor)| (name, on_cpu(&tensor)))
        .collect()
}

/// A copy that no step changes.
fn on_cpu(tensor: &Tensor) -> Tensor {
    tensor.detach().to_device(Device::Cpu).copy()
}

/// Of all gradients that a step left, after its scale was taken out of them.
fn gradient_norm(model: &TunedModel) -> f64 {
    let gradients = model.tuned().into_values().map(|t| t.grad());
    let squares: Vec<Tensor> = gradients
        .filter(Tensor::defined)
        .map(|g| g.square().sum(Kind::Double))
        .collect();
    Tensor::stack(&squares, 0)
        .sum(Kind::Double)
        .sqrt()
        .double_value(&[])
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
