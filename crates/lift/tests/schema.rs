//! The schemas that editors check recipes and dataset files with: what the repository has is what the programs print, and the
//! examples keep to it.
//!
//! The checker is Python's jsonschema in `.venv`, which `cargo xtask test` makes; without it that part is skipped with a reason.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn printed(program: &str, args: &[&str]) -> Value {
    let beside = Path::new(env!("CARGO_BIN_EXE_lift")).with_file_name(program);
    let output = Command::new(beside).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn schema(name: &str) -> Value {
    let path = root().join("schemas").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// `LIFT_UPDATE_GOLDEN=1` writes it anew.
#[test]
fn the_schemas_are_what_the_programs_print() {
    let recipe = printed("lift", &["schema"]);
    if std::env::var_os("LIFT_UPDATE_GOLDEN").is_some() {
        let text = serde_json::to_string_pretty(&recipe).unwrap() + "\n";
        fs::write(root().join("schemas/recipe.json"), text).unwrap();
    }
    assert!(
        recipe == schema("recipe.json"),
        "LIFT_UPDATE_GOLDEN=1 writes schemas/recipe.json"
    );
    let dataset = printed("lift-data", &["datasets", "--schema"]);
    assert_eq!(dataset, schema("dataset.json"));
}

/// The files that name a schema in their first line, as editors look for it, and what they hold.
fn examples() -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    for folder in ["datasets", "pipelines"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let first = text.lines().next().unwrap();
            let named = first.strip_prefix("#:schema ../schemas/");
            let named = named.unwrap_or_else(|| panic!("{}: names no schema", path.display()));
            let content: toml::Table = text.parse().unwrap();
            let content = serde_json::to_value(content).unwrap();
            found.push((path.display().to_string(), schema(named), content));
        }
    }
    found
}

/// Python's jsonschema on pairs of schema and document: whether each document keeps to its schema.
fn checked(pairs: &Value) -> Option<Vec<bool>> {
    let script = "import json, sys\n\
        from jsonschema import Draft7Validator as V\n\
        pairs = json.load(sys.stdin)\n\
        [V.check_schema(schema) for schema, _ in pairs]\n\
        print(json.dumps([V(schema).is_valid(document) for schema, document in pairs]))";
    let python = root().join(".venv/bin/python");
    let has_it = Command::new(&python)
        .args(["-c", "import jsonschema"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_it {
        eprintln!("skipped: no .venv with jsonschema (cargo xtask test makes it)");
        return None;
    }
    let mut child = Command::new(&python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = pairs.to_string();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn examples_keep_to_their_schema() {
    let examples = examples();
    assert!(examples.len() >= 8, "{}", examples.len());
    let pairs: Vec<Value> = examples.iter().map(|(_, s, c)| json!([s, c])).collect();
    let Some(valid) = checked(&json!(pairs)) else {
        return;
    };
    for ((path, ..), is_valid) in examples.iter().zip(valid) {
        assert!(is_valid, "{path}");
    }
}

#[test]
fn slips_of_the_hand_are_seen() {
    let recipe = schema("recipe.json");
    let dataset = schema("dataset.json");
    let cases = [
        (
            &recipe,
            json!({ "train": { "lr": 0.1, "keep": ["best"] } }),
            true,
        ),
        (
            &recipe,
            json!({ "data": { "source": ["a", "b"], "holdout": 0.1 } }),
            true,
        ),
        (
            &recipe,
            json!({ "sweep": { "lr": [0.1], "seeds": [0, 1] } }),
            true,
        ),
        (&recipe, json!({ "train": { "learning_rate": 0.1 } }), false),
        (&recipe, json!({ "train": { "lr": "0.1" } }), false),
        (&recipe, json!({ "train": { "loss": "hinge" } }), false),
        (&recipe, json!({ "train": { "keep": "best" } }), false),
        (&recipe, json!({ "trian": {} }), false),
        (&recipe, json!({ "sweep": { "lr": 0.1 } }), false),
        (&recipe, json!({ "sweep": { "seed": [1] } }), false),
        (
            &dataset,
            json!({ "name": "a", "about": "b", "source": "folder" }),
            true,
        ),
        (
            &dataset,
            json!({ "name": "a", "about": "b", "source": "tar" }),
            false,
        ),
        (&dataset, json!({ "name": "a", "source": "folder" }), false),
    ];
    let pairs: Vec<Value> = cases.iter().map(|(s, c, _)| json!([s, c])).collect();
    let Some(valid) = checked(&json!(pairs)) else {
        return;
    };
    for ((_, content, wanted), is_valid) in cases.iter().zip(valid) {
        assert_eq!(is_valid, *wanted, "{content}");
    }
}
