//! Class names -> rows: encode, project into the joint space, carry back through the image projection.
//!
//! `w = normalize(normalize(t P_text) P_image^T)`, one row a class: the transpose of the image projection brings the
//! text embedding into the space of the class-token feature (semantic-aware initialisation, arXiv 2309.10019). Several
//! texts of a class are ensembled: each normalised, their mean normalised. Memory holds one batch of texts and one vector
//! a class, however many texts there are.

use std::path::Path;

use lift_clip::{Clip, Error, Head, Result, TextConfig, Tokenizer, hub, normalize};
use lift_data::classes::ClassNames;
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
    }
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
        check_ids(&ids, config).map_err(|reason| Error::Tokenizer {
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

/// Whether the model can read these ids: each has an embedding, and the end-of-text token is there.
fn check_ids(ids: &[i64], config: &TextConfig) -> std::result::Result<(), String> {
    if let Some(id) = ids.iter().find(|id| !(0..config.vocab_size).contains(id)) {
        return Err(format!(
            "token id {id}, but config.json says that the vocabulary has {} tokens",
            config.vocab_size
        ));
    }
    if !ids.contains(&config.end_of_text) {
        return Err(format!(
            "no token id {}, which config.json says is the end of text",
            config.end_of_text
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lift_clip::Activation;

    #[test]
    fn ids_that_the_model_does_not_know_are_refused() {
        let config = TextConfig {
            context_length: 5,
            vocab_size: 10,
            width: 8,
            layers: 1,
            heads: 1,
            mlp_width: 16,
            layer_norm_eps: 1e-5,
            activation: Activation::QuickGelu,
            end_of_text: 9,
        };
        assert_eq!(check_ids(&[8, 0, 9], &config), Ok(()));
        let message = check_ids(&[8, 10, 9], &config).unwrap_err();
        assert_eq!(
            message,
            "token id 10, but config.json says that the vocabulary has 10 tokens"
        );
        for ids in [&[8, 0, 7][..], &[]] {
            let message = check_ids(ids, &config).unwrap_err();
            assert!(message.starts_with("no token id 9, which config.json"));
        }
    }
}
