//! What is tuned where class texts classify: CLIP's two towers, and no classifier of their own.
//!
//! Image embeddings are compared with class texts in the joint space (the classifier is `text`). Tuned there are the
//! image projection, an adapter behind it (CLIP-Adapter, Gao et al. 2021, arXiv 2110.04544), the words of the prompt
//! ([`Context`], CoOp), or, as the LIFT+ authors' code has the first two, both towers' projections and an adapter behind each
//! ([`TextSide`]). Modules in the image tower go together with them.

mod context;
mod residual;
mod text_side;

use std::collections::BTreeMap;

use lift_models::{VisionTower, out_of_memory::Refused};
use tch::{Device, Kind, Tensor};

pub use context::{Context, ContextPosition, Encoder};
use residual::Residual;
pub use text_side::{ClassFeatures, TEMPLATE, TextSide};

use crate::{
    error::{Error, Result},
    onnx::graph::{Graph, Value},
    tuner::{Init, TunerKind, TunerOptions},
};

/// Share of the adapter's output in the embedding (CLIP-Adapter, section 3.2).
const ADAPTER_SHARE: f64 = 0.2;

/// The adapter's bottleneck is the joint space's width over this.
const ADAPTER_REDUCTION: i64 = 4;

const PROJECTION: &str = "image_projection";
const DOWN: &str = "clip_adapter.down.weight";
const UP: &str = "clip_adapter.up.weight";
/// The adapter of `clip-adapter-both`.
const RESIDUAL: &str = "image_adapter";
const CONTEXT: &str = "prompt_learner.ctx";

/// The tuned parts; none where class texts are compared as they are.
#[derive(Debug, Default)]
pub struct Joint {
    /// In the place of the tower's projection (d, e).
    projection: Option<Tensor>,
    /// Down (r, e) and up (e, r), without biases.
    adapter: Option<[Tensor; 2]>,
    /// That of the authors' code.
    residual: Option<Residual>,
    /// What makes the class texts, where that is tuned.
    texts: Option<TextPart>,
}

/// What is tuned of the class texts.
#[derive(Debug)]
pub enum TextPart {
    /// Learned words before, after or around the class names.
    Words(Context),
    /// A projection and an adapter behind the text tower.
    Side(TextSide),
}

impl Joint {
    /// Fresh parts as the options name them, with those of the class texts.
    ///
    /// # Errors
    /// When parts are wanted of a tower that has no joint space.
    pub fn new(
        options: &TunerOptions,
        visual: &VisionTower,
        texts: Option<TextPart>,
    ) -> Result<Self> {
        let mut init = Init::new(options.seed);
        let mut joint = Self {
            texts,
            ..Self::default()
        };
        for choice in options.tuners.choices() {
            let proj = visual.proj.as_ref();
            let proj = || proj.ok_or_else(|| no_joint_space(choice.kind));
            match choice.kind {
                TunerKind::Projection | TunerKind::ProjectionBoth => {
                    joint.projection = Some(proj()?.detach());
                }
                TunerKind::ClipAdapterBoth => {
                    let (e, r) = (proj()?.size()[1], options.size_of(choice));
                    joint.residual = Some(Residual::new(e, r, &mut init));
                }
                TunerKind::ClipAdapter => {
                    let e = proj()?.size()[1];
                    let usual = (e / ADAPTER_REDUCTION).max(1);
                    let r = choice.size.or(options.size).unwrap_or(usual);
                    joint.adapter = Some([init.kaiming(&[r, e]), init.kaiming(&[e, r])]);
                }
                _ => {}
            }
        }
        Ok(joint)
    }

    /// Takes the parts out of named tensors, as [`Joint::named`] gives them, for a tower with this projection.
    ///
    /// # Errors
    /// When one does not fit.
    pub fn take(tensors: &mut BTreeMap<String, Tensor>, visual: &VisionTower) -> Result<Self> {
        let mut take = |name: &str| tensors.remove(name).map(|t| t.to_kind(Kind::Float));
        let (projection, down, up) = (take(PROJECTION), take(DOWN), take(UP));
        let words = take(CONTEXT).map(Context::of_vectors);
        let wanted = visual.proj.as_ref().map(Tensor::size);
        if let Some(tensor) = &projection
            && Some(tensor.size()) != wanted
        {
            return Err(misfit(PROJECTION, tensor));
        }
        let width = wanted.map(|size| size[1]);
        let residual = Residual::take(RESIDUAL, tensors, width)?;
        let texts = match words {
            Some(words) => Some(TextPart::Words(words)),
            None => TextSide::take(tensors, width)?.map(TextPart::Side),
        };
        let adapter = match (down, up) {
            (None, None) => None,
            (Some(down), Some(up)) => {
                let (d, u) = (down.size(), up.size());
                if d.len() != 2 || u != [d[1], d[0]] || Some(d[1]) != width {
                    return Err(misfit(DOWN, &down));
                }
                Some([down, up])
            }
            (down, _) => {
                let missing = if down.is_some() { UP } else { DOWN };
                return Err(Error::Tensors(format!("{missing} is missing")));
            }
        };
        Ok(Self {
            projection,
            adapter,
            residual,
            texts,
        })
    }

    /// The tuned tensors by the names they have in files; they share memory with the parts.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        let mut all: Vec<(String, &Tensor)> = Vec::new();
        all.extend(self.projection.iter().map(|t| (PROJECTION.to_owned(), t)));
        if let Some([down, up]) = &self.adapter {
            all.extend([(DOWN.to_owned(), down), (UP.to_owned(), up)]);
        }
        all.extend(self.residual.iter().flat_map(|r| r.named(RESIDUAL)));
        match &self.texts {
            None => {}
            Some(TextPart::Words(words)) => all.push((CONTEXT.to_owned(), words.vectors())),
            Some(TextPart::Side(side)) => all.extend(side.named()),
        }
        let shared = all.into_iter().map(|(name, t)| (name, t.shallow_clone()));
        shared.collect()
    }

    /// What the parts are called on the command line.
    pub fn kinds(&self) -> Vec<TunerKind> {
        let projects_texts = matches!(&self.texts, Some(TextPart::Side(side)) if side.projects());
        let projection = match projects_texts {
            true => TunerKind::ProjectionBoth,
            false => TunerKind::Projection,
        };
        let all = [
            (projection, self.projection.is_some()),
            (TunerKind::ClipAdapter, self.adapter.is_some()),
            (TunerKind::ClipAdapterBoth, self.residual.is_some()),
            (TunerKind::Coop, self.words().is_some()),
        ];
        let there = all.into_iter().filter(|(_, is_there)| *is_there);
        there.map(|(kind, _)| kind).collect()
    }

    /// Moves the parts to `device` as leaves that require gradients.
    pub fn to_device(&mut self, device: Device) {
        let mut all: Vec<&mut Tensor> = self.projection.iter_mut().collect();
        all.extend(self.adapter.iter_mut().flatten());
        all.extend(self.residual.iter_mut().flat_map(Residual::tensors_mut));
        match &mut self.texts {
            None => {}
            Some(TextPart::Words(words)) => all.push(words.vectors_mut()),
            Some(TextPart::Side(side)) => all.extend(side.tensors_mut()),
        }
        for tensor in all {
            let moved = tensor.detach().to_device(device).copy();
            *tensor = moved.set_requires_grad(true);
        }
    }

    /// Features (b, d) -> embeddings (b, e), not normalised.
    pub fn embed(&self, features: &Tensor, visual: &VisionTower) -> Tensor {
        let embeds = match &self.projection {
            Some(projection) => features.matmul(projection),
            None => visual.embed(features),
        };
        if let Some(adapter) = &self.residual {
            return adapter.forward(&embeds);
        }
        match &self.adapter {
            Some([down, up]) => {
                let adapted = embeds.matmul(&down.tr()).relu().matmul(&up.tr()).relu();
                adapted * ADAPTER_SHARE + embeds * (1.0 - ADAPTER_SHARE)
            }
            None => embeds,
        }
    }

    /// As [`Joint::embed`], as nodes.
    pub(crate) fn nodes(&self, graph: &mut Graph, features: &Value, visual: &VisionTower) -> Value {
        let projection = self.projection.as_ref().or(visual.proj.as_ref());
        let embeds = match projection {
            Some(projection) => graph.linear(features, PROJECTION, &projection.tr(), None),
            None => features.clone(),
        };
        if let Some(adapter) = &self.residual {
            return adapter.nodes(graph, RESIDUAL, &embeds);
        }
        let Some([down, up]) = &self.adapter else {
            return embeds;
        };
        let adapted = graph.linear(&embeds, "clip_adapter.down", down, None);
        let adapted = graph.node("Relu", &[&adapted]);
        let adapted = graph.linear(&adapted, "clip_adapter.up", up, None);
        let adapted = graph.node("Relu", &[&adapted]);
        let shares = [ADAPTER_SHARE, 1.0 - ADAPTER_SHARE].map(|share| graph.number(share));
        let adapted = graph.node("Mul", &[&adapted, &shares[0]]);
        let embeds = graph.node("Mul", &[&embeds, &shares[1]]);
        graph.node("Add", &[&adapted, &embeds])
    }

    /// The learned words with what encodes them, where there are any.
    pub fn words(&self) -> Option<&Context> {
        match &self.texts {
            Some(TextPart::Words(words)) => Some(words),
            _ => None,
        }
    }

    /// What is tuned of the class texts.
    pub fn texts_mut(&mut self) -> Option<&mut TextPart> {
        self.texts.as_mut()
    }

    /// The same, to be read.
    pub fn text_part(&self) -> Option<&TextPart> {
        self.texts.as_ref()
    }
}

impl TextPart {
    /// The class texts (K, e), not normalised, as a leaf that requires a gradient; none where nothing makes them. Their graph is
    /// kept for [`TextPart::backward`] where it fits.
    ///
    /// # Errors
    /// When memory does not suffice for one text at once.
    pub fn texts(&self) -> std::result::Result<Option<Tensor>, Refused> {
        match self {
            Self::Words(words) => words.texts(),
            Self::Side(side) => Ok(side.texts()),
        }
    }

    /// Lets go of a kept graph.
    pub fn let_go(&self) {
        match self {
            Self::Words(words) => words.let_go(),
            Self::Side(side) => side.let_go(),
        }
    }

    /// Passes the gradient of the texts (K, e) back to what is tuned.
    pub fn backward(&self, gradient: &Tensor) {
        match self {
            Self::Words(words) => words.backward(gradient),
            Self::Side(side) => side.backward(gradient),
        }
    }

    /// Bytes that the texts take with what backward keeps of them.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Words(words) => words.bytes(),
            Self::Side(side) => side.bytes(),
        }
    }
}

fn no_joint_space(kind: TunerKind) -> Error {
    Error::Usage(format!(
        "--tuner {kind} needs a joint space of images and texts, and the model is an image tower alone\nhint: use a CLIP"
    ))
}

fn misfit(name: &str, tensor: &Tensor) -> Error {
    Error::Tensors(format!(
        "{name} has shape {:?}, which is not the model's",
        tensor.size()
    ))
}
