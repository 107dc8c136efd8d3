//! Checkpoint layouts -> one set of names, OpenAI's (`visual.transformer.resblocks.0.attn.in_proj_weight`).
//!
//! Hugging Face's `CLIPModel` names are renamed, its query, key and value are stacked into one `in_proj`, and its
//! projections, stored (out, in), are transposed to OpenAI's (in, out). Nothing is guessed: a tensor that is
//! missing, left over or of another shape is an error that names it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// Buffers that published checkpoints carry and no tower uses.
const UNUSED: [&str; 5] = [
    "text_model.embeddings.position_ids",
    "vision_model.embeddings.position_ids",
    "input_resolution",
    "context_length",
    "vocab_size",
];

/// Which names a file uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Hugging Face `CLIPModel`.
    HuggingFace,
    /// OpenAI's CLIP and open_clip.
    OpenAi,
}

/// Recognises the layout by the class token's name.
pub fn layout(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<Layout> {
    if tensors.contains_key("vision_model.embeddings.class_embedding") {
        Ok(Layout::HuggingFace)
    } else if tensors.contains_key("visual.class_embedding") {
        Ok(Layout::OpenAi)
    } else {
        let first = tensors
            .keys()
            .next()
            .cloned()
            .unwrap_or_else(|| "no tensors".into());
        Err(Error::UnknownLayout {
            path: path.into(),
            first,
        })
    }
}

/// Drops the buffers that no tower uses and renames Hugging Face's tensors to OpenAI's names.
pub fn to_openai_names(
    layout: Layout,
    mut tensors: BTreeMap<String, Tensor>,
) -> BTreeMap<String, Tensor> {
    tensors.retain(|name, _| !UNUSED.contains(&name.as_str()));
    if layout == Layout::OpenAi {
        return tensors;
    }
    let mut renamed = BTreeMap::new();
    for (name, tensor) in &tensors {
        if let Some((stem, end)) = name.split_once(".self_attn.q_proj.") {
            let part = |p: &str| tensors.get(&format!("{stem}.self_attn.{p}_proj.{end}"));
            if let (Some(k), Some(v)) = (part("k"), part("v")) {
                let stacked = Tensor::cat(&[tensor, k, v], 0);
                renamed.insert(
                    format!("{}.attn.in_proj_{end}", rename_prefix(stem)),
                    stacked,
                );
                continue;
            }
        }
        let stacked_with_query = [".self_attn.k_proj.", ".self_attn.v_proj."]
            .iter()
            .any(|part| {
                name.split_once(part).is_some_and(|(stem, end)| {
                    ["q", "k", "v"]
                        .iter()
                        .all(|p| tensors.contains_key(&format!("{stem}.self_attn.{p}_proj.{end}")))
                })
            });
        if stacked_with_query {
            continue;
        }
        let is_projection = name == "visual_projection.weight" || name == "text_projection.weight";
        let value = if is_projection && tensor.dim() == 2 {
            tensor.tr()
        } else {
            tensor.shallow_clone()
        };
        renamed.insert(rename(name), value);
    }
    renamed
}

fn rename(name: &str) -> String {
    let whole = match name {
        "vision_model.embeddings.class_embedding" => "visual.class_embedding",
        "vision_model.embeddings.patch_embedding.weight" => "visual.conv1.weight",
        "vision_model.embeddings.position_embedding.weight" => "visual.positional_embedding",
        "visual_projection.weight" => "visual.proj",
        "text_model.embeddings.token_embedding.weight" => "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight" => "positional_embedding",
        "text_projection.weight" => "text_projection",
        _ => "",
    };
    if !whole.is_empty() {
        return whole.into();
    }
    rename_prefix(name)
        // The misspelling is Hugging Face's.
        .replace("vision_model.pre_layrnorm.", "visual.ln_pre.")
        .replace("vision_model.post_layernorm.", "visual.ln_post.")
        .replace("text_model.final_layer_norm.", "ln_final.")
        .replace(".self_attn.out_proj.", ".attn.out_proj.")
        .replace(".layer_norm1.", ".ln_1.")
        .replace(".layer_norm2.", ".ln_2.")
        .replace(".mlp.fc1.", ".mlp.c_fc.")
        .replace(".mlp.fc2.", ".mlp.c_proj.")
}

fn rename_prefix(name: &str) -> String {
    name.replace(
        "vision_model.encoder.layers.",
        "visual.transformer.resblocks.",
    )
    .replace("text_model.encoder.layers.", "transformer.resblocks.")
}

/// Hands tensors out by name and shape, and remembers what did not fit.
///
/// Building goes on after a problem (with an empty stand-in), so that one error lists them all;
/// [`Weights::finish`] must be called before the model is used.
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    problems: Vec<String>,
}

impl Weights {
    /// Wraps the tensors of `path`, in OpenAI's names.
    pub fn new(path: &Path, tensors: BTreeMap<String, Tensor>) -> Self {
        Self {
            path: path.into(),
            tensors,
            problems: Vec::new(),
        }
    }

    /// Takes a tensor of exactly this shape as fp32.
    pub fn take(&mut self, name: &str, shape: &[i64]) -> Tensor {
        match self.tensors.remove(name) {
            Some(tensor) if tensor.size() == shape => {
                return tensor.to_kind(Kind::Float).contiguous();
            }
            Some(tensor) => {
                let problem = format!("{name}: shape {:?}, expected {shape:?}", tensor.size());
                self.problems.push(problem);
            }
            None => self
                .problems
                .push(format!("{name}: missing, expected shape {shape:?}")),
        }
        Tensor::new()
    }

    /// Refuses the checkpoint if any tensor was missing, wrongly shaped or is left over.
    ///
    /// # Errors
    /// Names each of them, at most twenty.
    pub fn finish(mut self) -> Result<()> {
        let extra = self
            .tensors
            .iter()
            .map(|(name, t)| format!("{name}: not part of this model (shape {:?})", t.size()));
        self.problems.extend(extra);
        if self.problems.is_empty() {
            return Ok(());
        }
        let total = self.problems.len();
        if total > 20 {
            self.problems.truncate(20);
            self.problems.push(format!("and {} more", total - 20));
        }
        Err(Error::BadCheckpoint {
            path: self.path,
            problems: self.problems,
        })
    }
}
