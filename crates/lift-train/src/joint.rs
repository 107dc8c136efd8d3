//! What is tuned where class texts classify: CLIP's two towers, and no classifier of their own.
//!
//! Image embeddings are compared with class texts in the joint space (the classifier is `text`). Tuned there are the
//! image projection, an adapter behind it (CLIP-Adapter, Gao et al. 2021, arXiv 2110.04544), or the words of the prompt
//! ([`Context`], CoOp). Modules in the image tower go together with them.

mod context;

use std::collections::BTreeMap;

use lift_models::VisionTower;
use tch::{Device, Kind, Tensor};

pub use context::{Context, ContextPosition, Encoder};

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
const CONTEXT: &str = "prompt_learner.ctx";

/// The tuned parts; none where class texts are compared as they are.
#[derive(Debug, Default)]
pub struct Joint {
    /// In the place of the tower's projection (d, e).
    projection: Option<Tensor>,
    /// Down (r, e) and up (e, r), without biases.
    adapter: Option<[Tensor; 2]>,
    /// Learned words before, after or around the class names.
    context: Option<Context>,
}

impl Joint {
    /// Fresh parts as the options name them; learned words are `context`.
    ///
    /// # Errors
    /// When parts are wanted of a tower that has no joint space.
    pub fn new(
        options: &TunerOptions,
        visual: &VisionTower,
        context: Option<Context>,
    ) -> Result<Self> {
        let mut init = Init::new(options.seed);
        let mut joint = Self {
            context,
            ..Self::default()
        };
        for choice in options.tuners.choices() {
            let proj = visual.proj.as_ref();
            let proj = || proj.ok_or_else(|| no_joint_space(choice.kind));
            match choice.kind {
                TunerKind::Projection => joint.projection = Some(proj()?.detach()),
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
        let context = take(CONTEXT).map(Context::of_vectors);
        let wanted = visual.proj.as_ref().map(Tensor::size);
        if let Some(tensor) = &projection
            && Some(tensor.size()) != wanted
        {
            return Err(misfit(PROJECTION, tensor));
        }
        let width = wanted.map(|size| size[1]);
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
            context,
        })
    }

    /// The tuned tensors by the names they have in files; they share memory with the parts.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        let [down, up] = match &self.adapter {
            Some([down, up]) => [Some(down), Some(up)],
            None => [None, None],
        };
        let all = [
            (PROJECTION, self.projection.as_ref()),
            (DOWN, down),
            (UP, up),
            (CONTEXT, self.context.as_ref().map(Context::vectors)),
        ];
        all.into_iter()
            .filter_map(|(name, tensor)| Some((name.to_owned(), tensor?.shallow_clone())))
            .collect()
    }

    /// What the parts are called on the command line.
    pub fn kinds(&self) -> Vec<TunerKind> {
        let all = [
            (TunerKind::Projection, self.projection.is_some()),
            (TunerKind::ClipAdapter, self.adapter.is_some()),
            (TunerKind::Coop, self.context.is_some()),
        ];
        let there = all.into_iter().filter(|(_, is_there)| *is_there);
        there.map(|(kind, _)| kind).collect()
    }

    /// Moves the parts to `device` as leaves that require gradients.
    pub fn to_device(&mut self, device: Device) {
        let context = self.context.as_mut().map(Context::vectors_mut);
        let adapter = self.adapter.iter_mut().flatten();
        for tensor in self.projection.iter_mut().chain(adapter).chain(context) {
            *tensor = tensor
                .detach()
                .to_device(device)
                .copy()
                .set_requires_grad(true);
        }
    }

    /// Features (b, d) -> embeddings (b, e), not normalised.
    pub fn embed(&self, features: &Tensor, visual: &VisionTower) -> Tensor {
        let embeds = match &self.projection {
            Some(projection) => features.matmul(projection),
            None => visual.embed(features),
        };
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
    pub fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    /// Gives learned words what encodes them.
    pub fn encode_with(&mut self, encoder: Encoder) {
        if let Some(context) = &mut self.context {
            context.encode_with(encoder);
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
