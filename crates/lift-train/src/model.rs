//! The tuned model: frozen tower + tuner + classifier.

use std::collections::BTreeMap;

use lift_clip::VisionTower;
use tch::{Device, Kind, Tensor};

use crate::{
    classifier::{Classifier, ClassifierKind},
    error::Result,
    tuner::Tuner,
};

/// A frozen image tower with what is tuned around it.
#[derive(Debug)]
pub struct TunedModel {
    /// Frozen; none of its tensors requires a gradient.
    pub visual: VisionTower,
    /// The modules in its blocks.
    pub tuner: Tuner,
    /// On the class token.
    pub classifier: Classifier,
}

impl TunedModel {
    /// Puts the parts on `device`; the tower's matrices take `kind`, what is tuned is fp32 and requires gradients.
    pub fn new(
        mut visual: VisionTower,
        mut tuner: Tuner,
        mut classifier: Classifier,
        device: Device,
        kind: Kind,
    ) -> Self {
        visual.convert(device, kind);
        tuner.to_device(device);
        classifier.to_device(device);
        Self {
            visual,
            tuner,
            classifier,
        }
    }

    /// As [`TunedModel::new`], with tuner and classifier from tensors in the names of [`TunedModel::state`].
    ///
    /// # Errors
    /// When the classifier or a tensor of a tuner is missing, does not fit the tower, or is left over.
    pub fn from_tuned(
        visual: VisionTower,
        mut tensors: BTreeMap<String, Tensor>,
        classifier: ClassifierKind,
        scale: f64,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let width = visual.config().width;
        let classifier = Classifier::take(classifier, &mut tensors, width, scale)?;
        let tuner = Tuner::from_tensors(tensors, &visual)?;
        Ok(Self::new(visual, tuner, classifier, device, kind))
    }

    /// Puts another classifier in the place of its own, as leaves that require gradients.
    pub fn start_from(&mut self, mut classifier: Classifier) {
        classifier.to_device(self.visual.device());
        self.classifier = classifier;
    }

    /// Normalised images (b, 3, r, r) -> logits (b, K), fp32.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        self.classifier
            .forward(&self.visual.features(images, &self.tuner))
    }

    /// Everything that is tuned, by the name it has in files; the tensors share memory with the model.
    pub fn tuned(&self) -> BTreeMap<String, Tensor> {
        let modules = self.tuner.named_tensors().into_iter();
        modules.chain(self.classifier.named()).collect()
    }

    /// What is tuned and the modules' constants: all that the model is, besides its frozen tower.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut all = self.tuned();
        all.extend(self.tuner.constants());
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
            classifier: self.classifier.named().iter().map(|(_, t)| count(t)).sum(),
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
