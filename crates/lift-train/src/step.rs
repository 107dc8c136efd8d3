//! One step of training: forward, loss, backward, update. Nothing in it waits for the device.

use lift_models::{
    Footprint,
    memory::MemorySize,
    out_of_memory::{Refused, caught},
};
use lift_shards::split::{Band, BandEdges};
use tch::{Device, Kind, Tensor};

use crate::{
    error::Result,
    footprint::step_error,
    loss::{Loss, LossKind},
    model::TunedModel,
    optim::{OptimSettings, Optimiser, Schedule},
};

/// What decides a step besides the model, its images and their classes.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings {
    /// Of the update.
    pub optim: OptimSettings,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// Which loss.
    pub loss: LossKind,
    /// Strength of the logit adjustment.
    pub tau: f64,
    /// Factor on the cosines of the classifier.
    pub scale: f64,
    /// Share of a label that is spread over all classes.
    pub label_smoothing: f64,
    /// Parts that the images of a step are passed in.
    pub parts: usize,
    /// How much memory a step is expected to take.
    pub footprint: Footprint,
    /// How much it may take; none: what there is.
    pub max_memory: Option<MemorySize>,
}

/// What steps need besides the model and their images.
#[derive(Debug)]
pub struct Step {
    /// The rule, with its state.
    pub optimiser: Optimiser,
    loss: Loss,
    settings: StepSettings,
    /// (K, 3): 1 at the band of each class.
    bands: Tensor,
}

/// What a step saw, on the device.
#[derive(Debug)]
pub struct Seen {
    /// The sum of the images' losses, a number.
    pub loss_sum: Tensor,
    /// (2, 3): images whose class had the largest logit, and all images, by band: many, medium, few.
    pub hits: Tensor,
}

impl Step {
    /// Steps of `model` on images whose classes have these counts and bands.
    pub fn new(
        model: &TunedModel,
        settings: StepSettings,
        (train_counts, edges): (&[u64], BandEdges),
    ) -> Self {
        let device = model.visual.device();
        let StepSettings {
            loss, tau, scale, ..
        } = settings;
        Self {
            optimiser: Optimiser::new(model, settings.optim),
            loss: Loss::new(loss, train_counts, tau, scale, device),
            settings,
            bands: bands(train_counts, edges, device),
        }
    }

    /// The learning rate of a group that begins with `lr`, at this time.
    pub fn lr(&self, lr: f64, epoch: usize, step: usize) -> f64 {
        self.settings.schedule.lr(lr, epoch, step)
    }

    /// Step number `step` (from 0 over all epochs) on images (b, 3, r, r) or their patches, with labels (b), both on the
    /// model's device -> what was seen of them.
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
    ) -> Result<Seen> {
        let images = labels.size()[0] as usize;
        let part = images.div_ceil(self.settings.parts);
        let work = || self.gradients(model, pixels, labels, part as i64);
        let seen = caught(work).flatten().map_err(|refused| {
            let (at, limit) = (labels.device(), self.settings.max_memory);
            step_error(refused, at, self.settings.footprint, [images, part], limit)
        })?;
        self.optimiser.step(&self.settings.schedule, epoch, step)?;
        Ok(seen)
    }

    /// Leaves the gradients of a step at what is tuned.
    fn gradients(
        &mut self,
        model: &mut TunedModel,
        pixels: &Tensor,
        labels: &Tensor,
        part: i64,
    ) -> std::result::Result<Seen, Refused> {
        self.optimiser.zero_grad();
        model.update_texts()?;
        let images = labels.size()[0] as f64;
        let whole = (self.settings.parts > 1).then(|| self.loss.weight(labels));
        let mut seen: Option<Seen> = None;
        for (pixels, labels) in pixels.split(part, 0).iter().zip(labels.split(part, 0)) {
            let pass = model.forward_to_train(pixels);
            let smoothing = self.settings.label_smoothing;
            let hits = self.hits(&pass.logits, &labels);
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
            seen = Some(match seen {
                Some(seen) => Seen {
                    loss_sum: seen.loss_sum + of_part,
                    hits: seen.hits + hits,
                },
                None => Seen {
                    loss_sum: of_part,
                    hits,
                },
            });
        }
        model.backward_texts();
        Ok(seen.expect("a step has images"))
    }

    /// Logits (b, K) and labels (b) -> (2, 3), as [`Seen::hits`].
    fn hits(&self, logits: &Tensor, labels: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let of = self.bands.index_select(0, labels);
            let right = logits.argmax(1, false).eq_tensor(labels);
            let right = &of * right.to_kind(Kind::Float).unsqueeze(1);
            Tensor::stack(&[right, of], 0).sum_dim_intlist([1i64].as_slice(), false, Kind::Float)
        })
    }
}

fn bands(train_counts: &[u64], edges: BandEdges, device: Device) -> Tensor {
    let of_class = |&count: &u64| match edges.band(count) {
        Band::Many => [1.0f32, 0.0, 0.0],
        Band::Medium => [0.0, 1.0, 0.0],
        Band::Few => [0.0, 0.0, 1.0],
    };
    let rows: Vec<[f32; 3]> = train_counts.iter().map(of_class).collect();
    Tensor::from_slice2(&rows).to_device(device)
}
