//! `lift-train advise`: what it counts, and that the command it prints is one that the program takes.

use serde_json::Value;

use super::{
    demo_model,
    logits::{fail, succeed},
    prepare,
};

#[test]
fn the_advice_is_of_these_shards_and_its_command_runs() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (shards, head, run) = (path("shards"), path("head.safetensors"), path("run"));
    let model = demo_model().display().to_string();
    let args = [
        "advise", "--shards", &shards, "--model", &model, "--head", &head,
    ];
    let text = succeed(&args);
    assert!(
        text.starts_with("folder: 200 training images, 100 classes, 2.0 a class;"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&succeed(&[&args[..], &["--json"]].concat())).unwrap();
    assert_eq!(json["counts"]["imbalance_ratio"], 1.0);
    assert_eq!(json["counts"]["bands"], serde_json::json!([0, 0, 100]));
    // As the plan of such a run has it, by hand there: 6 blocks x (2 x 128 + 2 x 128 x 8 + 8 + 128 + 1).
    assert_eq!(json["tower"]["modules"], 14646);
    let choice = |setting: &str| {
        let choices = json["choices"].as_array().unwrap();
        choices
            .iter()
            .find(|one| one["setting"] == setting)
            .unwrap()["value"]
            .clone()
    };
    assert_eq!(choice("size"), "8");
    assert_eq!(choice("tuner"), "adaptformer");

    let words: Vec<String> = json["commands"][0]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap().replace("runs/first", &run))
        .collect();
    assert_eq!(words[0], "lift-train");
    let mut words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    words.extend(["--dry-run", "--device", "cpu"]);
    let plan = succeed(&words);
    assert!(
        plan.contains("tune     adaptformer (size 8), 14646 parameters"),
        "{plan}"
    );
    assert!(plan.contains("train    5 epochs"), "{plan}");

    fail(
        1,
        &["advise", "--shards", &path("nowhere"), "--model", &model],
    );
}
