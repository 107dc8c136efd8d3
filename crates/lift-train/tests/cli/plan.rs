//! What a plan says of settings that can be, and are hardly meant; and what follows from the model.

use std::{fs, path::Path};

use lift_shapes::class_names;

use super::{lift_train, prepare, prepare_classes, stderr, stdout, streams::recipe};

/// The plan of a run with these settings besides those of [`recipe`].
fn plan(dir: &Path, args: &[&str]) -> String {
    let (recipe, out) = (recipe(dir), dir.join("planned").display().to_string());
    let common = ["--config", &recipe, "--out", &out, "--dry-run"];
    let output = lift_train(&[&common[..], args].concat());
    assert_eq!(
        output.status.code(),
        Some(0),
        "{args:?}: {}",
        stderr(&output)
    );
    stdout(&output)
}

#[test]
fn a_plan_warns_of_what_is_hardly_meant() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let warnings = |args: &[&str]| -> Vec<String> {
        let plan = plan(dir.path(), args);
        let lines = plan
            .lines()
            .filter_map(|line| line.strip_prefix("warning  "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(warnings(&[]), [""; 0]);
    let cases: [(&[&str], &str); 6] = [
        (
            &["--batch-size", "500"],
            "--batch-size 500 is more than there are: a step has all 200 training images",
        ),
        (
            &["--lr", "0"],
            "--lr 0: nothing is tuned, the model stays as it is",
        ),
        (
            &["--lr", "0", "--head-lr", "0.1"],
            "--lr 0: only the classifier is tuned, by --head-lr",
        ),
        (
            &["--tuner", "lora:129"],
            "lora: its rank 129 is above the tower's width 128: more parameters than what it stands beside, and no more that it can learn",
        ),
        (
            &["--tuner", "adaptformer", "--tuner-size", "200"],
            "adaptformer: its bottleneck 200 is above the tower's width 128: more parameters than what it stands beside, and no more that it can learn",
        ),
        (
            &["--sampler", "class-balanced"],
            "--sampler class-balanced and --loss la both make up for rare classes, which is twice: use --loss ce, or --sampler instance",
        ),
    ];
    for (args, warning) in cases {
        assert_eq!(warnings(args), [warning], "{args:?}");
    }
    for args in [
        &["--batch-size", "200", "--tuner", "lora:128"][..],
        &["--sampler", "class-balanced", "--loss", "ce"],
        &["--sampler", "square-root", "--tau", "0"],
    ] {
        assert_eq!(warnings(args), [""; 0], "{args:?}");
    }
}

#[test]
fn one_class_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    prepare_classes(dir.path(), &class_names()[..1]);
    let plan = plan(dir.path(), &["--batch-size", "2"]);
    let lines: Vec<&str> = plan.lines().collect();
    assert_eq!(lines[0], "data     folder: 2 training images, 1 class");
    let warning = "warning  there is one class: nothing is told apart, and every accuracy is 100 %";
    assert!(lines.contains(&warning), "{plan}");
}

#[test]
fn a_plan_counts_and_estimates_the_steps_that_there_are() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let (all, more) = (
        plan(dir.path(), &["--batch-size", "200"]),
        plan(dir.path(), &["--batch-size", "100000"]),
    );
    let step = "train    1 epoch, 1 step of 200 images, learning rate 0.02";
    for plan in [&all, &more] {
        assert!(plan.lines().any(|line| line == step), "{plan}");
    }
    let memory = |plan: &str| {
        plan.lines()
            .find(|line| line.starts_with("run "))
            .map(str::to_owned)
    };
    assert_eq!(memory(&all), memory(&more));
    // A limit that holds all images at once holds a larger batch too: no parts.
    let limited = plan(
        dir.path(),
        &["--batch-size", "100000", "--max-memory", "4GiB"],
    );
    assert!(!limited.contains(" parts"), "{limited}");
}

#[test]
fn pixels_beyond_the_resolution_follow_from_the_model() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let (recipe, run) = (
        recipe(dir.path()),
        dir.path().join("run").display().to_string(),
    );
    let args = ["--config", &recipe, "--out", &run, "--tte", "five-crop"];
    let output = lift_train(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!stderr(&output).contains("patch"), "{}", stderr(&output));
    let settings = fs::read_to_string(dir.path().join("run/config.toml")).unwrap();
    assert!(settings.contains("\nexpand = 5\n"), "{settings}");

    let head = dir.path().join("head.safetensors").display().to_string();
    let shards = dir.path().join("shards").display().to_string();
    let model = super::demo_model().display().to_string();
    let inputs = ["--shards", &shards, "--model", &model, "--head", &head];
    let look = ["--device", "cpu", "--tte", "five-crop", "--json"];
    let output = lift_train(&[&["zero-shot"][..], &inputs[..], &look].concat());
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["evaluations"][0]["expand"], 5);
    assert!(!stderr(&output).contains("patch"), "{}", stderr(&output));
    let typed = lift_train(&[&["zero-shot"][..], &inputs[..], &look, &["--expand", "24"]].concat());
    assert!(
        stderr(&typed).contains("warning: --expand 24 is a multiple of the patch size 8"),
        "{}",
        stderr(&typed)
    );
}
