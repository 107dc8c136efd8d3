//! Exported graphs under the real `onnxruntime`, checked by `onnx.checker`: every tuner and classifier gives our logits.
//!
//! The Python packages are in `.venv`, which `cargo xtask test` makes; without them the test is skipped with a reason. One
//! process runs all graphs.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use lift_models::{Clip, Normalisation, TensorFile, VisionTower};
use lift_tests::{demo_model, numbers, root};
use lift_train::{
    classifier::{Classifier, ClassifierKind},
    joint::Joint,
    model::{Parts, TunedModel, classifier_width},
    onnx,
    tuner::{LoraTarget, Tuner, TunerKind, TunerOptions},
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};

const CLASSES: i64 = 7;
const IMAGES: i64 = 3;

/// Checks and runs every graph of the folder, and prints what it is and what comes out for all images and for the first alone.
const SCRIPT: &str = "
import json, sys
import numpy, onnx, onnxruntime
folder, options, found = sys.argv[1], onnxruntime.SessionOptions(), {}
options.intra_op_num_threads = 1
for name in json.load(open(folder + '/cases.json')):
    path = f'{folder}/{name}.onnx'
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    port = session.get_inputs()[0]
    side = port.shape[1]
    pixels = numpy.fromfile(f'{folder}/{name}.pixels', numpy.uint8).reshape(-1, side, side, 3)
    logits, probabilities = session.run(['logits', 'probabilities'], {'pixels': pixels})
    first, = session.run(['logits'], {'pixels': pixels[:1]})
    found[name] = {
        'logits': logits.ravel().tolist(), 'first': first.ravel().tolist(),
        'probabilities': probabilities.ravel().tolist(),
        'input': [port.name, port.type, port.shape],
        'outputs': [[output.name, output.type, output.shape] for output in session.get_outputs()],
        'metadata': session.get_modelmeta().custom_metadata_map,
    }
print(json.dumps(found))
";

/// What one graph is of.
struct Case {
    name: String,
    model: std::path::PathBuf,
    resolution: Option<u32>,
    options: TunerOptions,
    classifier: ClassifierKind,
    most_inline: usize,
}

impl Case {
    fn new(tuners: &str, layers: &str, classifier: ClassifierKind) -> Self {
        let options = TunerOptions {
            layers: layers.parse().unwrap(),
            ..TunerOptions::new(tuners.parse().unwrap())
        };
        Self {
            name: format!("{tuners} {layers} {classifier}").replace([',', ':', ' '], "-"),
            model: demo_model(),
            resolution: None,
            options,
            classifier,
            most_inline: onnx::MOST_INLINE,
        }
    }

    fn of(self, word: &str, model: &Path) -> Self {
        Self {
            name: format!("{word}-{}", self.name),
            model: model.into(),
            ..self
        }
    }

    fn tower(&self) -> VisionTower {
        let mut tower = VisionTower::open(&self.model).unwrap();
        if let Some(resolution) = self.resolution {
            tower.set_resolution(resolution).unwrap();
        }
        tower
    }

    /// The tensors of a model whose every tuned tensor counts, and its logits for these pixels.
    fn tuned(&self, pixels: &Tensor) -> (BTreeMap<String, Tensor>, Tensor) {
        let tower = self.tower();
        let width = classifier_width(self.classifier, &tower).unwrap();
        let tuner = Tuner::new(&self.options, &tower, CLASSES as usize).unwrap();
        let joint = Joint::new(&self.options, &tower, None).unwrap();
        let rows = Tensor::randn([CLASSES, width], FLOAT_CPU);
        let classifier = Classifier::new(self.classifier, &rows, 25.0);
        let normalisation = self.normalisation(&tower);
        let model = TunedModel::new(tower, tuner, classifier, Device::Cpu, Kind::Float);
        let model = model.with_joint(joint);
        tch::no_grad(|| {
            for (_, mut tensor) in model.tuned() {
                let noise = Tensor::randn_like(&tensor) * 0.05;
                tensor += noise;
            }
            let logits = model.forward(&normalisation.apply(pixels, Device::Cpu));
            (model.state(), logits)
        })
    }

    fn normalisation(&self, tower: &VisionTower) -> Normalisation {
        Normalisation::of_model(&self.model, tower.usual_normalisation()).unwrap()
    }
}

/// A random tower in timm's layout, of which nothing is the demo's: 2 blocks, one head, another width of the MLP.
fn timm(file: &Path) {
    let mut vit = TensorFile::default();
    let mut add = |name: String, shape: &[i64], base: f64| {
        let tensor = Tensor::randn(shape, FLOAT_CPU) * 0.1 + base;
        vit.tensors.insert(name, tensor);
    };
    add("cls_token".into(), &[1, 1, 64], 0.0);
    add("pos_embed".into(), &[1, 10, 64], 0.0);
    add("patch_embed.proj.weight".into(), &[64, 3, 8, 8], 0.0);
    add("patch_embed.proj.bias".into(), &[64], 0.0);
    let mut norms = vec!["norm".to_owned()];
    for block in 0..2 {
        for (name, output, input) in [
            ("attn.qkv", 192, 64),
            ("attn.proj", 64, 64),
            ("mlp.fc1", 96, 64),
            ("mlp.fc2", 64, 96),
        ] {
            let name = format!("blocks.{block}.{name}");
            add(format!("{name}.weight"), &[output, input], 0.0);
            add(format!("{name}.bias"), &[output], 0.0);
        }
        norms.extend(["norm1", "norm2"].map(|norm| format!("blocks.{block}.{norm}")));
    }
    for norm in norms {
        add(format!("{norm}.weight"), &[64], 1.0);
        add(format!("{norm}.bias"), &[64], 0.0);
    }
    vit.write(file).unwrap();
}

/// The demo's model in open_clip's layout, with exact GELU as its configuration says.
fn open_clip(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let clip = Clip::load(&demo_model()).unwrap();
    let mut file = TensorFile::default();
    for (name, tensor) in clip.named_tensors() {
        file.tensors.insert(name, tensor.shallow_clone());
    }
    file.write(&folder.join("open_clip_model.safetensors"))
        .unwrap();
    let heads = clip.config.vision.width / clip.config.vision.heads;
    let config = json!({"model_cfg": {
        "vision_cfg": {"head_width": heads},
        "text_cfg": {"heads": clip.config.text.heads},
    }});
    fs::write(folder.join("open_clip_config.json"), config.to_string()).unwrap();
}

fn cases(dir: &Path) -> Vec<Case> {
    use ClassifierKind::{Cosine, L2norm, Layernorm, Linear, Text};
    let (vit, clip) = (dir.join("vit.safetensors"), dir.join("open-clip"));
    timm(&vit);
    open_clip(&clip);
    let each = TunerKind::ALL.into_iter().map(|kind| {
        let classifier = if kind.is_between_towers() {
            Text
        } else {
            Cosine
        };
        Case::new(&kind.to_string(), "all", classifier)
    });
    let mut cases: Vec<Case> = each.collect();
    cases.extend([
        Case::new("none", "all", Text),
        Case::new("adaptformer,lora,ssf,vpt-deep:3", "last:2", Linear),
        Case::new("bitfit,layer-norm", "0,3,5", L2norm),
        Case::new("aft,adapter,vpt-deep:2", "1,4", Layernorm),
        Case::new("vpt-shallow:4,lora,ssf,full", "all", Cosine),
        Case::new("lora,projection,clip-adapter", "all", Text),
        Case::new("adaptformer,ssf", "all", Linear).of("timm", &vit),
        Case::new("none", "all", Layernorm).of("timm", &vit),
        Case::new("adaptformer,clip-adapter", "all", Text).of("open-clip", &clip),
    ]);
    let all_targets = Case::new("lora:2,ssf", "all", Cosine);
    cases.push(Case {
        name: "lora-on-all".into(),
        options: TunerOptions {
            lora_targets: LoraTarget::ALL.to_vec(),
            ..all_targets.options.clone()
        },
        ..all_targets
    });
    let patch = cases[0].tower().config().patch_size as u32;
    cases.push(Case {
        resolution: Some(10 * patch),
        ..Case::new("adaptformer", "all", Linear).of("larger", &demo_model())
    });
    cases.push(Case {
        most_inline: 0,
        ..Case::new("adaptformer,lora", "all", Cosine).of("in-two-files", &demo_model())
    });
    cases
}

/// Writes the graph of a case with random pixels for it, and gives its logits.
fn write(case: &Case, dir: &Path) -> Tensor {
    let path = dir.join(format!("{}.onnx", case.name));
    let side = case.tower().config().resolution;
    let pixels = Tensor::randint(256, [IMAGES, side, side, 3], (Kind::Uint8, Device::Cpu));
    let bytes = Vec::<u8>::try_from(pixels.flatten(0, -1)).unwrap();
    fs::write(path.with_extension("pixels"), bytes).unwrap();
    let (mut tensors, logits) = case.tuned(&pixels);
    if case.options.tuners.to_string().contains("coop") {
        // Its class texts are kept with the words that they were made of.
        let words = Tensor::randn([4, 64], FLOAT_CPU);
        tensors.insert("prompt_learner.ctx".into(), words);
    }
    let tower = case.tower();
    let normalisation = case.normalisation(&tower);
    let parts = Parts::take(tower, tensors, case.classifier, 25.0).unwrap();
    let graph = onnx::graph(&parts, None, &normalisation, None);
    let metadata = [
        ("class_names", "[\"ä\"]".to_owned()),
        ("case", case.name.clone()),
    ];
    let bytes = onnx::write(&graph, &metadata, &path, case.most_inline).unwrap();
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let data = onnx::data_path(&path);
    assert_eq!(bytes as u64, length(&path) + length(&data), "{}", case.name);
    assert_eq!(data.exists(), case.most_inline == 0, "{}", case.name);
    if case.most_inline == 0 {
        assert!(length(&path) < 200_000, "{}", case.name);
        assert!(length(&data) > 4_000_000, "{}", case.name);
    }
    logits
}

#[test]
fn every_tuner_and_classifier_gives_our_logits_under_onnxruntime() {
    let python = root().join(".venv/bin/python");
    let has_runtime = Command::new(&python)
        .args(["-c", "import onnx, onnxruntime"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_runtime {
        eprintln!("skipped: no .venv with onnx and onnxruntime (cargo xtask test makes it)");
        return;
    }
    tch::manual_seed(0);
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let cases = cases(dir.path());
    let logits: Vec<Tensor> = cases.iter().map(|case| write(case, dir.path())).collect();
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    fs::write(dir.path().join("cases.json"), json!(names).to_string()).unwrap();
    let output = Command::new(&python)
        .args(["-c", SCRIPT])
        .arg(dir.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut largest = 0f64;
    for (case, logits) in cases.iter().zip(&logits) {
        let (name, found) = (&case.name, &found[&case.name]);
        let ours = Vec::<f64>::try_from(logits.to_kind(Kind::Double).flatten(0, -1)).unwrap();
        let far = |theirs: &[f64], ours: &[f64]| {
            let pairs = theirs.iter().zip(ours);
            pairs.map(|(a, b)| (a - b).abs()).fold(0f64, f64::max)
        };
        let (all, first) = (numbers(&found["logits"]), numbers(&found["first"]));
        assert_eq!((all.len(), first.len()), (21, 7), "{name}");
        let difference = far(&all, &ours).max(far(&first, &ours[..7]));
        assert!(difference < 1e-4, "{name}: {difference}");
        largest = largest.max(difference);
        let shares = logits.softmax(-1, Kind::Double).flatten(0, -1);
        let shares = Vec::<f64>::try_from(shares).unwrap();
        assert!(
            far(&numbers(&found["probabilities"]), &shares) < 1e-5,
            "{name}"
        );
        let side = case.tower().config().resolution;
        let input = json!(["pixels", "tensor(uint8)", ["batch", side, side, 3]]);
        assert_eq!(found["input"], input, "{name}");
        let output = |name: &str| json!([name, "tensor(float)", ["batch", CLASSES]]);
        assert_eq!(
            found["outputs"],
            json!([output("logits"), output("probabilities")])
        );
        let metadata = json!({"class_names": "[\"ä\"]", "case": name});
        assert_eq!(found["metadata"], metadata);
    }
    eprintln!(
        "{} graphs, the largest difference of a logit {largest:.2e}",
        cases.len()
    );
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let case = Case::new("adaptformer,lora,vpt-deep:2", "all", ClassifierKind::Cosine);
    let side = case.tower().config().resolution;
    let pixels = Tensor::zeros([1, side, side, 3], (Kind::Uint8, Device::Cpu));
    let (tensors, _) = case.tuned(&pixels);
    let threads = tch::get_num_threads();
    let made = [1, 2].map(|threads| {
        tch::set_num_threads(threads);
        let tower = case.tower();
        let normalisation = case.normalisation(&tower);
        let tensors = tensors
            .iter()
            .map(|(name, t)| (name.clone(), t.shallow_clone()));
        let parts = Parts::take(tower, tensors.collect(), case.classifier, 25.0).unwrap();
        let path = dir.path().join("model.onnx");
        let graph = onnx::graph(&parts, None, &normalisation, None);
        onnx::write(&graph, &[], &path, onnx::MOST_INLINE).unwrap();
        fs::read(path).unwrap()
    });
    tch::set_num_threads(threads);
    assert!(made[0] == made[1]);
}
