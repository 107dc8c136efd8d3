//! A model with another image tower, written in the layout that it came in: the way back from our names to the file's.
//!
//! Whatever else the model has (text tower, projections, tokenizer) goes along as it is. Floating-point tensors are written as
//! fp32, whatever they were: a tuned tower's differ from the base's by less than 16 bits tell apart. The pre-training's
//! classifier of a timm model is left out, as it is not read. Invariant: what is written is read back by
//! [`VisionTower::open`] as the tower that was given, to the last bit.

use std::{collections::BTreeMap, path::Path};

use lift_files::Purpose;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

pub use crate::checkpoint::Layout;
use crate::{
    checkpoint,
    error::{Error, Result},
    hub,
    read::read_model,
    tensor_file::TensorFile,
    timm,
    vision::VisionTower,
};

/// Buffers whose length follows from the resolution, and that no tower reads.
const OF_THE_RESOLUTION: [&str; 2] = ["vision_model.embeddings.position_ids", "input_resolution"];

/// The layout of a model that lies on this machine.
///
/// # Errors
/// When it is none.
pub fn layout_of(model: &Path) -> Result<Layout> {
    Ok(read_model(model)?.1)
}

/// Writes the model `base` with `tower`, unfolded and in fp32, in the place of its image tower into the folder `out`: one file of
/// tensors, and what `base` has beside them but `preprocessor_config.json`. Sizes in its configuration follow the tower's
/// resolution.
///
/// # Errors
/// When `base` cannot be read or `out` not written.
pub fn write_with_tower(base: &Path, tower: &VisionTower, out: &Path) -> Result<Layout> {
    let (source, layout, mut tensors) = read_model(base)?;
    tensors.retain(|name, _| {
        let is_classifier = name.starts_with("head.") || name.starts_with("pre_logits.");
        let is_left = OF_THE_RESOLUTION.contains(&name.as_str());
        !is_left && (layout != Layout::Timm || !is_classifier)
    });
    for (name, tensor) in tower.named_tensors() {
        for (name, tensor) in in_file(layout, &name, tensor, &tensors) {
            tensors.insert(name, tensor);
        }
    }
    let is_float = |tensor: &Tensor| {
        matches!(
            tensor.kind(),
            Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double
        )
    };
    for tensor in tensors.values_mut().filter(|tensor| is_float(tensor)) {
        *tensor = tensor.to_kind(Kind::Float);
    }
    let file = TensorFile {
        tensors,
        // Hugging Face's readers ask for it.
        metadata: BTreeMap::from([("format".into(), "pt".into())]),
    };
    let name = match layout {
        Layout::OpenAi => hub::WEIGHTS[2],
        Layout::HuggingFace | Layout::Timm => hub::WEIGHTS[0],
    };
    file.write(&out.join(name))?;
    let resolution = tower.config().resolution;
    for name in hub::BESIDE {
        let from = source.with_file_name(name);
        if !from.is_file() || name == "preprocessor_config.json" {
            continue;
        }
        let text = lift_files::text(&from, Purpose::Settings).map_err(Error::io(&from))?;
        let text = if name.ends_with("config.json") {
            configured(&from, &text, layout, resolution)?
        } else {
            text
        };
        let to = out.join(name);
        lift_files::write(&to, &[text.as_bytes()]).map_err(Error::io(&to))?;
    }
    Ok(layout)
}

/// A tensor of the tower under the name, or the names, and in the shape that the file has for it.
fn in_file(
    layout: Layout,
    name: &str,
    tensor: &Tensor,
    tensors: &BTreeMap<String, Tensor>,
) -> Vec<(String, Tensor)> {
    match layout {
        Layout::OpenAi => vec![(name.into(), tensor.shallow_clone())],
        Layout::HuggingFace => checkpoint::to_hugging_face(name, tensor),
        Layout::Timm => {
            let name = timm::name_in_file(name);
            let had = tensors.get(&name).map_or(tensor.dim(), Tensor::dim);
            let missing = had.saturating_sub(tensor.dim());
            let tensor = (0..missing).fold(tensor.shallow_clone(), |t, _| t.unsqueeze(0));
            vec![(name, tensor)]
        }
    }
}

/// A configuration for fp32 and this resolution; nothing else in it changes.
fn configured(path: &Path, text: &str, layout: Layout, resolution: i64) -> Result<String> {
    let mut config: Value = serde_json::from_str(text).map_err(|e| Error::BadConfig {
        path: path.into(),
        reason: e.to_string(),
    })?;
    for table in ["", "/vision_config", "/text_config"] {
        for key in ["torch_dtype", "dtype"] {
            replace(&mut config, &format!("{table}/{key}"), json!("float32"));
        }
    }
    let side = json!(resolution);
    replace(&mut config, "/vision_config/image_size", side.clone());
    replace(
        &mut config,
        "/model_cfg/vision_cfg/image_size",
        side.clone(),
    );
    if layout == Layout::Timm {
        let input = config.pointer("/pretrained_cfg/input_size/1").cloned();
        let classes = json!(0);
        replace(&mut config, "/num_classes", classes.clone());
        replace(&mut config, "/pretrained_cfg/num_classes", classes);
        if input.is_some_and(|input| input != side) {
            let size = json!([3, resolution, resolution]);
            replace(&mut config, "/pretrained_cfg/input_size", size);
            config["model_args"]["img_size"] = side;
        }
    }
    Ok(serde_json::to_string_pretty(&config).expect("it was JSON") + "\n")
}

/// Sets what is there; what is not, a reader has a default for.
fn replace(config: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = config.pointer_mut(pointer) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes-clip")
    }

    #[test]
    fn a_tower_is_read_back_to_the_last_bit_and_the_text_tower_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut tower = VisionTower::open(&demo()).unwrap();
        tower.set_resolution(64).unwrap();
        let changed = &mut tower.resblocks[2].attn.in_proj_weight;
        *changed = &*changed + 0.25;
        let layout = write_with_tower(&demo(), &tower, dir.path()).unwrap();
        assert_eq!(layout, Layout::HuggingFace);
        let read = VisionTower::open(dir.path()).unwrap();
        assert_eq!(read.config().resolution, 64);
        for ((name, written), (_, read)) in tower.named_tensors().iter().zip(read.named_tensors()) {
            assert_eq!(*written, read, "{name}");
        }
        let (before, after) = (crate::Clip::load(&demo()), crate::Clip::load(dir.path()));
        let (before, after) = (before.unwrap().text, after.unwrap().text);
        for ((name, a), (_, b)) in before.named_tensors().iter().zip(after.named_tensors()) {
            assert_eq!(*a, b, "{name}");
        }
        let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
        assert!(config.contains("\"torch_dtype\": \"float32\""), "{config}");
        assert!(dir.path().join("tokenizer.json").is_file());
    }

    #[test]
    fn a_configuration_keeps_what_does_not_follow_from_the_tower() {
        let text = r#"{"architecture": "vit", "num_classes": 21843, "pretrained_cfg":
            {"input_size": [3, 224, 224], "mean": [0.5, 0.5, 0.5], "num_classes": 21843}}"#;
        let path = Path::new("config.json");
        let configured = |side| configured(path, text, Layout::Timm, side).unwrap();
        let same: Value = serde_json::from_str(&configured(224)).unwrap();
        let expected = json!({"architecture": "vit", "num_classes": 0, "pretrained_cfg":
            {"input_size": [3, 224, 224], "mean": [0.5, 0.5, 0.5], "num_classes": 0}});
        assert_eq!(same, expected);
        let larger: Value = serde_json::from_str(&configured(384)).unwrap();
        assert_eq!(larger["model_args"]["img_size"], 384);
        assert_eq!(larger["pretrained_cfg"]["input_size"], json!([3, 384, 384]));
    }
}
