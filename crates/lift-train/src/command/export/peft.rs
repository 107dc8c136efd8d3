//! `--format peft`: LoRA as Hugging Face's PEFT keeps it, for the base model in transformers, and the classifier beside it.
//!
//! PEFT adds `lora_alpha / r * B A x` to a linear's output, with A (r, in) and B (out, r); ours is `x down up / r` with down (in, r)
//! and up (r, out). So A is down turned, B is up turned, and `lora_alpha` is 1. Targets are named in full, since names such as
//! `q_proj` are the text tower's too. Invariant: each tensor of the run's tuner is in the file, and nothing else.

use std::collections::BTreeMap;

use lift_models::{Layout, TensorFile, VisionTower, layout_of};
use serde_json::json;

use super::{
    beside,
    card::{self, Taken},
    source::{ExportSettings, Source, does_not_fold},
    staging::Staging,
};
use crate::{
    error::{Error, Result},
    tuner::TunerKind,
};

/// Our name of a projection within a block, and transformers'.
const PROJECTIONS: [(&str, &str); 6] = [
    ("attn.lora.q", "self_attn.q_proj"),
    ("attn.lora.k", "self_attn.k_proj"),
    ("attn.lora.v", "self_attn.v_proj"),
    ("attn.lora.out_proj", "self_attn.out_proj"),
    ("mlp.lora.in_proj", "mlp.fc1"),
    ("mlp.lora.out_proj", "mlp.fc2"),
];

/// Writes the adapter.
///
/// # Errors
/// When the run's tuner is not LoRA alone, its model is not in Hugging Face's layout or was used at another resolution, the run
/// is not finished, its model is not there or another, or the folder cannot be written.
pub fn export_peft(settings: &ExportSettings) -> Result<()> {
    let source = Source::open(settings)?;
    source.refuse_texts()?;
    let refuse = |reason: String| {
        Err(Error::BadRun {
            path: source.run.clone(),
            reason,
        })
    };
    let (tower, normalisation) = source.tower(&source.model)?;
    let sizes = tower.config().clone();
    let model = source.tuned_model(tower)?;
    let mut kinds = model.tuner.kinds();
    kinds.extend(model.joint.kinds());
    if kinds != [TunerKind::Lora] {
        let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        let instead = match does_not_fold(&model) {
            Some(_) => {
                "--format folder takes every tuner along, and --format onnx makes one graph of it"
            }
            None => "--format merged folds it into the model",
        };
        return refuse(format!(
            "what is tuned is {}, and PEFT's LoRA holds lora alone\nhint: {instead}",
            if names.is_empty() {
                "the classifier".into()
            } else {
                names.join(",")
            }
        ));
    }
    if layout_of(&source.model)? != Layout::HuggingFace {
        return refuse(format!(
            "its model {} has not the layout of transformers' CLIP, whose linears PEFT looks for\nhint: --format merged folds LoRA into any layout",
            source.model.display()
        ));
    }
    let usual = VisionTower::open(&source.model)?.config().resolution;
    if usual != sizes.resolution {
        return refuse(format!(
            "it was trained at {} pixels and its model is for {usual}: an adapter does not hold the resampled positions\nhint: --format merged writes them too",
            sizes.resolution
        ));
    }
    let staging = Staging::begin(&settings.out)?;
    write_adapter(&source, &staging)?;
    beside::write_classes(&source, &staging)?;
    beside::write_preprocessing(&sizes, normalisation, &staging)?;
    beside::write_classifier(&source, &model, &staging)?;
    card::write(&source, &sizes, normalisation, Taken::Peft, &staging)?;
    staging.publish()
}

fn write_adapter(source: &Source, staging: &Staging) -> Result<()> {
    let mut file = TensorFile {
        metadata: BTreeMap::from([("format".into(), "pt".into())]),
        ..TensorFile::default()
    };
    let mut ranks = BTreeMap::new();
    for (name, tensor) in &source.tuned.file.tensors {
        let Some((module, part)) = module_of(name) else {
            continue;
        };
        if part == "lora_A" {
            ranks.insert(module.clone(), tensor.size()[1]);
        }
        let name = format!("base_model.model.{module}.{part}.weight");
        file.tensors.insert(name, tensor.tr().contiguous());
    }
    file.write(&staging.folder().join("adapter_model.safetensors"))?;

    let usual = ranks.values().copied().next().unwrap_or(1);
    let targets: Vec<&String> = ranks.keys().collect();
    let others: BTreeMap<_, _> = ranks.iter().filter(|(_, rank)| **rank != usual).collect();
    let base = source.base();
    let config = json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": base.name,
        "revision": base.revision,
        "inference_mode": true,
        "r": usual,
        "lora_alpha": 1,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": false,
        "use_rslora": false,
        "target_modules": targets,
        "rank_pattern": others,
        "alpha_pattern": {},
        "modules_to_save": null,
    });
    let text = serde_json::to_string_pretty(&config).expect("plain data") + "\n";
    staging.text("adapter_config.json", &text)
}

/// The linear in transformers' CLIP that a tensor of LoRA is for, and which of PEFT's two it is.
fn module_of(name: &str) -> Option<(String, &'static str)> {
    let (block, rest) = name
        .strip_prefix("image_encoder.blocks.")?
        .split_once('.')?;
    let (projection, end) = rest.rsplit_once('.')?;
    let (_, theirs) = PROJECTIONS.iter().find(|(ours, _)| *ours == projection)?;
    let part = match end {
        "down" => "lora_A",
        "up" => "lora_B",
        _ => return None,
    };
    Some((
        format!("vision_model.encoder.layers.{block}.{theirs}"),
        part,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_transformers() {
        let module = |name: &str| module_of(name).map(|(module, part)| format!("{module}.{part}"));
        let of = |rest: &str| module(&format!("image_encoder.blocks.11.{rest}"));
        assert_eq!(
            of("attn.lora.v.down").as_deref(),
            Some("vision_model.encoder.layers.11.self_attn.v_proj.lora_A")
        );
        assert_eq!(
            of("mlp.lora.out_proj.up").as_deref(),
            Some("vision_model.encoder.layers.11.mlp.fc2.lora_B")
        );
        assert_eq!(of("mlp.adapter.up"), None);
        assert_eq!(module("classifier.weight"), None);
    }
}
