//! Class texts that cannot work, or may not: one table, and a refusal where nothing can tell two classes apart.

use std::{path::Path, process::Command};

use lift_models::{Head, TensorFile, normalize};
use tch::Tensor;

use super::{lift_text, model, stderr};

/// What `lift-text classifier` says of these names: exit code and standard error.
fn said(dir: &Path, names: &[&str], args: &[&str]) -> (Option<i32>, String) {
    std::fs::write(dir.join("names.txt"), names.join("\n")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lift-text"))
        .args(["classifier", "--device", "cpu", "--model", &model()])
        .args(["--classnames", "names.txt", "--out", "head.safetensors"])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    let code = output.status.code();
    assert_eq!(dir.join("head.safetensors").exists(), code == Some(0));
    (code, stderr(&output))
}

const HINT: &str = "hint: give them names or --descriptors of their own, join them, or go on with --allow-identical\n";

#[test]
fn everything_found_is_said_in_one_table() {
    let dir = tempfile::tempdir().unwrap();
    let long = ["red star"; 9].join(" ");
    let names = [
        "red star",
        "17",
        "Red_Star",
        "n01440764",
        "blue caf\u{e9}",
        "blue cafe\u{301}",
        &long,
        "blue ring",
        "blue\u{1b}[31m ring",
    ];
    let (code, message) = said(dir.path(), &names, &[]);
    assert_eq!(code, Some(1));
    let expected = r#"class texts to look at:
  class  name                                         what
  0, 2   "red star", "Red_Star"                       the same name but for case, underscores or blanks
  1, 3   "17", "n01440764"                            the same tokens: what is different in them is unknown
  4, 5   "blue café", "blue café"                     the same name in other code points
  6      "red star red star red star red star red ..."  cut: 25 tokens, too many for the text tower
"#;
    // Columns are as wide as their widest cell: what stands in them is compared, not how far apart.
    let cells = |text: &str| -> Vec<Vec<String>> {
        let line = |line: &str| -> Vec<String> {
            let cells = line
                .split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty());
            cells.map(str::to_owned).collect()
        };
        text.lines().map(line).collect()
    };
    let found = cells(&message.replace("cafe\u{301}", "caf\u{e9}"));
    assert_eq!(found[..6], cells(expected)[..], "{message}");
    for row in [
        ["1", "\"17\"", "unknown to the tokenizer: \"17\""],
        [
            "3",
            "\"n01440764\"",
            "unknown to the tokenizer: \"n01440764\"",
        ],
        [
            "4",
            "\"blue caf\u{e9}\"",
            "unknown to the tokenizer: \"caf\u{e9}\"",
        ],
        [
            "3",
            "\"n01440764\"",
            "a WordNet id: give the words that it stands for",
        ],
        ["1", "\"17\"", "a number: give what it stands for"],
    ] {
        assert!(
            found.contains(&row.map(str::to_owned).to_vec()),
            "{row:?}: {message}"
        );
    }
    assert!(!message.contains('\u{1b}'), "{message:?}");
    let end = format!(
        "error: classes 0 (\"red star\") and 2 (\"Red_Star\") have the same texts, so that nothing can tell them apart\n{HINT}"
    );
    assert!(message.ends_with(&end), "{message}");
}

#[test]
fn names_that_are_fine_are_not_spoken_of() {
    let dir = tempfile::tempdir().unwrap();
    let (code, message) = said(dir.path(), &["red star", "blue ring"], &[]);
    assert_eq!(code, Some(0));
    assert!(!message.contains("class texts"), "{message}");
}

#[test]
fn two_classes_of_one_name_want_texts_of_their_own_or_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["star", "ring", "star"];
    let (code, message) = said(dir.path(), &names, &[]);
    assert_eq!(code, Some(1));
    assert!(
        message.contains("0, 2   \"star\", \"star\"  the same name\n"),
        "{message}"
    );

    let (code, _) = said(dir.path(), &names, &["--allow-identical"]);
    assert_eq!(code, Some(0));
    let path = dir.path().join("head.safetensors");
    let head = Head::read(&path).unwrap();
    // But for the rounding of their places in a batch.
    assert_eq!(head.identical(), [[0, 2]]);
    let shown = path.display().to_string();
    let similar = lift_text(&["similarity", "--head", &shown, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&similar.stdout).unwrap();
    assert_eq!(json["identical"], serde_json::json!([["star", "star"]]));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_name_without_a_word_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["_", "&nbsp;"] {
        let (code, message) = said(dir.path(), &["red star", name, "blue ring"], &[]);
        assert_eq!(code, Some(1));
        assert!(message.contains(&format!("1      \"{name}\"")), "{message}");
        assert!(
            message.ends_with(&format!(
                "error: class 1 (\"{name}\") has a text without a word that the tokenizer knows\n\
                 hint: give it a name, or texts of its own with --descriptors\n"
            )),
            "{message}"
        );
    }
}

#[test]
fn a_checkpoint_with_a_nan_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(Path::new(&model()).join(file), broken.join(file)).unwrap();
    }
    let mut file = TensorFile::read(&Path::new(&model()).join("model.safetensors")).unwrap();
    let name = "text_projection.weight";
    let tensor = file.tensors[name].to_kind(tch::Kind::Float);
    let _ = tensor.get(2).get(5).fill_(f64::NAN);
    file.tensors.insert(name.into(), tensor);
    file.write(&broken.join("model.safetensors")).unwrap();
    std::fs::write(dir.path().join("names.txt"), "red star\nblue ring\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lift-text"))
        .args(["classifier", "--device", "cpu", "--model", "broken"])
        .args(["--classnames", "names.txt", "--out", "head.safetensors"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "error: broken/model.safetensors: nothing can be computed with this checkpoint:\n  \
         text_projection.weight (here text_projection) holds values that are not finite: 1 of 4096, the first at [5, 2] is NaN\n\
         hint: fetch the model again; if its publisher's file is like that, it is of no use\n"
    );
    assert!(!dir.path().join("head.safetensors").exists());
}

#[test]
fn a_limit_of_memory_makes_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["red star", "blue ring", "red heart", "a red blue ring"];
    let rows = |args: &[&str]| -> Tensor {
        let (code, message) = said(dir.path(), &names, args);
        assert_eq!(code, Some(0), "{message}");
        let path = dir.path().join("head.safetensors");
        let rows = Head::read(&path).unwrap().weight;
        std::fs::remove_file(path).unwrap();
        rows
    };
    let whole = rows(&[]);
    let limited = rows(&["--max-memory", "5650kB"]);
    assert!((&whole - &limited).abs().max().double_value(&[]) < 1e-5);
    assert!((normalize(&whole) - &whole).abs().max().double_value(&[]) < 1e-6);
    let (code, message) = said(dir.path(), &names, &["--max-memory", "1MB"]);
    assert_eq!(code, Some(2));
    assert!(
        message.starts_with(
            "error: --max-memory 1000000 B is too little: encoding one text at once takes about "
        ),
        "{message}"
    );
}
