//! Whole models from files that are written here: broken ones are refused by name, odd ones read as they say.

use std::{collections::BTreeMap, fs, path::Path};

use lift_models::{Activation, Clip, ClipConfig, NoHooks, TensorFile};
use serde_json::{Value, json};
use tch::{Kind, Tensor, kind::FLOAT_CPU};

/// A folder with a tiny CLIP in Hugging Face's layout, after `change` has been at its tensors.
fn write_hugging_face(folder: &Path, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
    fs::write(folder.join("config.json"), config().to_string()).unwrap();
    let mut file = TensorFile::default();
    let mut add = |name: &str, shape: &[i64]| {
        let tensor = Tensor::randn(shape, FLOAT_CPU);
        file.tensors.insert(name.into(), tensor);
    };
    add("vision_model.embeddings.class_embedding", &[8]);
    add(
        "vision_model.embeddings.patch_embedding.weight",
        &[8, 3, 2, 2],
    );
    add("vision_model.embeddings.position_embedding.weight", &[5, 8]);
    add("text_model.embeddings.token_embedding.weight", &[10, 8]);
    add("text_model.embeddings.position_embedding.weight", &[5, 8]);
    add("visual_projection.weight", &[6, 8]);
    add("text_projection.weight", &[6, 8]);
    add("logit_scale", &[]);
    for tower in ["vision_model", "text_model"] {
        let block = format!("{tower}.encoder.layers.0");
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            add(&format!("{block}.self_attn.{part}.weight"), &[8, 8]);
            add(&format!("{block}.self_attn.{part}.bias"), &[8]);
        }
        add(&format!("{block}.mlp.fc1.weight"), &[16, 8]);
        add(&format!("{block}.mlp.fc1.bias"), &[16]);
        add(&format!("{block}.mlp.fc2.weight"), &[8, 16]);
        add(&format!("{block}.mlp.fc2.bias"), &[8]);
        for norm in ["layer_norm1", "layer_norm2"] {
            add(&format!("{block}.{norm}.weight"), &[8]);
            add(&format!("{block}.{norm}.bias"), &[8]);
        }
    }
    for norm in [
        "vision_model.pre_layrnorm",
        "vision_model.post_layernorm",
        "text_model.final_layer_norm",
    ] {
        add(&format!("{norm}.weight"), &[8]);
        add(&format!("{norm}.bias"), &[8]);
    }
    change(&mut file.tensors);
    file.write(&folder.join("model.safetensors")).unwrap();
}

fn config() -> Value {
    json!({
        "projection_dim": 6,
        "vision_config": {
            "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 4, "patch_size": 2,
        },
        "text_config": {
            "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "max_position_embeddings": 5, "vocab_size": 10, "eos_token_id": 9,
        },
    })
}

fn refusal(change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> String {
    let dir = tempfile::tempdir().unwrap();
    write_hugging_face(dir.path(), change);
    Clip::load(dir.path()).unwrap_err().to_string()
}

#[test]
fn projections_that_cannot_be_stacked_are_refused_by_the_files_names() {
    // 6 + 10 rows would make up for each other, were only the stacked shape checked.
    let message = refusal(|tensors| {
        let name =
            |part: &str| format!("vision_model.encoder.layers.0.self_attn.{part}_proj.weight");
        tensors.insert(name("k"), Tensor::zeros([6, 8], FLOAT_CPU));
        tensors.insert(name("v"), Tensor::zeros([10, 8], FLOAT_CPU));
        let name = |part: &str| format!("text_model.encoder.layers.0.self_attn.{part}_proj.bias");
        tensors.insert(name("q"), Tensor::zeros([], FLOAT_CPU));
        tensors.remove(&name("v"));
    });
    let (first, rest) = message.split_once('\n').unwrap();
    assert!(
        first.ends_with("model.safetensors: the checkpoint does not fit its configuration:"),
        "{first}"
    );
    assert_eq!(
        rest,
        "  text_model.encoder.layers.0.self_attn.q_proj.bias: shape [], expected 1 dimensions
  text_model.encoder.layers.0.self_attn.v_proj.bias: missing
  vision_model.encoder.layers.0.self_attn.k_proj.weight: shape [6, 8], but the block's other projections have [8, 8]
  vision_model.encoder.layers.0.self_attn.v_proj.weight: shape [10, 8], but the block's other projections have [8, 8]
hint: the tensors and the config.json must come from the same, whole model"
    );
}

#[test]
fn what_is_missing_or_wrongly_shaped_is_named_as_in_the_file() {
    let message = refusal(|tensors| {
        tensors.remove("vision_model.post_layernorm.bias");
        for part in ["q", "k", "v"] {
            let name = format!("text_model.encoder.layers.0.self_attn.{part}_proj.weight");
            tensors.insert(name, Tensor::zeros([7, 8], FLOAT_CPU));
        }
        tensors.insert("surplus".into(), Tensor::zeros([2], FLOAT_CPU));
    });
    for line in [
        "  vision_model.post_layernorm.bias (here visual.ln_post.bias): missing, expected shape [8]\n",
        "  text_model.encoder.layers.0.self_attn.{q,k,v}_proj.weight (here transformer.resblocks.0.attn.in_proj_weight): shape [21, 8], expected [24, 8]\n",
        "  surplus: not part of this model (shape [2])\n",
    ] {
        assert!(message.contains(line), "{message}");
    }
}

#[test]
fn a_scalar_may_be_a_row() {
    let dir = tempfile::tempdir().unwrap();
    write_hugging_face(dir.path(), |tensors| {
        let scale = tensors["logit_scale"].reshape([1]);
        tensors.insert("logit_scale".into(), scale);
    });
    let clip = Clip::load(dir.path()).unwrap();
    assert_eq!(clip.logit_scale.size(), [0i64; 0]);
}

#[test]
fn values_that_are_not_finite_are_refused_by_the_files_names() {
    let message = refusal(|tensors| {
        let _ = tensors["logit_scale"].shallow_clone().fill_(f64::NAN);
        let proj = tensors["visual_projection.weight"].shallow_clone();
        let _ = proj.get(2).get(5).fill_(f64::INFINITY);
        let _ = proj.get(4).get(1).fill_(f64::NAN);
    });
    let (first, rest) = message.split_once('\n').unwrap();
    assert!(
        first.ends_with("model.safetensors: nothing can be computed with this checkpoint:"),
        "{first}"
    );
    // A projection is stored (out, in) there and is (in, out) here.
    assert_eq!(
        rest,
        "  visual_projection.weight (here visual.proj) holds values that are not finite: 2 of 48, the first at [1, 4] is NaN
  logit_scale holds values that are not finite: 1 of 1, the first at [] is NaN
hint: fetch the model again; if its publisher's file is like that, it is of no use"
    );
}

#[test]
fn sizes_that_cannot_be_are_refused_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    for (tower, field, value, expected) in [
        (
            "vision_config",
            "num_hidden_layers",
            json!(0),
            "the image tower has 0 layers, expected 1 to 1000",
        ),
        (
            "text_config",
            "num_hidden_layers",
            json!(1001),
            "the text tower has 1001 layers",
        ),
        (
            "vision_config",
            "image_size",
            json!(1i64 << 40),
            "the image size is 1099511627776, expected 1 to 1048576",
        ),
        (
            "text_config",
            "intermediate_size",
            json!(-1),
            "the text tower's MLP width is -1",
        ),
        (
            "text_config",
            "vocab_size",
            json!(i64::MIN),
            "the vocabulary size is",
        ),
        (
            "vision_config",
            "layer_norm_eps",
            json!(0.0),
            "layer_norm_eps is 0, expected a number above 0",
        ),
        (
            "text_config",
            "eos_token_id",
            json!(10),
            "the end-of-text token is 10, but the vocabulary has 10 tokens",
        ),
    ] {
        let mut config = config();
        config[tower][field] = value;
        fs::write(&path, config.to_string()).unwrap();
        let message = ClipConfig::from_hf_json(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{field}: {message}");
    }
}

/// The tiny model as a file in OpenAI's names, in a folder without `config.json`.
fn write_openai(folder: &Path) -> std::path::PathBuf {
    let hugging_face = tempfile::tempdir().unwrap();
    write_hugging_face(hugging_face.path(), |_| {});
    let clip = Clip::load(hugging_face.path()).unwrap();
    let mut file = TensorFile::default();
    for (name, tensor) in clip.named_tensors() {
        file.tensors.insert(name, tensor.shallow_clone());
    }
    let path = folder.join("open_clip_model.safetensors");
    file.write(&path).unwrap();
    path
}

#[test]
fn open_clips_file_says_heads_and_activation() {
    let dir = tempfile::tempdir().unwrap();
    let file = write_openai(dir.path());
    let message = Clip::load(&file).unwrap_err().to_string();
    assert!(
        message
            .contains("visual.conv1.weight has width 8, no multiple of the head width 64\nhint: "),
        "{message}"
    );

    let say = |open_clip: Value| {
        let path = dir.path().join("open_clip_config.json");
        fs::write(path, json!({"model_cfg": open_clip}).to_string()).unwrap();
        Clip::load(dir.path()).map(|clip| clip.config)
    };
    let config = say(json!({"vision_cfg": {"head_width": 4}, "text_cfg": {"heads": 2}})).unwrap();
    assert_eq!((config.vision.heads, config.text.heads), (2, 2));
    assert_eq!(config.vision.activation, Activation::Gelu);
    assert_eq!(config.text.activation, Activation::Gelu);
    let config = say(json!({
        "quick_gelu": true, "vision_cfg": {"head_width": 8}, "text_cfg": {"heads": 4},
    }))
    .unwrap();
    assert_eq!((config.vision.heads, config.text.heads), (1, 4));
    assert_eq!(config.vision.activation, Activation::QuickGelu);

    let message = say(json!({"vision_cfg": {"head_width": 4}, "text_cfg": {"heads": 3}}))
        .unwrap_err()
        .to_string();
    assert!(message.contains("no multiple of 3 heads"), "{message}");
    let message = say(json!({"vision_cfg": {"head_width": 4, "pool_type": "avg"}}))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("open_clip_config.json: not a tower like CLIP's"),
        "{message}"
    );
}

#[test]
fn features_of_a_bf16_tower_are_not_rounded_after_the_last_layer_norm() {
    let dir = tempfile::tempdir().unwrap();
    write_hugging_face(dir.path(), |_| {});
    let mut clip = Clip::load(dir.path()).unwrap();
    clip.visual.convert(tch::Device::Cpu, Kind::BFloat16);
    clip.text.convert(tch::Device::Cpu, Kind::BFloat16);
    let images = Tensor::randn([2, 3, 4, 4], FLOAT_CPU);
    let ids = Tensor::from_slice(&[1i64, 2, 9]).view([1, 3]);
    for features in [
        clip.visual.features(&images, &NoHooks),
        clip.text.features(&ids),
    ] {
        assert_eq!(features.kind(), Kind::Float);
        let rounded = features.to_kind(Kind::BFloat16).to_kind(Kind::Float);
        assert_ne!(features, rounded);
    }
}

#[test]
fn a_model_that_is_not_there_is_named_with_a_hint() {
    let message = Clip::load("nowhere".as_ref()).unwrap_err().to_string();
    assert!(
        message.starts_with("nowhere: no such file\nhint: give a folder with config.json"),
        "{message}"
    );
}
