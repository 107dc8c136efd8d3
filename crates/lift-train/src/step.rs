//! One step of training: forward, loss, backward, update. Nothing in it waits for the device.

use lift_models::{
    Footprint,
    memory::MemorySize,
    out_of_memory::{Refused, caught},
};
use tch::Tensor;

use crate::{
    config::TrainConfig,
    error::Result,
    footprint::{of_steps, step_error},
    loss::Loss,
    model::TunedModel,
    optim::{Optimiser, Schedule},
};

/// What steps need besides the model and their images.
#[derive(Debug)]
pub struct Step {
    /// The rule, with its state.
    pub optimiser: Optimiser,
    loss: Loss,
    schedule: Schedule,
    parts: usize,
    label_smoothing: f64,
    footprint: Footprint,
    max_memory: Option<MemorySize>,
}

impl Step {
    /// Steps of `model` on images whose classes have these counts; `steps` are there in all epochs together.
    pub fn new(
        model: &TunedModel,
        config: &TrainConfig,
        train_counts: &[u64],
        steps: usize,
    ) -> Self {
        let device = model.visual.device();
        Self {
            optimiser: Optimiser::new(model, config.optim_settings()),
            loss: Loss::new(config.loss, train_counts, config.tau, config.scale, device),
            schedule: Schedule {
                kind: config.schedule,
                warmup: config.warmup,
                epochs: config.epochs,
                steps,
            },
            parts: config.accumulate,
            label_smoothing: config.label_smoothing,
            footprint: of_steps(config.steps(), model, config.batch_size),
            max_memory: config.max_memory,
        }
    }

    /// The learning rate of a group that begins with `lr`, at this time.
    pub fn lr(&self, lr: f64, epoch: usize, step: usize) -> f64 {
        self.schedule.lr(lr, epoch, step)
    }

    /// Step number `step` (from 0 over all epochs) on images (b, 3, r, r) or their patches, with labels (b), both on the
    /// model's device -> the sum of the images' losses, a number on the device.
    ///
    /// # Errors
    /// When memory does not suffice.
    pub fn run(
        &mut self,
        model: &mut TunedModel,
        pixels: &Tensor,
        labels: &Tensor,
        epoch: usize,
        step: usize,
    ) -> Result<Tensor> {
        let images = labels.size()[0] as usize;
        let part = images.div_ceil(self.parts);
        let work = || self.gradients(model, pixels, labels, part as i64);
        let loss_sum = caught(work).flatten().map_err(|refused| {
            let (at, limit) = (labels.device(), self.max_memory);
            step_error(refused, at, self.footprint, [images, part], limit)
        })?;
        self.optimiser.step(&self.schedule, epoch, step)?;
        Ok(loss_sum)
    }

    /// Leaves the gradients of a step at what is tuned.
    fn gradients(
        &mut self,
        model: &mut TunedModel,
        pixels: &Tensor,
        labels: &Tensor,
        part: i64,
    ) -> std::result::Result<Tensor, Refused> {
        self.optimiser.zero_grad();
        model.update_texts()?;
        let images = labels.size()[0] as f64;
        let whole = (self.parts > 1).then(|| self.loss.weight(labels));
        let mut loss_sum: Option<Tensor> = None;
        for (pixels, labels) in pixels.split(part, 0).iter().zip(labels.split(part, 0)) {
            let pass = model.forward_to_train(pixels);
            let smoothing = self.label_smoothing;
            let loss = self.loss.forward_smoothed(&pass.logits, &labels, smoothing);
            // Parts of a step: their losses' weighted mean is the step's.
            let loss = match &whole {
                Some(whole) => loss * (self.loss.weight(&labels) / whole),
                None => loss,
            };
            match self.optimiser.scaler() {
                Some(scaler) => pass.backward(&(&loss * scaler.factor()), model),
                None => pass.backward(&loss, model),
            }
            let of_part = loss.detach() * images;
            loss_sum = Some(match loss_sum {
                Some(sum) => sum + of_part,
                None => of_part,
            });
        }
        model.backward_texts();
        Ok(loss_sum.expect("a step has images"))
    }
}
