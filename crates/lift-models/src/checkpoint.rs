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

use crate::{
    error::{Error, Result},
    finite::not_finite,
    timm,
};

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
    /// timm's `VisionTransformer`, an image tower alone.
    Timm,
}

/// Recognises the layout by the class token's name.
pub fn layout(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<Layout> {
    if tensors.contains_key("vision_model.embeddings.class_embedding") {
        Ok(Layout::HuggingFace)
    } else if tensors.contains_key("visual.class_embedding") {
        Ok(Layout::OpenAi)
    } else if tensors.contains_key("cls_token") {
        Ok(Layout::Timm)
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
///
/// # Errors
/// When a query, key or value projection is missing or differs from the other two in shape; `path` and the name in
/// the file stand in the message.
pub fn to_openai_names(
    path: &Path,
    layout: Layout,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>> {
    tensors.retain(|name, _| !UNUSED.contains(&name.as_str()));
    if layout != Layout::HuggingFace {
        return Ok(tensors);
    }
    let mut renamed = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, tensor) in &tensors {
        if let Some((stem, end)) = attention_input(name) {
            let stacked_name = rename(&format!("{stem}.attn.in_proj_{end}"));
            // The first of the three that the file has stacks them.
            renamed
                .entry(stacked_name)
                .or_insert_with(|| stack(&tensors, stem, end, &mut problems));
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
    if problems.is_empty() {
        return Ok(renamed);
    }
    Err(bad_checkpoint(path, problems))
}

/// What is before and after `.self_attn.{q,k,v}_proj.` in a name that has it.
fn attention_input(name: &str) -> Option<(&str, &str)> {
    ["q", "k", "v"]
        .iter()
        .find_map(|part| name.split_once(&format!(".self_attn.{part}_proj.")))
}

/// Query, key and value of a block, one below the other; an empty stand-in where they do not fit.
fn stack(
    tensors: &BTreeMap<String, Tensor>,
    stem: &str,
    end: &str,
    problems: &mut Vec<String>,
) -> Tensor {
    let names = ["q", "k", "v"].map(|part| format!("{stem}.self_attn.{part}_proj.{end}"));
    let dimensions = if end == "bias" { 1 } else { 2 };
    let known = problems.len();
    let mut parts: Vec<&Tensor> = Vec::new();
    for name in &names {
        match tensors.get(name) {
            None => problems.push(format!("{name}: missing")),
            Some(tensor) if tensor.dim() != dimensions => problems.push(format!(
                "{name}: shape {:?}, expected {dimensions} dimensions",
                tensor.size()
            )),
            Some(tensor) => match parts.first() {
                Some(first) if first.size() != tensor.size() => problems.push(format!(
                    "{name}: shape {:?}, but the block's other projections have {:?}",
                    tensor.size(),
                    first.size()
                )),
                _ => parts.push(tensor),
            },
        }
    }
    if problems.len() > known {
        return Tensor::new();
    }
    Tensor::cat(&parts, 0)
}

/// Whole names: Hugging Face's and OpenAI's.
const NAMES: [(&str, &str); 7] = [
    (
        "vision_model.embeddings.class_embedding",
        "visual.class_embedding",
    ),
    (
        "vision_model.embeddings.patch_embedding.weight",
        "visual.conv1.weight",
    ),
    (
        "vision_model.embeddings.position_embedding.weight",
        "visual.positional_embedding",
    ),
    ("visual_projection.weight", "visual.proj"),
    (
        "text_model.embeddings.token_embedding.weight",
        "token_embedding.weight",
    ),
    (
        "text_model.embeddings.position_embedding.weight",
        "positional_embedding",
    ),
    ("text_projection.weight", "text_projection"),
];

/// Parts of names, in an order in which none spoils a later one, whichever way they are replaced.
const PARTS: [(&str, &str); 10] = [
    (
        "vision_model.encoder.layers.",
        "visual.transformer.resblocks.",
    ),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    // The misspelling is Hugging Face's.
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),
    ("vision_model.post_layernorm.", "visual.ln_post."),
    ("text_model.final_layer_norm.", "ln_final."),
    (".self_attn.out_proj.", ".attn.out_proj."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
];

fn rename(name: &str) -> String {
    if let Some((_, openai)) = NAMES.iter().find(|(hf, _)| *hf == name) {
        return (*openai).into();
    }
    PARTS.iter().fold(name.to_owned(), |name, (hf, openai)| {
        name.replace(hf, openai)
    })
}

/// Stands for query, key and value in the name of what is one tensor here.
const STACKED: &str = "{q,k,v}";

/// The name in a Hugging Face file of what is `name` here; stacked projections get all three.
fn hugging_face_name(name: &str) -> String {
    if let Some((hf, _)) = NAMES.iter().find(|(_, openai)| *openai == name) {
        return (*hf).into();
    }
    PARTS
        .iter()
        .fold(name.to_owned(), |name, (hf, openai)| {
            name.replace(openai, hf)
        })
        .replace(".attn.in_proj_", &format!(".self_attn.{STACKED}_proj."))
}

/// What is `name` here, under the names of a Hugging Face file and turned as it has it: the way back of [`to_openai_names`].
pub fn to_hugging_face(name: &str, tensor: &Tensor) -> Vec<(String, Tensor)> {
    let stacked = hugging_face_name(name);
    if stacked.contains(STACKED) {
        let parts = ["q", "k", "v"].into_iter().zip(tensor.chunk(3, 0));
        let named = parts.map(|(part, tensor)| (stacked.replace(STACKED, part), tensor));
        return named.collect();
    }
    let is_projection = name == "visual.proj" || name == "text_projection";
    let tensor = if is_projection {
        tensor.tr()
    } else {
        tensor.shallow_clone()
    };
    vec![(stacked, tensor)]
}

fn bad_checkpoint(path: &Path, problems: Vec<String>) -> Error {
    Error::BadCheckpoint {
        path: path.into(),
        problems: at_most_twenty(problems),
    }
}

fn at_most_twenty(mut lines: Vec<String>) -> Vec<String> {
    let total = lines.len();
    if total > 20 {
        lines.truncate(20);
        lines.push(format!("and {} more", total - 20));
    }
    lines
}

/// Hands tensors out by name and shape, and remembers what did not fit.
///
/// Building goes on after a problem (with an empty stand-in), so that one error lists them all;
/// [`Weights::finish`] must be called before the model is used.
pub struct Weights {
    path: PathBuf,
    layout: Layout,
    tensors: BTreeMap<String, Tensor>,
    problems: Vec<String>,
    not_finite: Vec<String>,
}

impl Weights {
    /// Wraps the tensors of `path`, in OpenAI's names; messages give the file's names too, which are those of `layout`.
    pub fn new(path: &Path, layout: Layout, tensors: BTreeMap<String, Tensor>) -> Self {
        Self {
            path: path.into(),
            layout,
            tensors,
            problems: Vec::new(),
            not_finite: Vec::new(),
        }
    }

    /// Takes a tensor of exactly this shape as fp32, whose entries must be finite; a scalar may be stored as a row of one.
    pub fn take(&mut self, name: &str, shape: &[i64]) -> Tensor {
        match self.tensors.remove(name) {
            Some(tensor) if tensor.size() == shape || (shape.is_empty() && tensor.numel() == 1) => {
                let tensor = tensor.to_kind(Kind::Float).reshape(shape).contiguous();
                self.not_finite
                    .extend(not_finite(&self.shown(name), &tensor));
                return tensor;
            }
            Some(tensor) => {
                let problem = format!(
                    "{}: shape {:?}, expected {shape:?}",
                    self.shown(name),
                    tensor.size()
                );
                self.problems.push(problem);
            }
            None => self.problems.push(format!(
                "{}: missing, expected shape {shape:?}",
                self.shown(name)
            )),
        }
        Tensor::new()
    }

    /// The name in the file, and where that is another one, the name here: the shape belongs to the latter.
    fn shown(&self, name: &str) -> String {
        let in_file = match self.layout {
            Layout::OpenAi => return name.into(),
            Layout::HuggingFace => hugging_face_name(name),
            Layout::Timm => timm::name_in_file(name),
        };
        if in_file == name {
            return in_file;
        }
        format!("{in_file} (here {name})")
    }

    /// Refuses the checkpoint if any tensor was missing, wrongly shaped, not finite or is left over.
    ///
    /// # Errors
    /// Names each of them, at most twenty.
    pub fn finish(mut self) -> Result<()> {
        let extra: Vec<String> = self
            .tensors
            .iter()
            .map(|(name, t)| {
                let name = self.shown(name);
                format!("{name}: not part of this model (shape {:?})", t.size())
            })
            .collect();
        self.problems.extend(extra);
        if !self.problems.is_empty() {
            return Err(bad_checkpoint(&self.path, self.problems));
        }
        if !self.not_finite.is_empty() {
            return Err(Error::NotFinite {
                path: self.path,
                tensors: at_most_twenty(self.not_finite),
            });
        }
        Ok(())
    }
}
