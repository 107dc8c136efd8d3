//! Checkpoints of the authors' own programs (LIFT, github.com/shijxcs/LIFT; LIFT+, github.com/shijxcs/LIFT-plus): their names of
//! tensors, and ours.
//!
//! LIFT saves `{"tuner": .., "head": ..}` with a list for each kind of module; LIFT+ saves `{"tuner": ..}` with the blocks' names, of
//! which there have been two generations, the later one being ours. Formulas are the same in all of them ([`crate::tuner`]).
//! Invariant: every tensor of a checkpoint gets a place or is refused by name; nothing is dropped.

use std::collections::BTreeMap;

use lift_models::{Parameter, Place, VisionTower};
use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// The dictionaries in a checkpoint.
pub const DICTIONARIES: [&str; 2] = ["tuner", "head"];

/// What LIFT's lists hold, and where that lies in a block here.
const LISTS: [(&str, &str); 18] = [
    ("vpt_list", ""),
    ("adapter_list.ln", "mlp.adapter.norm"),
    ("adapter_list.down_proj", "mlp.adapter.down"),
    ("adapter_list.up_proj", "mlp.adapter.up"),
    ("adaptformer_list.ln", "adaptformer.norm"),
    ("adaptformer_list.down_proj", "adaptformer.down"),
    ("adaptformer_list.up_proj", "adaptformer.up"),
    ("adaptformer_list", "adaptformer"),
    ("lora_list.q", "attn.lora.q"),
    ("lora_list.v", "attn.lora.v"),
    ("lora_mlp_list.1", "mlp.lora.in_proj"),
    ("lora_mlp_list.2", "mlp.lora.out_proj"),
    ("ssf_attn_list.attn_in", "attn.ssf.in_proj"),
    ("ssf_attn_list.attn_out", "attn.ssf.out_proj"),
    ("ssf_mlp_list.mlp_in", "mlp.ssf.in_proj"),
    ("ssf_mlp_list.mlp_out", "mlp.ssf.out_proj"),
    ("ssf_ln_list.ln_1", "norm1_ssf"),
    ("ssf_ln_list.ln_2", "norm2_ssf"),
];

/// A block's own tensors in OpenAI's CLIP, in timm, and here.
const OWN: [(&str, &str, &str); 6] = [
    ("ln_1.", "norm1.", "norm1_"),
    ("attn.in_proj_", "attn.qkv.", "attn_in_proj_"),
    ("attn.out_proj.", "attn.proj.", "attn_out_proj_"),
    ("ln_2.", "norm2.", "norm2_"),
    ("mlp.c_fc.", "mlp.fc1.", "mlp_in_proj_"),
    ("mlp.c_proj.", "mlp.fc2.", "mlp_out_proj_"),
];

/// A block's biases in the order in which its parameters are listed by OpenAI's CLIP, and by timm.
const BIASES: [[&str; 6]; 2] = [
    [
        "attn_in_proj_bias",
        "attn_out_proj_bias",
        "norm1_bias",
        "mlp_in_proj_bias",
        "mlp_out_proj_bias",
        "norm2_bias",
    ],
    [
        "norm1_bias",
        "attn_in_proj_bias",
        "attn_out_proj_bias",
        "norm2_bias",
        "mlp_in_proj_bias",
        "mlp_out_proj_bias",
    ],
];

/// How names in a block of LIFT+ began at first, and how they do since.
const EARLIER: [(&str, &str); 14] = [
    ("lora.", "attn.lora."),
    ("adapter.", "mlp.adapter."),
    ("ssf.attn_in.", "attn.ssf.in_proj."),
    ("ssf.attn_out.", "attn.ssf.out_proj."),
    ("ssf.mlp_in.", "mlp.ssf.in_proj."),
    ("ssf.mlp_out.", "mlp.ssf.out_proj."),
    ("aft.attn_in.", "attn.aft.in_proj."),
    ("aft.attn_out.", "attn.aft.out_proj."),
    ("aft.mlp_in.", "mlp.aft.in_proj."),
    ("aft.mlp_out.", "mlp.aft.out_proj."),
    ("attn_in_", "attn_in_proj_"),
    ("attn_out_", "attn_out_proj_"),
    ("mlp_in_", "mlp_in_proj_"),
    ("mlp_out_", "mlp_out_proj_"),
];

/// The tensors of a checkpoint, called `tuner.NAME` and `head.NAME`, under the names of [`crate::model::TunedModel::state`].
///
/// # Errors
/// When a tensor has no place here; the message names it and says why.
pub fn to_our_names(
    tensors: BTreeMap<String, Tensor>,
    tower: &VisionTower,
) -> Result<BTreeMap<String, Tensor>> {
    let is_timm = tower.ln_pre.is_none();
    let mut ours = BTreeMap::new();
    for (name, tensor) in tensors {
        let renamed =
            renamed(&name, is_timm).map_err(|why| Error::Tensors(format!("{name}: {why}")))?;
        // LIFT keeps the scale of AdaptFormer as a row of one.
        let tensor = match renamed.ends_with("adaptformer.scale") && tensor.numel() == 1 {
            true => tensor.reshape([0i64; 0]),
            false => tensor,
        };
        ours.insert(renamed, tensor);
    }
    let blocks: Vec<i64> = ours.keys().filter_map(|name| block_of(name)).collect();
    for layer in blocks {
        if usize::try_from(layer).is_ok_and(|layer| layer < tower.resblocks.len()) {
            scaled_norms(&mut ours, layer as usize, tower);
            whole_ssf(&mut ours, layer as usize, tower);
        }
    }
    Ok(ours)
}

fn block_of(name: &str) -> Option<i64> {
    let rest = name.strip_prefix("image_encoder.blocks.")?;
    rest.split_once('.')?.0.parse().ok()
}

fn renamed(name: &str, is_timm: bool) -> std::result::Result<String, &'static str> {
    if let Some(end) = name
        .strip_prefix("head.")
        .or(name.strip_prefix("tuner.classifier."))
    {
        return Ok(format!("classifier.{end}"));
    }
    let name = name.strip_prefix("tuner.").unwrap_or(name);
    let in_block = |layer: &str, rest: &str| format!("image_encoder.blocks.{layer}.{rest}");
    if let Some(rest) = name.strip_prefix("image_encoder.blocks.") {
        let Some((layer, rest)) = rest.split_once('.') else {
            return Err("of a ResNet, which is not read");
        };
        let is_later = rest.starts_with("attn_in_proj_")
            || rest.starts_with("attn_out_proj_")
            || rest.starts_with("mlp_in_proj_")
            || rest.starts_with("mlp_out_proj_");
        let earlier = EARLIER.iter().filter(|_| !is_later);
        let found = earlier
            .filter_map(|(theirs, ours)| Some((rest.strip_prefix(theirs)?, ours)))
            .next();
        let rest = found.map_or(rest.to_owned(), |(end, ours)| format!("{ours}{end}"));
        return Ok(in_block(layer, &rest));
    }
    let Some((list, rest)) = name.split_once('.') else {
        return Err("has no place here: what was tuned between the two towers is not read");
    };
    let (layer, rest) = rest.split_once('.').unwrap_or((rest, ""));
    let number: Option<usize> = layer.parse().ok();
    match (list, number) {
        ("masked_linear_list", _) => Err("which entries were tuned is not in the checkpoint"),
        ("block_tuned", Some(_)) => {
            let own = OWN.iter().find_map(|(clip, timm, ours)| {
                let end = rest.strip_prefix(if is_timm { timm } else { clip })?;
                Some(format!("{ours}{end}"))
            });
            own.map(|own| in_block(layer, &own))
                .ok_or("no tensor of a block of this model")
        }
        ("bias_tuned", Some(number)) => {
            let own = BIASES[usize::from(is_timm)][number % 6];
            Ok(in_block(&(number / 6).to_string(), own))
        }
        ("ln_tuned", Some(number)) => {
            let own = format!("norm{}_{rest}", number % 2 + 1);
            Ok(in_block(&(number / 2).to_string(), &own))
        }
        (list, Some(_)) if list.ends_with("_list") => {
            let (module, end) = rest.rsplit_once('.').unwrap_or(("", rest));
            let theirs = match module {
                "" => list.to_owned(),
                module => format!("{list}.{module}"),
            };
            let place = LISTS.iter().find(|(known, _)| *known == theirs);
            let (_, ours) = place.ok_or("of a module that is not known")?;
            let end = match end {
                "lora_A" => "down",
                "lora_B" => "up",
                end => end,
            };
            let dot = if ours.is_empty() { "" } else { "." };
            Ok(in_block(layer, &format!("{ours}{dot}{end}")))
        }
        _ => Err(
            "has no place here: what was tuned of the text tower or between the towers is not read",
        ),
    }
}

/// SSF behind a LayerNorm is another LayerNorm: `(g x + b) s + t = (g s) x + (b s + t)`.
fn scaled_norms(ours: &mut BTreeMap<String, Tensor>, layer: usize, tower: &VisionTower) {
    for (norm, place) in [("norm1", Place::Norm1), ("norm2", Place::Norm2)] {
        let name = |end: &str| format!("image_encoder.blocks.{layer}.{norm}_{end}");
        let mut take = |end: &str| ours.remove(&name(end)).map(|t| t.to_kind(Kind::Float));
        let (Some(scale), Some(shift)) = (take("ssf.scale"), take("ssf.shift")) else {
            continue;
        };
        let [weight, bias] = [Parameter::Weight(place), Parameter::Bias(place)]
            .map(|which| tower.resblocks[layer].parameter(which));
        ours.insert(name("weight"), weight * &scale);
        ours.insert(name("bias"), bias * &scale + shift);
    }
}

/// LIFT may have SSF in attention alone, or in the MLPs alone: the other half is the identity.
fn whole_ssf(ours: &mut BTreeMap<String, Tensor>, layer: usize, tower: &VisionTower) {
    let linears = [
        ("attn.ssf.in_proj", Place::Qkv),
        ("attn.ssf.out_proj", Place::AttentionOut),
        ("mlp.ssf.in_proj", Place::MlpIn),
        ("mlp.ssf.out_proj", Place::MlpOut),
    ];
    let name = |linear: &str, end: &str| format!("image_encoder.blocks.{layer}.{linear}.{end}");
    if !linears
        .iter()
        .any(|(linear, _)| ours.contains_key(&name(linear, "scale")))
    {
        return;
    }
    for (linear, place) in linears {
        let bias = tower.resblocks[layer].parameter(Parameter::Bias(place));
        ours.entry(name(linear, "scale"))
            .or_insert_with(|| bias.ones_like());
        ours.entry(name(linear, "shift"))
            .or_insert_with(|| bias.zeros_like());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_of_lift_has_its_place() {
        let cases = [
            ("tuner.lora_list.3.q.lora_A", "3.attn.lora.q.down"),
            ("tuner.lora_list.3.v.lora_B", "3.attn.lora.v.up"),
            ("tuner.lora_mlp_list.0.2.lora_B", "0.mlp.lora.out_proj.up"),
            (
                "tuner.adapter_list.11.ln.weight",
                "11.mlp.adapter.norm.weight",
            ),
            (
                "tuner.adaptformer_list.0.up_proj.bias",
                "0.adaptformer.up.bias",
            ),
            ("tuner.adaptformer_list.0.scale", "0.adaptformer.scale"),
            ("tuner.vpt_list.2.prompt", "2.prompt"),
            (
                "tuner.ssf_mlp_list.1.mlp_out.shift",
                "1.mlp.ssf.out_proj.shift",
            ),
            ("tuner.ln_tuned.5.bias", "2.norm2_bias"),
        ];
        for (theirs, ours) in cases {
            let expected = format!("image_encoder.blocks.{ours}");
            assert_eq!(renamed(theirs, false), Ok(expected), "{theirs}");
        }
        let of = |name: &str, is_timm| renamed(name, is_timm).unwrap();
        assert_eq!(
            of("tuner.block_tuned.9.attn.in_proj_weight", false),
            "image_encoder.blocks.9.attn_in_proj_weight"
        );
        assert_eq!(
            of("tuner.block_tuned.9.attn.qkv.weight", true),
            "image_encoder.blocks.9.attn_in_proj_weight"
        );
        // The first parameters of a block of OpenAI's CLIP are attention's, of timm's the LayerNorm's.
        assert_eq!(
            of("tuner.bias_tuned.6", false),
            "image_encoder.blocks.1.attn_in_proj_bias"
        );
        assert_eq!(
            of("tuner.bias_tuned.6", true),
            "image_encoder.blocks.1.norm1_bias"
        );
        assert_eq!(of("head.weight", false), "classifier.weight");
    }

    #[test]
    fn both_generations_of_lift_plus_have_ours() {
        for (theirs, ours) in [
            ("lora.q.down", "attn.lora.q.down"),
            ("attn.lora.q.down", "attn.lora.q.down"),
            ("ssf.attn_in.scale", "attn.ssf.in_proj.scale"),
            (
                "aft.mlp_out.masked_bias.mask",
                "mlp.aft.out_proj.masked_bias.mask",
            ),
            ("adapter.up.weight", "mlp.adapter.up.weight"),
            ("adaptformer.down.bias", "adaptformer.down.bias"),
            ("attn_in_weight", "attn_in_proj_weight"),
            ("attn_in_proj_weight", "attn_in_proj_weight"),
            ("mlp_out_bias", "mlp_out_proj_bias"),
            ("prompt", "prompt"),
        ] {
            let name = format!("tuner.image_encoder.blocks.7.{theirs}");
            assert_eq!(
                renamed(&name, false),
                Ok(format!("image_encoder.blocks.7.{ours}"))
            );
        }
        assert_eq!(
            renamed("tuner.classifier.bias", false),
            Ok("classifier.bias".into())
        );
        for name in [
            "tuner.text_encoder.ctx",
            "tuner.image_proj",
            "tuner.image_adapter.norm.weight",
        ] {
            assert!(
                renamed(name, false)
                    .unwrap_err()
                    .contains("has no place here"),
                "{name}"
            );
        }
        let mask = renamed("tuner.masked_linear_list.0.attn_in.optimized_weight", false);
        assert!(mask.unwrap_err().contains("not in the checkpoint"));
    }
}
