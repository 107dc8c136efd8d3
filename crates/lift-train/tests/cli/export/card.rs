//! A model card says what the report says, and its head is YAML that a reader of it takes.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{
    super::{demo_model, prepare},
    exported, json, names, trained,
};

/// Prints the YAML head of a model card as JSON.
const FRONT_MATTER: &str = "
import json, sys, yaml
head = open(sys.argv[1], encoding='utf-8').read().split('---\\n')[1]
print(json.dumps(yaml.safe_load(head)))
";

#[test]
fn a_model_card_says_what_the_report_says() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let run = trained(
        dir.path(),
        "a | run: <b>",
        &demo_model(),
        "head.safetensors",
        &["--tuner", "none", "--augment", "plain"],
    );
    let out = dir.path().join("out");
    exported(&run, "folder", &out);
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    let report = json(&run.join("report.json"));
    let metrics = &report["evaluations"][0]["metrics"];
    let percent = |name: &str| {
        metrics[name]
            .as_f64()
            .map_or("-".into(), |n| format!("{:.1}", 100.0 * n))
    };
    let [low, high] =
        [0, 1].map(|end| 100.0 * metrics["intervals"]["overall"][end].as_f64().unwrap());
    let row = format!(
        "| test | plain | 100 | {} | {low:.1} to {high:.1} | {} | - | - | {} |\n",
        percent("overall"),
        percent("mean_class"),
        percent("few")
    );
    assert!(card.contains(&row), "{row}{card}");
    let provenance = json(&run.join("provenance.json"));
    for hash in ["shards", "test", "head", "model"] {
        let hash = provenance["origins"][hash].as_str().unwrap();
        assert!(card.contains(&format!("| `{hash}` |")), "{hash}");
    }
    assert!(card.contains("# a \\| run: &lt;b&gt;\n"), "{card}");
    assert!(
        card.contains("*few*: 100 classes of fewer than 20;"),
        "{card}"
    );
    for file in names(&out).iter().filter(|name| *name != "README.md") {
        assert!(
            card.contains(&format!("| {} |", file.replace('_', "\\_"))),
            "{file}"
        );
    }

    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no .venv with a reader of YAML (cargo xtask test makes it)");
        return;
    }
    let output = Command::new(python)
        .args(["-c", FRONT_MATTER])
        .arg(out.join("README.md"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let head: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&head["license"], &head["pipeline_tag"]),
        (&"unknown".into(), &"image-classification".into())
    );
    assert_eq!(
        head["base_model"],
        Value::Null,
        "a folder is no model on the hub"
    );
    let model = &head["model-index"][0];
    assert_eq!(model["name"], "a | run: <b>");
    let result = &model["results"][0];
    assert_eq!(result["dataset"]["split"], "test");
    assert_eq!(result["metrics"][0]["name"], "overall, plain");
    let value = result["metrics"][0]["value"].as_f64().unwrap();
    assert!((value - metrics["overall"].as_f64().unwrap()).abs() < 1e-4);
}
