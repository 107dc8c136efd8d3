//! What the LIFT+ authors' code tunes on the side of the class texts: the text tower's projection, and an adapter behind it.
//!
//! The features of the texts are frozen, and computed once; the class texts are a function of them and of what is tuned here, and
//! are computed anew for every step. Invariant: a step's graph is kept until the loss has been passed back to it.

use std::{cell::RefCell, collections::BTreeMap};

use lift_models::{TextTower, Tokenizer};
use tch::{Device, Kind, Tensor};

use super::Residual;
use crate::{
    error::{Error, Result},
    tuner::{Init, TunerKind, TunerOptions},
};

/// The prompt of the authors' code.
pub const TEMPLATE: &str = "a photo of a {}.";

/// Texts that are encoded at once.
const CHUNK: usize = 128;

pub(super) const PROJECTION: &str = "text_projection";
pub(super) const ADAPTER: &str = "text_adapter";

/// The tuned parts, and what they work on.
#[derive(Debug)]
pub struct TextSide {
    /// In the place of the text tower's projection (d, e).
    projection: Option<Tensor>,
    adapter: Option<Residual>,
    frozen: Option<ClassFeatures>,
    /// The texts (K, e) of this step with their graph.
    kept: RefCell<Option<Tensor>>,
}

impl TextSide {
    /// Fresh parts as the options name them; none where they name none.
    pub fn new(options: &TunerOptions, tower: &TextTower) -> Option<Self> {
        // Other draws than the image side's.
        let mut init = Init::new(options.seed.wrapping_add(1));
        let mut side = Self::of_parts(None, None);
        for choice in options.tuners.choices() {
            match choice.kind {
                TunerKind::ProjectionBoth => {
                    side.projection = Some(tower.text_projection.detach());
                }
                TunerKind::ClipAdapterBoth => {
                    let width = tower.text_projection.size()[1];
                    let size = options.size_of(choice);
                    side.adapter = Some(Residual::new(width, size, &mut init));
                }
                _ => {}
            }
        }
        side.is_there().then_some(side)
    }

    fn of_parts(projection: Option<Tensor>, adapter: Option<Residual>) -> Self {
        Self {
            projection,
            adapter,
            frozen: None,
            kept: RefCell::new(None),
        }
    }

    /// Whether the projection is tuned.
    pub(super) fn projects(&self) -> bool {
        self.projection.is_some()
    }

    fn is_there(&self) -> bool {
        self.projection.is_some() || self.adapter.is_some()
    }

    /// Takes the parts out of named tensors: enough where the class texts are kept.
    ///
    /// # Errors
    /// When one does not fit a joint space of this width.
    pub(super) fn take(
        tensors: &mut BTreeMap<String, Tensor>,
        width: Option<i64>,
    ) -> Result<Option<Self>> {
        let projection = tensors.remove(PROJECTION).map(|t| t.to_kind(Kind::Float));
        if let Some(tensor) = &projection {
            let size = tensor.size();
            if size.len() != 2 || size.last().copied() != width {
                return Err(super::misfit(PROJECTION, tensor));
            }
        }
        let side = Self::of_parts(projection, Residual::take(ADAPTER, tensors, width)?);
        Ok(side.is_there().then_some(side))
    }

    /// Gives the parts the features of the class texts.
    pub fn work_on(&mut self, mut features: ClassFeatures, device: Device) {
        for tensor in [&mut features.features, &mut features.projection] {
            *tensor = tensor.detach().to_device(device);
        }
        self.frozen = Some(features);
    }

    /// The class texts (K, e), not normalised, as a leaf that requires a gradient; none where the features are not there.
    pub fn texts(&self) -> Option<Tensor> {
        let frozen = self.frozen.as_ref()?;
        let projection = self.projection.as_ref().unwrap_or(&frozen.projection);
        let texts = frozen.features.matmul(projection);
        let texts = match &self.adapter {
            Some(adapter) => adapter.forward(&texts),
            None => texts,
        };
        let leaf = texts.detach().set_requires_grad(true);
        self.kept.replace(Some(texts));
        Some(leaf)
    }

    /// Lets go of the graph.
    pub(super) fn let_go(&self) {
        drop(self.kept.take());
    }

    /// Passes the gradient of the texts (K, e) back to the parts.
    pub fn backward(&self, gradient: &Tensor) {
        if let Some(texts) = self.kept.take() {
            (texts * gradient).sum(Kind::Float).backward();
        }
    }

    /// Bytes that the features and a step's graph take.
    pub(super) fn bytes(&self) -> u64 {
        self.frozen.as_ref().map_or(0, |frozen| {
            let values = frozen.features.numel() + frozen.projection.numel();
            let texts = frozen.features.size()[0] * frozen.projection.size()[1];
            // The texts, what is standardised of them, the adapted, and the gradient of each.
            4 * (values as u64 + 6 * texts as u64)
        })
    }

    pub(super) fn named(&self) -> Vec<(String, &Tensor)> {
        let projection = self.projection.iter();
        let mut all: Vec<_> = projection.map(|t| (PROJECTION.to_owned(), t)).collect();
        all.extend(self.adapter.iter().flat_map(|a| a.named(ADAPTER)));
        all
    }

    pub(super) fn tensors_mut(&mut self) -> Vec<&mut Tensor> {
        let adapter = self.adapter.iter_mut().flat_map(Residual::tensors_mut);
        self.projection.iter_mut().chain(adapter).collect()
    }
}

/// What the text side works on; frozen.
#[derive(Debug)]
pub struct ClassFeatures {
    /// (K, d), before the projection.
    pub features: Tensor,
    /// The text tower's own (d, e).
    pub projection: Tensor,
}

impl ClassFeatures {
    /// Of [`TEMPLATE`] with each name.
    ///
    /// # Errors
    /// When a prompt is too long for the tower, or the tokenizer is another model's.
    pub fn of(tower: &TextTower, tokenizer: &Tokenizer, names: &[String]) -> Result<Self> {
        let most = tower.config().context_length as usize;
        let prompts = names
            .iter()
            .map(|name| {
                let prompt = TEMPLATE.replace("{}", &name.replace('_', " "));
                let ids = super::context::ids(&prompt, tower, tokenizer)?;
                if ids.len() > most {
                    return Err(Error::Config(format!(
                        "class {name:?}: its prompt has {} tokens, the text tower reads {most}\nhint: a shorter name",
                        ids.len()
                    )));
                }
                Ok(ids)
            })
            .collect::<Result<Vec<_>>>()?;
        let chunks: Vec<Tensor> = tch::no_grad(|| {
            let chunks = prompts.chunks(CHUNK);
            chunks.map(|chunk| tower.features(&padded(chunk))).collect()
        });
        Ok(Self {
            features: Tensor::cat(&chunks, 0),
            projection: tower.text_projection.shallow_clone(),
        })
    }
}

/// Rows as long as the longest (k, n); what follows a text's end is never looked at.
fn padded(rows: &[Vec<i64>]) -> Tensor {
    let n = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut flat = Vec::with_capacity(rows.len() * n);
    for row in rows {
        flat.extend(row);
        flat.resize(flat.len() + n - row.len(), 0);
    }
    Tensor::from_slice(&flat).view([rows.len() as i64, n as i64])
}
