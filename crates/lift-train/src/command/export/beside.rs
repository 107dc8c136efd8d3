//! What every export has beside the model: the class list, how pixels are made, and, where no tuner goes along, the classifier.
//!
//! The names and forms are those that Hugging Face's readers know where they have one. Invariant: what is written follows from the
//! run's own files alone.

use lift_models::{Normalisation, TensorFile, VisionConfig};
use serde_json::json;
use tch::{Kind, Tensor};

use super::{source::Source, staging::Staging};
use crate::{
    adjustment::Adjustment,
    classifier::ClassifierKind,
    error::{Error, Result},
    model::TunedModel,
};

/// The class list.
pub(super) const CLASSES: &str = "classes.json";
/// The classifier.
pub(super) const CLASSIFIER: &str = "classifier.safetensors";
/// How pixels are made.
pub(super) const PREPROCESSING: &str = "preprocessor_config.json";

const FORMAT: &str = "lift-classifier/1";

/// The side that the short side of an image is resized to before the centre crop (LIFT, section 4.4).
pub(super) fn short_side(tower: &VisionConfig) -> i64 {
    tower.resolution + tower.resolution / 7
}

/// Writes the names in label order, as a JSON list.
pub(super) fn write_classes(source: &Source, staging: &Staging) -> Result<()> {
    let names = serde_json::to_string_pretty(&source.tuned.class_names).expect("a list of text");
    staging.text(CLASSES, &(names + "\n"))
}

/// Writes how an image becomes the tower's input in the plain evaluation, as Hugging Face's `CLIPImageProcessor` reads it.
pub(super) fn write_preprocessing(
    tower: &VisionConfig,
    normalisation: Normalisation,
    staging: &Staging,
) -> Result<()> {
    let side = tower.resolution;
    let config = json!({
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": true,
        "do_resize": true,
        "size": {"shortest_edge": short_side(tower)},
        // Pillow's number of bicubic.
        "resample": 3,
        "do_center_crop": true,
        "crop_size": {"height": side, "width": side},
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": normalisation.mean,
        "image_std": normalisation.std,
    });
    let text = serde_json::to_string_pretty(&config).expect("plain data") + "\n";
    staging.text(PREPROCESSING, &text)
}

/// Writes the classifier by itself: `weight`, and `bias` where it has one, with what it computes in the metadata.
pub(super) fn write_classifier(
    source: &Source,
    model: &TunedModel,
    staging: &Staging,
) -> Result<()> {
    let kind = source.config.classifier;
    let classifier = &model.classifier;
    let mut file = TensorFile::default();
    let mut add = |name: &str, tensor: &tch::Tensor| {
        file.tensors.insert(name.into(), tensor.detach());
    };
    add("weight", &classifier.weight);
    classifier.bias.iter().for_each(|bias| add("bias", bias));
    let adjustment = Adjustment::of_run(&source.run)?;
    if let Some(adjustment) = &adjustment {
        let bias = Tensor::from_slice(&adjustment.bias).to_kind(Kind::Float);
        file.tensors.insert("adjustment.bias".into(), bias);
        let temperature = adjustment.temperature.to_string();
        file.metadata.insert("temperature".into(), temperature);
    }
    let formula = match &adjustment {
        None => formula(kind).to_owned(),
        Some(_) => format!("({} + adjustment.bias) / temperature", formula(kind)),
    };
    let entries = [
        ("format", FORMAT.to_owned()),
        ("kind", kind.to_string()),
        ("scale", source.config.scale().to_string()),
        ("formula", formula),
        ("class_names", json!(source.tuned.class_names).to_string()),
        ("class_hash", source.tuned.class_hash.clone()),
    ];
    file.metadata
        .extend(entries.map(|(key, value)| (key.to_owned(), value)));
    let path = staging.folder().join(CLASSIFIER);
    file.write(&path).map_err(Error::from)
}

/// Logits of a feature x, the class token after the last LayerNorm; `normalize` divides by the length.
pub(super) fn formula(kind: ClassifierKind) -> &'static str {
    match kind {
        ClassifierKind::Cosine => "scale * normalize(x) @ normalize(weight).T",
        ClassifierKind::Linear => "x @ weight.T + bias",
        ClassifierKind::L2norm => "x @ normalize(weight).T",
        ClassifierKind::Layernorm => {
            "layer_norm(x, eps=1e-12, without weights) @ normalize(weight).T"
        }
        ClassifierKind::Text => {
            "scale * normalize(x @ image_projection) @ normalize(weight).T, the weight being class texts"
        }
    }
}
