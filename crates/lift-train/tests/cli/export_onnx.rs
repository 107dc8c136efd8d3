//! `lift-train export`: the file under the real `onnxruntime` says of images what `eval` says, and what cannot be is refused.
//!
//! The Python packages are in `.venv`, which `cargo xtask test` makes; without them the part that needs them is skipped with a
//! reason.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use lift_image::decode::Decoder;
use lift_loader::{Draws, Loader, View};
use lift_shards::ShardReader;
use serde_json::{Value, json};

use super::{demo_model, lift_train, methods::succeed, prepare, stderr};

/// `.venv`'s Python, or the one that LIFT_TEST_PYTHON names, where it has `onnxruntime`.
pub(super) fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let own = || root.join(".venv/bin/python");
    let python = std::env::var_os("LIFT_TEST_PYTHON").map_or_else(own, PathBuf::from);
    let import = Command::new(&python)
        .args(["-c", "import onnx, onnxruntime, PIL"])
        .output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: no Python with onnxruntime (cargo xtask test makes .venv)");
    None
}

fn run_python(python: &Path, script: &str, folder: &Path) -> String {
    let output = Command::new(python)
        .args(["-c", script])
        .current_dir(folder)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Prints the probabilities of the crops in `pixels`, and the model's metadata.
const SCRIPT: &str = "
import json, numpy, onnx, onnxruntime
onnx.checker.check_model('model.onnx', full_check=True)
session = onnxruntime.InferenceSession('model.onnx', providers=['CPUExecutionProvider'])
side = session.get_inputs()[0].shape[1]
pixels = numpy.fromfile('pixels', numpy.uint8).reshape(-1, side, side, 3)
probabilities, = session.run(['probabilities'], {'pixels': pixels})
print(json.dumps([probabilities.tolist(), session.get_modelmeta().custom_metadata_map]))
";

/// The first program in a document's section.
fn snippet(document: &str, heading: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join(document)).unwrap();
    let (_, section) = text.split_once(heading).unwrap();
    let (_, program) = section.split_once("```python\n").unwrap();
    program.split_once("```").unwrap().0.to_owned()
}

/// The cells of a CSV file without quotes.
fn table(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().map(cells).collect()
}

/// Holds what `model.onnx` in a folder says of the centre crops of a split against the predictions that `eval` wrote of it; the
/// model's metadata.
pub(super) fn same_as_eval(
    python: &Path,
    folder: &Path,
    split: &Arc<ShardReader>,
    predictions: &Path,
) -> Value {
    let loader = Loader::new(Arc::clone(split), 48, 16, 1).unwrap();
    let batches = loader.batches(Draws::in_order(split.len()), View::Center);
    let pixels: Vec<u8> = batches
        .flat_map(|batch| batch.unwrap().pixels.to_vec())
        .collect();
    assert_eq!(pixels.len(), split.len() * 48 * 48 * 3);
    fs::write(folder.join("pixels"), pixels).unwrap();
    let found: Value = serde_json::from_str(&run_python(python, SCRIPT, folder)).unwrap();
    let shares = found[0].as_array().unwrap();
    let rows = table(predictions);
    let column = |name: &str| rows[0].iter().position(|found| found == name).unwrap();
    let (predicted, confidence) = (column("predicted"), column("confidence"));
    assert_eq!((shares.len(), rows.len()), (split.len(), split.len() + 1));
    for (row, shares) in rows[1..].iter().zip(shares) {
        let shares = shares.as_array().unwrap().iter();
        let (class, share) = shares
            .map(|share| share.as_f64().unwrap())
            .enumerate()
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .unwrap();
        assert_eq!(row[predicted], class.to_string(), "{row:?}");
        let ours: f64 = row[confidence].parse().unwrap();
        assert!((share - ours).abs() < 1e-4, "{share} {row:?}");
    }
    found[1].clone()
}

#[test]
fn an_exported_graph_says_what_eval_says() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (run, model) = (path("run"), demo_model().display().to_string());
    let (shards, head, predictions) = (
        path("shards"),
        path("head.safetensors"),
        path("predictions.csv"),
    );
    succeed(&[
        "--shards",
        &shards,
        "--model",
        &model,
        "--head",
        &head,
        "--out",
        &run,
        "--epochs",
        "1",
        "--tuner",
        "adaptformer,lora",
        "--device",
        "cpu",
        "--tte",
        "none",
    ]);
    succeed(&[
        "eval",
        "--run",
        &run,
        "--device",
        "cpu",
        "--predictions",
        &predictions,
    ]);
    let exported = lift_train(&["export", &run, "--format", "onnx"]);
    assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
    assert!(exported.stdout.is_empty());
    let folder = dir.path().join("run/export/onnx");
    assert!(
        stderr(&exported).starts_with(&format!("export: {}, ", folder.display())),
        "{}",
        stderr(&exported)
    );
    let listed = fs::read_dir(&folder).unwrap();
    let mut listed: Vec<_> = listed.map(|entry| entry.unwrap().file_name()).collect();
    listed.sort();
    let beside = [
        "README.md",
        "classes.json",
        "model.onnx",
        "preprocessor_config.json",
    ];
    assert_eq!(listed, beside);
    // A file by name is the same bytes, with a card of its own; what is there is never written over.
    let (second, card) = (path("second.onnx"), path("second.md"));
    let to_file = ["export", &run, "--format", "onnx", "--out", &second];
    for taken in [&second, &card] {
        fs::write(taken, "mine").unwrap();
        let refused = lift_train(&to_file);
        assert_eq!(refused.status.code(), Some(1));
        let message = format!(
            "{taken}: exists, and an export replaces nothing\nhint: choose another --out, or remove it\n"
        );
        assert!(stderr(&refused).ends_with(&message), "{}", stderr(&refused));
        assert_eq!(fs::read(taken).unwrap(), b"mine");
        fs::remove_file(taken).unwrap();
    }
    let again = lift_train(&["export", &run, "--format", "onnx"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("export/onnx: exists and is not an empty folder"));
    succeed(&to_file);
    let model = fs::read(&second).unwrap();
    assert!(fs::read(folder.join("model.onnx")).unwrap() == model);
    let hash = format!("{:016x}", twox_hash::XxHash3_64::oneshot(&model));
    for (card, name) in [
        (folder.join("README.md"), "model.onnx"),
        (card.into(), "second.onnx"),
    ] {
        let text = fs::read_to_string(card).unwrap();
        assert!(text.contains("library_name: onnx"), "{text}");
        assert!(
            text.contains(&format!("InferenceSession(\"{name}\"")),
            "{text}"
        );
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| {name} |")))
            .unwrap();
        assert!(row.ends_with(&format!("| `{hash}` |")), "{row} {hash}");
    }

    let Some(python) = python() else { return };
    fs::rename(&second, dir.path().join("model.onnx")).unwrap();
    let test = Arc::new(ShardReader::open(&dir.path().join("shards/test")).unwrap());
    let metadata = same_as_eval(&python, dir.path(), &test, Path::new(&predictions));
    let rows = table(Path::new(&predictions));
    let column = |name: &str| rows[0].iter().position(|found| found == name).unwrap();
    let (predicted, confidence) = (column("predicted"), column("confidence"));

    let names: Vec<String> = lift_shapes::class_names();
    assert_eq!(metadata["class_names"], json!(names).to_string());
    // By hand: the demo's tower sees 48 pixels, and 48 + 48 / 7 is 54.
    for (key, value) in [
        ("format", "lift-onnx/1"),
        ("resolution", "48"),
        ("resize", "54"),
        ("interpolation", "bicubic"),
        ("mean", "[0.48145466,0.4578275,0.40821073]"),
        ("std", "[0.26862954,0.26130258,0.27577711]"),
        ("template", "a photo of a {}."),
        ("lift_version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(metadata[key], value, "{key}");
    }
    let provenance = fs::read_to_string(dir.path().join("run/provenance.json")).unwrap();
    let provenance: Value = serde_json::from_str(&provenance).unwrap();
    assert_eq!(metadata["data_hash"], provenance["origins"]["shards"]);

    // The document's program, as it stands there, on the first image as the shards hold it; Pillow looks at no file's name.
    let mut decoder = Decoder::default();
    let image = test.rgb(0, &mut decoder).unwrap();
    let mut photo = format!("P6 {} {} 255\n", image.width, image.height).into_bytes();
    photo.extend(image.pixels);
    fs::write(dir.path().join("photo.jpg"), photo).unwrap();
    let program = snippet("docs/export.md", "## ONNX");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(readme.contains(&program), "{readme}");
    let said = run_python(&python, &program, dir.path());
    let first: Vec<&str> = said.lines().next().unwrap().split_whitespace().collect();
    let label: usize = rows[1][predicted].parse().unwrap();
    assert_eq!(first[1..].join(" "), names[label], "{said}");
    let share: f64 = first[0].trim_end_matches('%').parse().unwrap();
    let ours: f64 = rows[1][confidence].parse().unwrap();
    assert!((share - 100.0 * ours).abs() < 1.0, "{said} {ours}");
    assert_eq!(said.lines().count(), 5);
}

#[test]
fn what_cannot_be_exported_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (empty, folder) = (path("empty"), path("folder.onnx"));
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&folder).unwrap();
    let output = lift_train(&["export", &empty, "--format", "onnx"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("empty/config.toml: "), "{said}");
    assert!(said.contains("hint: name the folder that `lift-train --out` made"));
    let output = lift_train(&["export", &empty]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--format"));
    let output = lift_train(&["export", &empty, "--format", "pt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("invalid value 'pt'"));

    // Another model than the run's, a folder for a file, and a run that is not finished.
    prepare(dir.path());
    let (run, model, vit) = (
        path("run"),
        demo_model().display().to_string(),
        path("vit.safetensors"),
    );
    let (shards, head) = (path("shards"), path("head.safetensors"));
    succeed(&[
        "--shards", &shards, "--model", &model, "--head", &head, "--out", &run, "--epochs", "0",
        "--device", "cpu", "--tte", "none",
    ]);
    super::methods::tiny_vit(Path::new(&vit));
    let tuned = dir.path().join("run/tuned.safetensors");
    for (args, message) in [
        (
            &["--model", &vit][..],
            "vit.safetensors: not the model that the run was started with",
        ),
        (
            &["--out", &folder],
            "folder.onnx: cannot write: there is a folder of that name",
        ),
        (&["--model", &empty], "empty"),
    ] {
        let args: Vec<&str> = ["export", &run, "--format", "onnx"]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        let output = lift_train(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
    fs::remove_file(dir.path().join("run/report.json")).unwrap();
    fs::remove_file(&tuned).unwrap();
    let output = lift_train(&["export", &run, "--format", "onnx"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is not finished, `lift-train resume "));
}
