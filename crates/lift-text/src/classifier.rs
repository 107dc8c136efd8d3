//! Class names -> rows: encode, project into the joint space, carry back through the image projection.
//!
//! `w = normalize(normalize(t P_text) P_image^T)`, one row a class: the transpose of the image projection brings the
//! text embedding into the space of the class-token feature (semantic-aware initialisation, arXiv 2309.10019).

use std::path::Path;

use lift_clip::{Clip, Head, Result, Tokenizer};
use lift_data::classes::ClassNames;
use tch::{Device, Kind, Tensor};

use crate::prompts::Template;

/// How the rows are made.
#[derive(Clone, Debug)]
pub struct ClassifierOptions {
    /// The prompt.
    pub template: Template,
    /// Texts a forward pass; bounds the memory.
    pub batch_size: usize,
    /// Where the text tower runs.
    pub device: Device,
}

/// Makes the classifier of `classes` with the model in `model`.
///
/// # Errors
/// When the model or its tokenizer cannot be loaded.
pub fn build_head(model: &Path, classes: &ClassNames, options: &ClassifierOptions) -> Result<Head> {
    let mut clip = Clip::load(model)?;
    let tokenizer = Tokenizer::of_model(model)?;
    clip.text.convert(options.device, Kind::Float);
    let proj = clip.visual.proj.to_device(options.device);
    let prompts: Vec<String> = classes
        .as_slice()
        .iter()
        .map(|name| options.template.fill(name))
        .collect();

    let mut embeds = Vec::new();
    for batch in prompts.chunks(options.batch_size.max(1)) {
        let ids = token_ids(&tokenizer, batch, clip.config.text.context_length as usize)?;
        embeds.push(tch::no_grad(|| clip.text.embed(&clip.text.features(&ids))));
    }
    let text_embeds = normalize(&Tensor::cat(&embeds, 0));
    let weight = normalize(&text_embeds.matmul(&proj.tr()));
    let name = model
        .canonicalize()
        .ok()
        .and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
    Ok(Head {
        weight: weight.to_device(Device::Cpu),
        text_embeds: Some(text_embeds.to_device(Device::Cpu)),
        class_names: classes.as_slice().to_vec(),
        class_hash: classes.hash(),
        template: options.template.as_str().into(),
        model: name.unwrap_or_else(|| model.display().to_string()),
    })
}

/// Ids (b, n), n the longest text of the batch; shorter ones are filled with zeros after their end token.
fn token_ids(tokenizer: &Tokenizer, texts: &[String], context_length: usize) -> Result<Tensor> {
    let rows = texts
        .iter()
        .map(|text| tokenizer.encode(text, context_length))
        .collect::<Result<Vec<_>>>()?;
    let longest = rows.iter().map(Vec::len).max().unwrap_or(1);
    let mut flat = vec![0i64; rows.len() * longest];
    for (row, ids) in flat.chunks_mut(longest).zip(&rows) {
        row[..ids.len()].copy_from_slice(ids);
    }
    Ok(Tensor::from_slice(&flat).view([rows.len() as i64, longest as i64]))
}

fn normalize(rows: &Tensor) -> Tensor {
    rows / rows.norm_scalaropt_dim(2, [-1i64], true).clamp_min(1e-12)
}
