//! The classifier on the class token: cosine, linear, L2-normed weights, LayerNormed features; or class texts in the
//! joint space.

use std::fmt;

use lift_models::normalize;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{
    error::{Error, Result},
    onnx::graph::{Graph, Value},
};

/// The classifiers that can be chosen; x is the feature, w a class's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ClassifierKind {
    /// `scale <normalize(x), normalize(w)>`.
    #[default]
    Cosine,
    /// `<x, w> + b`, b starting at zero.
    Linear,
    /// `<x, normalize(w)>`.
    L2norm,
    /// `<LayerNorm(x), normalize(w)>`, the LayerNorm without weights.
    Layernorm,
    /// As cosine, in the joint space of images and texts: w is a class's text, and not tuned.
    Text,
}

impl ClassifierKind {
    /// The factor on cosines: 25 in the paper, 100 where CLIP's pre-training ends.
    pub fn usual_scale(self) -> f64 {
        match self {
            Self::Text => 100.0,
            _ => 25.0,
        }
    }
}

impl fmt::Display for ClassifierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Linear => "linear",
            Self::L2norm => "l2norm",
            Self::Layernorm => "layernorm",
            Self::Text => "text",
        })
    }
}

const WEIGHT: &str = "classifier.weight";
const TEXTS: &str = "class_texts";
const BIAS: &str = "classifier.bias";
const LAYER_NORM_EPS: f64 = 1e-12;

/// A classifier with its tuned tensors, fp32.
#[derive(Debug)]
pub struct Classifier {
    kind: ClassifierKind,
    /// One row a class (K, d); of kind text in the joint space (K, e).
    pub weight: Tensor,
    /// One a class (K); linear only.
    pub bias: Option<Tensor>,
    /// The factor on cosines; 25 in the paper.
    scale: f64,
}

impl Classifier {
    /// A classifier that starts from these rows (K, d).
    pub fn new(kind: ClassifierKind, rows: &Tensor, scale: f64) -> Self {
        let weight = rows.detach().to_kind(Kind::Float);
        let bias = (kind == ClassifierKind::Linear)
            .then(|| Tensor::zeros([rows.size()[0]], (Kind::Float, rows.device())));
        Self {
            kind,
            weight,
            bias,
            scale,
        }
    }

    /// Takes the classifier of features of this width out of named tensors, as [`Classifier::named`] gives them.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit.
    pub fn take(
        kind: ClassifierKind,
        tensors: &mut std::collections::BTreeMap<String, Tensor>,
        width: i64,
        scale: f64,
    ) -> Result<Self> {
        let mut take = |name: &str| {
            let tensor = tensors.remove(name);
            tensor.ok_or_else(|| Error::Tensors(format!("{name} is missing")))
        };
        let name = match kind {
            ClassifierKind::Text => TEXTS,
            _ => WEIGHT,
        };
        let weight = take(name)?;
        if weight.dim() != 2 || weight.size()[1] != width {
            return Err(Error::Tensors(format!(
                "{name} has shape {:?}, the model is {width} wide",
                weight.size()
            )));
        }
        let mut classifier = Self::new(kind, &weight, scale);
        if let Some(bias) = &mut classifier.bias {
            let stored = take(BIAS)?;
            if stored.size() != bias.size() {
                return Err(Error::Tensors(format!(
                    "{BIAS} has shape {:?} for {} classes",
                    stored.size(),
                    weight.size()[0]
                )));
            }
            *bias = stored.to_kind(Kind::Float);
        }
        Ok(classifier)
    }

    /// The tuned tensors by the names they have in files; they share memory with the classifier.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        if self.is_text() {
            return Vec::new();
        }
        let bias = self.bias.iter().map(|bias| (BIAS, bias));
        let all = [(WEIGHT, &self.weight)].into_iter().chain(bias);
        all.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
            .collect()
    }

    /// What it needs besides, and is not tuned: class texts.
    pub fn constants(&self) -> Option<(String, Tensor)> {
        let texts = || (TEXTS.to_owned(), self.weight.detach());
        self.is_text().then(texts)
    }

    /// Whether it compares with class texts in the joint space.
    pub fn is_text(&self) -> bool {
        self.kind == ClassifierKind::Text
    }

    /// Moves the classifier to `device`, what is tuned as leaves that require gradients.
    pub fn to_device(&mut self, device: Device) {
        let tuned = !self.is_text();
        for tensor in [&mut self.weight].into_iter().chain(&mut self.bias) {
            *tensor = tensor
                .detach()
                .to_device(device)
                .copy()
                .set_requires_grad(tuned);
        }
    }

    /// Features (b, d) -> logits (b, K), fp32.
    pub fn forward(&self, features: &Tensor) -> Tensor {
        let x = features.to_kind(Kind::Float);
        let rows = || normalize(&self.weight).tr();
        match self.kind {
            ClassifierKind::Cosine | ClassifierKind::Text => {
                normalize(&x).matmul(&rows()) * self.scale
            }
            ClassifierKind::Linear => x.linear(&self.weight, self.bias.as_ref()),
            ClassifierKind::L2norm => x.matmul(&rows()),
            ClassifierKind::Layernorm => {
                let width = x.size()[1];
                let none = None::<&Tensor>;
                x.layer_norm([width], none, none, LAYER_NORM_EPS, true)
                    .matmul(&rows())
            }
        }
    }

    /// As [`Classifier::forward`], as nodes.
    pub(crate) fn nodes(&self, graph: &mut Graph, x: &Value) -> Value {
        const NAME: &str = "classifier";
        let rows = || normalize(&self.weight.to_kind(Kind::Double));
        match self.kind {
            ClassifierKind::Cosine | ClassifierKind::Text => {
                let x = graph.normalize(x);
                graph.linear(&x, NAME, &(rows() * self.scale), None)
            }
            ClassifierKind::Linear => graph.linear(x, NAME, &self.weight, self.bias.as_ref()),
            ClassifierKind::L2norm => graph.linear(x, NAME, &rows(), None),
            ClassifierKind::Layernorm => {
                let ones = Tensor::ones([self.weight.size()[1]], (Kind::Float, Device::Cpu));
                let plain = [&ones, &ones.zeros_like()];
                let x = graph.layer_norm(x, "classifier.norm", plain, LAYER_NORM_EPS);
                graph.linear(&x, NAME, &rows(), None)
            }
        }
    }
}
