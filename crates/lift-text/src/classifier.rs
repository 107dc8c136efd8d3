//! Class names -> rows: encode, project into the joint space, carry back through the image projection.
//!
//! `w = normalize(normalize(t P_text) P_image^T)`, one row a class: the transpose of the image projection brings the
//! text embedding into the space of the class-token feature (semantic-aware initialisation, arXiv 2309.10019). Several
//! texts of a class are ensembled: each normalised, their mean normalised. Memory holds one batch of texts and one vector
//! a class, however many texts there are.

use std::path::Path;

use lift_clip::{Clip, Error, Head, Result, TextConfig, Tokenizer, hub, normalize};
use lift_data::{classes::ClassNames, progress::Reporting};
use tch::{Device, Kind, Tensor};

use crate::prompts::Prompts;

/// How the rows are made.
#[derive(Clone, Debug)]
pub struct ClassifierOptions {
    /// The texts of each class.
    pub prompts: Prompts,
    /// Texts a forward pass; bounds the memory.
    pub batch_size: usize,
    /// Where the text tower runs.
    pub device: Device,
}

/// Makes the classifier of `classes` with the model in `model`.
///
/// # Errors
/// When the model or its tokenizer cannot be loaded, or the two do not belong together.
pub fn build_head(model: &Path, classes: &ClassNames, options: &ClassifierOptions) -> Result<Head> {
    let mut clip = Clip::load(model)?;
    let tokenizer = Tokenizer::of_model(model)?;
    clip.text.convert(options.device, Kind::Float);
    let proj = clip.image_projection().to_device(options.device);
    let classes_and_texts = classes.as_slice().iter().enumerate();
    let mut texts = classes_and_texts.flat_map(|(label, name)| {
        let texts = options.prompts.texts(label, name);
        texts.into_iter().map(move |text| (label as i64, text))
    });
    let mut sums = Tensor::zeros(
        [classes.len() as i64, clip.config.embed_dim],
        (Kind::Float, options.device),
    );
    let total = options.prompts.count(classes.len()) as u64;
    let progress = Reporting::Stderr.start_of("encode", "texts", total);
    loop {
        let (labels, batch): (Vec<i64>, Vec<String>) =
            texts.by_ref().take(options.batch_size.max(1)).unzip();
        if batch.is_empty() {
            break;
        }
        let ids = token_ids(&tokenizer, &batch, &clip.config.text)?;
        let embeds = tch::no_grad(|| clip.text.embed(&clip.text.features(&ids)));
        let labels = Tensor::from_slice(&labels).to_device(options.device);
        let _ = sums.index_add_(0, &labels, &normalize(&embeds));
        progress.advance(batch.len() as u64);
    }
    progress.finish();
    let text_embeds = normalize(&sums);
    let weight = normalize(&text_embeds.matmul(&proj.tr()));
    Ok(Head {
        weight: weight.to_device(Device::Cpu),
        text_embeds: Some(text_embeds.to_device(Device::Cpu)),
        class_names: classes.as_slice().to_vec(),
        class_hash: classes.hash(),
        template: options.prompts.summary(),
        model: hub::short_name(model),
        logit_scale: clip.logit_scale.exp().double_value(&[]),
    })
}

/// Ids (b, n), n the longest text of the batch; shorter ones are filled with zeros after their end token.
///
/// # Errors
/// When the tokenizer gives ids that are not the model's.
fn token_ids(tokenizer: &Tokenizer, texts: &[String], config: &TextConfig) -> Result<Tensor> {
    let encode = |text: &String| {
        let ids = tokenizer.encode(text, config.context_length as usize)?;
        config.check_ids(&ids).map_err(|reason| Error::Tokenizer {
            path: tokenizer.path().into(),
            reason: format!(
                "{text:?}: {reason}\nhint: tokenizer.json and config.json must be the same model's"
            ),
        })?;
        Ok(ids)
    };
    let rows = texts.iter().map(encode).collect::<Result<Vec<_>>>()?;
    let longest = rows.iter().map(Vec::len).max().unwrap_or(1);
    let mut flat = vec![0i64; rows.len() * longest];
    for (row, ids) in flat.chunks_mut(longest).zip(&rows) {
        row[..ids.len()].copy_from_slice(ids);
    }
    Ok(Tensor::from_slice(&flat).view([rows.len() as i64, longest as i64]))
}
