//! An adapter holds what was tuned: by its formula, and under the real PEFT where that is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lift_models::{NoHooks, Normalisation, TensorFile, VisionTower};
use tch::{Device, Kind, Tensor};

use super::{
    super::{demo_model, prepare},
    apart, base_file, exported, images, json, logits_of_merged, names, trained,
};

#[test]
fn an_adapter_is_what_peft_adds_and_a_merged_model_has() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let more = [
        "--tuner",
        "lora:4",
        "--lora-targets",
        "q,k,v,out,mlp-in,mlp-out",
        "--layers",
        "1,4",
    ];
    let run = trained(dir.path(), "run", &demo_model(), "head.safetensors", &more);
    let (peft, merged) = (dir.path().join("peft"), dir.path().join("merged"));
    exported(&run, "peft", &peft);
    exported(&run, "merged", &merged);
    assert_eq!(
        names(&peft),
        [
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "classes.json",
            "classifier.safetensors",
            "preprocessor_config.json"
        ]
    );
    let config = json(&peft.join("adapter_config.json"));
    assert_eq!(config["base_model_name_or_path"], "shapes-clip");
    let scaling = config["lora_alpha"].as_f64().unwrap() / config["r"].as_f64().unwrap();
    assert_eq!(scaling, 0.25);
    let targets = config["target_modules"].as_array().unwrap();
    assert_eq!(targets.len(), 12);
    let adapter = TensorFile::read(&peft.join("adapter_model.safetensors"))
        .unwrap()
        .tensors;
    assert_eq!(adapter.len(), 24);
    let (base, merged_file) = (base_file(&demo_model()), base_file(&merged));
    for target in targets {
        let target = target.as_str().unwrap();
        let part = |part: &str| &adapter[&format!("base_model.model.{target}.{part}.weight")];
        // Hu et al. 2022, section 4.1, with PEFT's shapes: A (r, in), B (out, r).
        let update = part("lora_B").matmul(part("lora_A")) * scaling;
        let name = format!("{target}.weight");
        let base = base.tensors[&name].to_kind(Kind::Float);
        assert!(update.abs().max().double_value(&[]) > 0.0, "{target}");
        assert!(
            apart(&merged_file.tensors[&name], &(base + update)) < 1e-6,
            "{target}"
        );
    }

    let Some(python) = python_with_peft() else {
        return;
    };
    let images = images(3, 48);
    let file = TensorFile {
        tensors: [("images".to_owned(), images.shallow_clone())].into(),
        ..TensorFile::default()
    };
    file.write(&dir.path().join("images.safetensors")).unwrap();
    let tower = VisionTower::open(&merged).unwrap();
    let ours = tch::no_grad(|| tower.features(&images, &NoHooks)).flatten(0, -1);
    let rows = printed(&python, dir.path(), PEFT, &[&demo_model(), &peft, &merged]);
    for (theirs, what) in rows
        .iter()
        .zip(["peft on the base", "transformers on the merged model"])
    {
        assert!(
            apart(&ours, theirs) < 1e-5,
            "{what}: {}",
            apart(&ours, theirs)
        );
    }

    // The snippets of the model cards, on an image of the size that it would be resized to.
    let pixels = logits_of_merged(&merged, &photo(54, 48)).flatten(0, -1);
    for folder in [&peft, &merged] {
        let card = fs::read_to_string(folder.join("README.md")).unwrap();
        let (_, code) = card.split_once("```python\n").unwrap();
        let (code, _) = code.split_once("```").unwrap();
        let base = format!("{:?}", demo_model().display().to_string());
        let code = code.replace("\"shapes-clip\"", &base);
        let code = format!("{PHOTO}{code}\nprint(json.dumps([logits.flatten().tolist()]))");
        let rows = printed(&python, folder, &code, &[]);
        assert!(
            apart(&pixels, &rows[0]) < 1e-4,
            "{}",
            apart(&pixels, &rows[0])
        );
    }
}

/// The rows that the last line of what a script printed holds.
fn printed(python: &Path, folder: &Path, script: &str, arguments: &[&Path]) -> Vec<Tensor> {
    let output = Command::new(python)
        .args(["-c", script])
        .args(arguments)
        .current_dir(folder)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<f32>> = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    rows.iter().map(|row| Tensor::from_slice(row)).collect()
}

/// Writes a photo of 54 pixels a side, the same as [`photo`].
const PHOTO: &str = "
import numpy
from PIL import Image
y, x, c = numpy.indices((54, 54, 3))
Image.fromarray(((4 * x + 3 * y + 50 * c) % 256).astype('uint8')).save('photo.jpg', format='PNG')
";

/// The normalised centre (1, 3, side, side) of that photo.
fn photo(whole: i64, side: i64) -> Tensor {
    let edge = (whole - side) / 2;
    let pixel = |y: i64, x: i64, c: i64| ((4 * x + 3 * y + 50 * c) % 256) as u8;
    let mut pixels = Vec::new();
    for y in edge..edge + side {
        for x in edge..edge + side {
            pixels.extend((0..3).map(|c| pixel(y, x, c)));
        }
    }
    let pixels = Tensor::from_slice(&pixels).view([1, side, side, 3]);
    Normalisation::CLIP.apply(&pixels, Device::Cpu)
}

/// Prints the features of the images: by the adapter on the base model, and by the merged model.
const PEFT: &str = "
import json, sys
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPVisionModel
base, adapter, merged = sys.argv[1:]
pixels = load_file('images.safetensors')['images']
tuned = PeftModel.from_pretrained(CLIPModel.from_pretrained(base).float(), adapter).eval()
towers = [tuned.base_model.model.vision_model, CLIPVisionModel.from_pretrained(merged).eval()]
with torch.no_grad():
    features = [tower(pixel_values=pixels).pooler_output.flatten().tolist() for tower in towers]
print(json.dumps(features))
";

/// A Python with torch, transformers and peft: that which `LIFT_TORCH_PYTHON` names, or `.venv`'s where it has them. PyTorch for x86-64
/// is 500 MB and as much again of CUDA, so that `cargo xtask test` does not fetch it.
fn python_with_peft() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let python = std::env::var_os("LIFT_TORCH_PYTHON").map_or(own, PathBuf::from);
    let has_them = Command::new(&python)
        .args(["-c", "import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in ('torch', 'transformers', 'peft')))"])
        .status();
    if has_them.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    eprintln!("skipped: no Python with torch, transformers and peft (LIFT_TORCH_PYTHON names one)");
    None
}
