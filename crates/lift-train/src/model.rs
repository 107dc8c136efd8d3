//! The tuned model: frozen tower + tuner + classifier.

use std::collections::BTreeMap;

use lift_clip::VisionTower;
use tch::{Device, Kind, Tensor};

use crate::{
    classifier::CosineClassifier,
    error::{Error, Result},
    tuner::Tuner,
};

const CLASSIFIER_WEIGHT: &str = "classifier.weight";

/// A frozen image tower with what is tuned around it.
#[derive(Debug)]
pub struct TunedModel {
    /// Frozen; none of its tensors requires a gradient.
    pub visual: VisionTower,
    /// The modules in its blocks.
    pub tuner: Tuner,
    /// On the class token.
    pub classifier: CosineClassifier,
}

impl TunedModel {
    /// Puts the parts on `device`; the tower's matrices take `kind`, what is tuned is fp32 and requires gradients.
    pub fn new(
        mut visual: VisionTower,
        mut tuner: Tuner,
        head: &Tensor,
        scale: f64,
        device: Device,
        kind: Kind,
    ) -> Self {
        visual.convert(device, kind);
        tuner.to_device(device);
        let weight = head
            .detach()
            .to_kind(Kind::Float)
            .to_device(device)
            .copy()
            .set_requires_grad(true);
        Self {
            visual,
            tuner,
            classifier: CosineClassifier { weight, scale },
        }
    }

    /// As [`TunedModel::new`], with tuner and classifier from tensors in the names of [`TunedModel::tuned`].
    ///
    /// # Errors
    /// When the classifier or a tensor of a tuner is missing, does not fit the tower, or is left over.
    pub fn from_tuned(
        visual: VisionTower,
        mut tensors: BTreeMap<String, Tensor>,
        scale: f64,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let head = tensors
            .remove(CLASSIFIER_WEIGHT)
            .ok_or_else(|| Error::Tensors(format!("{CLASSIFIER_WEIGHT} is missing")))?;
        let width = visual.config().width;
        if head.dim() != 2 || head.size()[1] != width {
            return Err(Error::Tensors(format!(
                "{CLASSIFIER_WEIGHT} has shape {:?}, the model is {width} wide",
                head.size()
            )));
        }
        let tuner = Tuner::from_tensors(tensors, visual.config())?;
        Ok(Self::new(visual, tuner, &head, scale, device, kind))
    }

    /// Normalised images (b, 3, r, r) -> logits (b, K), fp32.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        self.classifier
            .forward(&self.visual.features(images, &self.tuner))
    }

    /// Everything that is tuned, by the name it has in files; the tensors share memory with the model.
    pub fn tuned(&self) -> BTreeMap<String, Tensor> {
        let mut all: BTreeMap<String, Tensor> = self.tuner.named_tensors().into_iter().collect();
        all.insert(
            CLASSIFIER_WEIGHT.into(),
            self.classifier.weight.shallow_clone(),
        );
        all
    }

    /// Parameters that are tuned in the modules, in the classifier, and those that stay frozen.
    pub fn parameter_counts(&self) -> ParameterCounts {
        let count = |t: &Tensor| t.numel() as u64;
        ParameterCounts {
            modules: self
                .tuner
                .named_tensors()
                .iter()
                .map(|(_, t)| count(t))
                .sum(),
            classifier: count(&self.classifier.weight),
            frozen: self
                .visual
                .named_tensors()
                .iter()
                .map(|(_, t)| count(t))
                .sum(),
        }
    }
}

/// Numbers of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ParameterCounts {
    /// Tuned, in the lightweight modules.
    pub modules: u64,
    /// Tuned, in the classifier.
    pub classifier: u64,
    /// Of the image tower.
    pub frozen: u64,
}

impl ParameterCounts {
    /// Tuned parameters.
    pub fn tuned(&self) -> u64 {
        self.modules + self.classifier
    }

    /// Share of the modules in the frozen tower, the paper's "under 1 %".
    pub fn module_share(&self) -> f64 {
        self.modules as f64 / self.frozen.max(1) as f64
    }
}
