//! Models whose tensors lie in several files, with an index.

mod torch_file;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use lift_models::{Clip, TensorFile};
use serde_json::json;
use tempfile::TempDir;

const INDEX: &str = "model.safetensors.index.json";
const NAMES: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes-clip")
}

/// The demo's CLIP in two files, every other tensor in each, with the index that belongs to them.
fn in_two_files() -> (TempDir, BTreeMap<String, String>) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(demo().join(name), dir.path().join(name)).unwrap();
    }
    let whole = TensorFile::read(&demo().join("model.safetensors")).unwrap();
    let mut parts = [TensorFile::default(), TensorFile::default()];
    let mut map = BTreeMap::new();
    for (i, (name, tensor)) in whole.tensors.into_iter().enumerate() {
        map.insert(name.clone(), NAMES[i % 2].to_owned());
        parts[i % 2].tensors.insert(name, tensor);
    }
    for (part, name) in parts.iter().zip(NAMES) {
        part.write(&dir.path().join(name)).unwrap();
    }
    write_index(&dir, INDEX, &map);
    (dir, map)
}

fn write_index(dir: &TempDir, name: &str, map: &BTreeMap<String, String>) {
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    fs::write(dir.path().join(name), index.to_string()).unwrap();
}

fn refusal(dir: &TempDir) -> String {
    let message = Clip::load(dir.path()).unwrap_err().to_string();
    message.replace(&format!("{}/", dir.path().display()), "")
}

fn assert_is_demo(clip: &Clip) {
    let whole = Clip::load(&demo()).unwrap();
    let expected = whole.named_tensors();
    assert_eq!(clip.named_tensors().len(), expected.len());
    for ((name, tensor), (expected_name, expected)) in clip.named_tensors().iter().zip(&expected) {
        assert_eq!((name, *tensor), (expected_name, *expected));
    }
}

#[test]
fn the_same_model_comes_out_as_of_one_file() {
    let (dir, map) = in_two_files();
    assert_is_demo(&Clip::load(dir.path()).unwrap());
    assert_is_demo(&Clip::load(&dir.path().join(INDEX)).unwrap());

    // State dicts of torch in several files are read the same way.
    let mut of_torch = BTreeMap::new();
    for (i, name) in NAMES.iter().enumerate() {
        let file = dir.path().join(name);
        let target = format!("pytorch_model-{i}.bin");
        let tensors = TensorFile::read(&file).unwrap().tensors;
        fs::write(dir.path().join(&target), torch_file::state_dict(&tensors)).unwrap();
        fs::remove_file(file).unwrap();
        let here = map.iter().filter(|(_, home)| home == name);
        of_torch.extend(here.map(|(tensor, _)| (tensor.clone(), target.clone())));
    }
    fs::remove_file(dir.path().join(INDEX)).unwrap();
    write_index(&dir, "pytorch_model.bin.index.json", &of_torch);
    assert_is_demo(&Clip::load(dir.path()).unwrap());
}

#[test]
fn a_file_that_is_missing_is_named() {
    let (dir, _) = in_two_files();
    fs::remove_file(dir.path().join(NAMES[1])).unwrap();
    assert_eq!(
        refusal(&dir),
        "model-00002-of-00002.safetensors: no such file\n\
         hint: model.safetensors.index.json names it; fetch the model again: the index and its files belong together"
    );
    fs::remove_file(dir.path().join(INDEX)).unwrap();
    assert_eq!(
        refusal(&dir),
        "model-00001-of-00002.safetensors: one of several files of tensors, and the index that belongs to them is not beside it\n\
         hint: fetch model.safetensors.index.json (or pytorch_model.bin.index.json) too"
    );
}

#[test]
fn a_tensor_in_two_files_is_refused_and_where_the_index_has_it_does_not_matter() {
    let (dir, mut map) = in_two_files();
    for home in map.values_mut() {
        *home = NAMES[usize::from(home == NAMES[0])].into();
    }
    map.remove("text_projection.weight");
    write_index(&dir, INDEX, &map);
    assert_is_demo(&Clip::load(dir.path()).unwrap());
    let second = dir.path().join(NAMES[1]);
    let mut part = TensorFile::read(&second).unwrap();
    let first = TensorFile::read(&dir.path().join(NAMES[0])).unwrap();
    let (name, tensor) = first.tensors.into_iter().next().unwrap();
    part.tensors.insert(name.clone(), tensor);
    part.write(&second).unwrap();
    assert_eq!(
        refusal(&dir),
        format!(
            "model.safetensors.index.json: {name} is in {} and in a file before it\n\
             hint: fetch the model again: the index and its files belong together",
            NAMES[1]
        )
    );
}

#[test]
fn of_two_indexes_the_one_whose_files_are_there_is_read() {
    let (dir, map) = in_two_files();
    let gone = map
        .keys()
        .map(|name| (name.clone(), "gone.safetensors".to_owned()));
    write_index(&dir, INDEX, &gone.collect());
    write_index(&dir, "pytorch_model.bin.index.json", &map);
    assert_is_demo(&Clip::load(dir.path()).unwrap());
}

#[test]
fn an_index_that_leads_elsewhere_or_nowhere_is_refused() {
    let (dir, _) = in_two_files();
    for file in [
        "../model.safetensors",
        "/model.safetensors",
        "..\\model.safetensors",
        ".safetensors",
        "",
        "model.safetensors.index.json",
        "a\n.safetensors",
    ] {
        let map = BTreeMap::from([("x".into(), file.into())]);
        write_index(&dir, INDEX, &map);
        let expected = format!(
            "model.safetensors.index.json: weight_map: x is in {file:?}, which is not the name of a file of tensors beside the index\n"
        );
        assert!(refusal(&dir).starts_with(&expected), "{}", refusal(&dir));
    }
    for (text, expected) in [
        ("{}", "no index of tensors: missing field `weight_map`"),
        ("[", "no index of tensors: EOF while parsing a list"),
        (
            r#"{"weight_map": {"x": 1}}"#,
            "no index of tensors: invalid type: integer `1`, expected a string",
        ),
        (
            r#"{"weight_map": {}}"#,
            "weight_map: it lists no tensor\nhint: fetch",
        ),
    ] {
        fs::write(dir.path().join(INDEX), text).unwrap();
        let expected = format!("model.safetensors.index.json: {expected}");
        assert!(refusal(&dir).starts_with(&expected), "{}", refusal(&dir));
    }
}
