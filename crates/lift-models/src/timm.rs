//! timm's `VisionTransformer`: its names -> OpenAI's, and its sizes by the tensors' shapes.
//!
//! Heads are 64 wide, the activation is exact GELU and LayerNorm's epsilon 1e-6, as in all of timm's `vit_*` with one
//! class token (Dosovitskiy et al. 2021; Steiner et al. 2022). The classifier of the pre-training (`head.*`) is not
//! read. Other pooling (`fc_norm`), register tokens and the like are left over, and the checkpoint is refused.

use std::{collections::BTreeMap, path::Path};

use tch::Tensor;

use crate::{
    config::{Activation, VisionConfig},
    error::{Error, Result},
};

/// Whole names: timm's and OpenAI's.
const NAMES: [(&str, &str); 6] = [
    ("cls_token", "visual.class_embedding"),
    ("pos_embed", "visual.positional_embedding"),
    ("patch_embed.proj.weight", "visual.conv1.weight"),
    ("patch_embed.proj.bias", "visual.conv1.bias"),
    ("norm.weight", "visual.ln_post.weight"),
    ("norm.bias", "visual.ln_post.bias"),
];

/// Parts of the names of a block's tensors.
const PARTS: [(&str, &str); 7] = [
    (".norm1.", ".ln_1."),
    (".attn.qkv.", ".attn.in_proj_"),
    (".attn.proj.", ".attn.out_proj."),
    (".norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
    ("blocks.", "visual.transformer.resblocks."),
];

/// The sizes of the tower whose tensors these are, in timm's names.
///
/// # Errors
/// When a tensor that tells a size is missing or has too few dimensions, or the sizes cannot be.
pub(crate) fn config(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<VisionConfig> {
    let dim = |name: &str, axis: usize| {
        let size = tensors
            .get(name)
            .and_then(|t| t.size().get(axis).copied())
            .filter(|&n| n > 0);
        size.ok_or_else(|| Error::BadCheckpoint {
            path: path.into(),
            problems: vec![format!("{name}: missing, or without dimension {axis}")],
        })
    };
    let blocks = tensors.keys().filter_map(|name| {
        name.strip_prefix("blocks.")?
            .split('.')
            .next()?
            .parse()
            .ok()
    });
    let width = dim("patch_embed.proj.weight", 0)?;
    let patch_size = dim("patch_embed.proj.weight", 2)?;
    let grid = ((dim("pos_embed", 1)? - 1) as f64).sqrt().round() as i64;
    let config = VisionConfig {
        resolution: grid.saturating_mul(patch_size),
        patch_size,
        width,
        layers: blocks.max().map_or(0, |last: usize| last.saturating_add(1)),
        heads: width / 64,
        mlp_width: dim("blocks.0.mlp.fc1.weight", 0)?,
        layer_norm_eps: 1e-6,
        activation: Activation::Gelu,
    };
    let checked = match width % 64 {
        0 => config.check(),
        _ => Err(format!(
            "patch_embed.proj.weight has width {width}, no multiple of the head width 64"
        )),
    };
    checked.map_err(|reason| Error::BadConfig {
        path: path.into(),
        reason,
    })?;
    Ok(config)
}

/// The same tensors in OpenAI's names, without the pre-training's classifier.
pub(crate) fn to_openai_names(tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let kept = tensors
        .into_iter()
        .filter(|(name, _)| !name.starts_with("head.") && !name.starts_with("pre_logits."));
    kept.map(|(name, tensor)| {
        // timm keeps a leading dimension of one for the batch.
        let tensor = match (name.as_str(), tensor.size().as_slice()) {
            ("cls_token", &[1, 1, width]) => tensor.view([width]),
            ("pos_embed", &[1, tokens, width]) => tensor.view([tokens, width]),
            _ => tensor,
        };
        (openai_name(&name), tensor)
    })
    .collect()
}

fn openai_name(name: &str) -> String {
    match NAMES.iter().find(|(timm, _)| *timm == name) {
        Some((_, openai)) => (*openai).into(),
        None if name.starts_with("blocks.") => {
            PARTS.iter().fold(name.to_owned(), |name, (timm, openai)| {
                name.replace(timm, openai)
            })
        }
        None => name.into(),
    }
}

/// The name in a timm file of what is `name` here.
pub(crate) fn name_in_file(name: &str) -> String {
    match NAMES.iter().find(|(_, openai)| *openai == name) {
        Some((timm, _)) => (*timm).into(),
        None => PARTS.iter().fold(name.to_owned(), |name, (timm, openai)| {
            name.replace(openai, timm)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for name in [
            "cls_token",
            "norm.bias",
            "blocks.11.attn.qkv.weight",
            "blocks.0.attn.proj.bias",
            "blocks.3.mlp.fc2.weight",
            "blocks.3.norm2.weight",
        ] {
            let openai = openai_name(name);
            assert!(openai.starts_with("visual."), "{openai}");
            assert_eq!(name_in_file(&openai), name);
        }
        assert_eq!(openai_name("fc_norm.weight"), "fc_norm.weight");
    }
}
