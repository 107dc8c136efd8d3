//! The tuned model: frozen tower + tuner + classifier, with parts between the towers where class texts classify.

use std::collections::BTreeMap;

use lift_files::memory::total_bytes;
use lift_models::{
    NoHooks, VisionTower,
    memory::{MemorySize, there},
    out_of_memory::Refused,
};
use tch::{Device, Kind, Tensor};

use crate::{
    classifier::{Classifier, ClassifierKind},
    error::{Error, Result},
    joint::{Joint, TextPart},
    recompute::Recorded,
    tuner::Tuner,
};

/// The parts of a tuned model as files have them: on the CPU, in fp32, the tower not folded.
#[derive(Debug)]
pub struct Parts {
    /// Frozen.
    pub visual: VisionTower,
    /// The modules in its blocks.
    pub tuner: Tuner,
    /// What is tuned between the towers.
    pub joint: Joint,
    /// On the class token, or of class texts.
    pub classifier: Classifier,
}

impl Parts {
    /// Tuner and classifier from tensors in the names of [`TunedModel::state`].
    ///
    /// # Errors
    /// When the classifier or a tensor of a tuner is missing, does not fit the tower, or is left over.
    pub fn take(
        visual: VisionTower,
        mut tensors: BTreeMap<String, Tensor>,
        classifier: ClassifierKind,
        scale: f64,
    ) -> Result<Self> {
        let width = classifier_width(classifier, &visual)?;
        Ok(Self {
            classifier: Classifier::take(classifier, &mut tensors, width, scale)?,
            joint: Joint::take(&mut tensors, &visual)?,
            tuner: Tuner::from_tensors(tensors, &visual)?,
            visual,
        })
    }
}

/// A frozen image tower with what is tuned around it.
#[derive(Debug)]
pub struct TunedModel {
    /// Frozen and folded; none of its tensors requires a gradient.
    pub visual: VisionTower,
    /// The modules in its blocks.
    pub tuner: Tuner,
    /// What is tuned between the towers, where class texts classify.
    pub joint: Joint,
    /// On the class token, or of class texts.
    pub classifier: Classifier,
    /// Class texts whose logits of the model before tuning are added to the tuned ones, in evaluations.
    pub beside: Option<Classifier>,
    /// Whether training computes the blocks again for the backward pass, and keeps only what enters them.
    pub recomputes: bool,
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
        visual.fold(&tuner);
        visual.convert(device, kind);
        tuner.to_device(device);
        classifier.to_device(device);
        Self {
            visual,
            tuner,
            joint: Joint::default(),
            classifier,
            beside: None,
            recomputes: false,
        }
    }

    /// With parts between the towers, put on the model's device.
    pub fn with_joint(mut self, mut joint: Joint) -> Self {
        joint.to_device(self.visual.device());
        self.joint = joint;
        self
    }

    /// As [`TunedModel::new`], with tuner and classifier from tensors in the names of [`TunedModel::state`].
    ///
    /// # Errors
    /// When the classifier or a tensor of a tuner is missing, does not fit the tower, or is left over.
    pub fn from_tuned(
        visual: VisionTower,
        tensors: BTreeMap<String, Tensor>,
        classifier: ClassifierKind,
        scale: f64,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let parts = Parts::take(visual, tensors, classifier, scale)?;
        let model = Self::new(parts.visual, parts.tuner, parts.classifier, device, kind);
        Ok(model.with_joint(parts.joint))
    }

    /// Puts another classifier in the place of its own, as leaves that require gradients.
    pub fn start_from(&mut self, mut classifier: Classifier) {
        classifier.to_device(self.visual.device());
        self.classifier = classifier;
    }

    /// Lets the modules stay as they are: training tunes the classifier alone.
    pub fn freeze_modules(&mut self) {
        for (_, tensor) in self.modules() {
            let _ = tensor.set_requires_grad(false);
        }
        // Nothing in the tower has a gradient for which it would be computed again.
        self.recomputes = false;
    }

    /// Whether no step changes what the tower gives.
    pub fn tower_is_frozen(&self) -> bool {
        let tensors = self.tuner.named_tensors();
        tensors.iter().all(|(_, tensor)| !tensor.requires_grad())
    }

    /// Normalised images (b, 3, r, r), or their patches, or features that the tower gave before (b, d), -> logits (b, K), fp32.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        let features = match images.dim() {
            2 => images.shallow_clone(),
            _ => self.visual.features(images, &self.tuner),
        };
        let logits = self.classify(&features);
        let Some(texts) = &self.beside else {
            return logits;
        };
        let frozen = match self.tuner.kinds().is_empty() {
            true => features,
            false => self.visual.features(images, &NoHooks),
        };
        logits + texts.forward(&self.visual.embed(&frozen))
    }

    /// Adds the zero-shot logits of class texts from here on, where there are any.
    pub fn add_text_logits(&mut self, texts: Option<Classifier>) {
        self.beside = texts;
        if let Some(texts) = &mut self.beside {
            texts.to_device(self.visual.device());
        }
    }

    /// As [`TunedModel::forward`], with what [`Pass::backward`] needs.
    pub fn forward_to_train(&self, images: &Tensor) -> Pass {
        if !self.recomputes || images.dim() == 2 {
            return Pass {
                logits: self.forward(images),
                recorded: None,
            };
        }
        let recorded = Recorded::features(&self.visual, &self.tuner, images);
        Pass {
            logits: self.classify(recorded.class_token()),
            recorded: Some(recorded),
        }
    }

    fn classify(&self, features: &Tensor) -> Tensor {
        if self.classifier.is_text() {
            let embeds = self.joint.embed(features, &self.visual);
            self.classifier.forward(&embeds)
        } else {
            self.classifier.forward(features)
        }
    }

    /// Brings the class texts up to date with what is tuned of them, where anything is: before each step, and after the last.
    ///
    /// # Errors
    /// When memory does not suffice for one text at once.
    pub fn update_texts(&mut self) -> std::result::Result<(), Refused> {
        let texts = self.joint.text_part().map(TextPart::texts).transpose()?;
        if let Some(texts) = texts.flatten() {
            self.classifier.weight = texts;
        }
        Ok(())
    }

    /// As [`TunedModel::update_texts`], with the refusal as an error that says what to do.
    ///
    /// # Errors
    /// When memory does not suffice for one text at once.
    pub fn bring_texts_up(&mut self, limit: Option<MemorySize>) -> Result<()> {
        let device = self.visual.device();
        self.update_texts().map_err(|refused| {
            let work = "the class texts with one text at once";
            let hint = "a smaller --model takes less";
            refused.error(device, there(device, limit, total_bytes()), work, hint)
        })?;
        // No step comes next that would pass a gradient back.
        self.joint.text_part().inspect(|texts| texts.let_go());
        Ok(())
    }

    /// Passes the gradient that a step left at the class texts back to what makes them.
    pub fn backward_texts(&self) {
        let gradient = self.classifier.weight.grad();
        if let Some(texts) = self.joint.text_part().filter(|_| gradient.defined()) {
            texts.backward(&gradient);
        }
    }

    /// Everything that is tuned, by the name it has in files; the tensors share memory with the model.
    pub fn tuned(&self) -> BTreeMap<String, Tensor> {
        let modules = self.modules().into_iter();
        modules.chain(self.classifier.named()).collect()
    }

    /// What is tuned besides the classifier.
    pub fn modules(&self) -> Vec<(String, Tensor)> {
        let mut all = self.tuner.named_tensors();
        all.extend(self.joint.named());
        all
    }

    /// What is tuned and the constants: all that the model is, besides its frozen tower.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut all = self.tuned();
        all.extend(self.tuner.constants());
        all.extend(self.classifier.constants());
        all
    }

    /// Parameters that are tuned in the modules, in the classifier, and those that stay frozen.
    pub fn parameter_counts(&self) -> ParameterCounts {
        let count = |t: &Tensor| t.numel() as u64;
        ParameterCounts {
            modules: self.modules().iter().map(|(_, t)| count(t)).sum(),
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

/// The width of what a classifier looks at: the class token's, or the joint space's.
///
/// # Errors
/// When class texts are to classify and the tower has no joint space.
pub fn classifier_width(kind: ClassifierKind, visual: &VisionTower) -> Result<i64> {
    match (kind, &visual.proj) {
        (ClassifierKind::Text, Some(proj)) => Ok(proj.size()[1]),
        (ClassifierKind::Text, None) => Err(Error::Usage(
            "an image tower without a joint space, which class texts need\nhint: use a CLIP".into(),
        )),
        _ => Ok(visual.config().width),
    }
}

/// Logits of a training batch, and what the backward pass needs.
#[derive(Debug)]
pub struct Pass {
    /// (b, K), fp32.
    pub logits: Tensor,
    recorded: Option<Recorded>,
}

impl Pass {
    /// Gradients of all that is tuned, from a loss of the logits.
    pub fn backward(self, loss: &Tensor, model: &TunedModel) {
        loss.backward();
        if let Some(recorded) = self.recorded {
            recorded.backward(&model.visual, &model.tuner);
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
