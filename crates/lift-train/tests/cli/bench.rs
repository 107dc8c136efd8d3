//! `lift-train bench`: what it counts. What it times depends on the machine and is not tested.

use super::{lift_train, prepare, stderr, stdout};

#[test]
fn the_loader_is_measured_beside_a_plain_loop() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let shards = dir.path().join("shards").display().to_string();
    let bench = |more: &[&str]| {
        let common = ["bench", "--shards", &shards, "--resolution", "32"];
        let output = lift_train(&[&common[..], more].concat());
        let code = output.status.code();
        assert_eq!(code, Some(0), "{more:?}: {}", stderr(&output));
        stdout(&output)
    };

    // 200 training images; 3 rounds of 2 passes.
    let rounds = ["--epochs", "2", "--rounds", "3", "--threads", "2", "--json"];
    for augment in ["mda", "classic", "plain"] {
        let json = bench(&[&rounds[..], &["--augment", augment]].concat());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["format"], "lift-bench/1");
        assert_eq!(json["encoding"], "rgb8");
        assert_eq!(json["augment"], augment);
        let counts = ["rows", "threads", "rounds", "batch_size", "resolution"];
        assert_eq!(
            counts.map(|key| json[key].as_u64().unwrap()),
            [200, 2, 3, 64, 32]
        );
        for kind in ["loader", "bare"] {
            assert_eq!(json[kind]["images"], 1200);
            assert!(json[kind]["images_per_second"].as_f64().unwrap() > 0.0);
            assert!(json[kind]["images_per_cpu_second"].as_f64().unwrap() > 0.0);
        }
        assert!(json["ratio_to_bare"].as_f64().unwrap() > 0.0);
    }

    let table = bench(&[
        "--split",
        "test",
        "--seconds",
        "0.01",
        "--rounds",
        "1",
        "--depth",
        "3",
    ]);
    let starts: Vec<&str> = table
        .lines()
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    assert_eq!(starts[1..3], ["loader", "bare"], "{table}");
    assert!(
        table.contains("100 rows of rgb8, crops of 32 pixels (mda), batches of 64")
            && table.contains("3 ahead; medians of 1 rounds"),
        "{table}"
    );

    let output = lift_train(&["bench", "--shards", &shards, "--rounds", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("--rounds 0 must be"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_step_and_a_forward_pass_are_measured_on_drawn_images() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/shapes-clip");
    let bench = |more: &[&str]| {
        let common = ["bench", "--model", model, "--device", "cpu"];
        let few = [
            "--batch-size",
            "4",
            "--num-classes",
            "10",
            "--seconds",
            "0.01",
        ];
        lift_train(&[&common[..], &few, more].concat())
    };
    let figures = |stage: &str| {
        let output = bench(&["--stage", stage, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(
            (&json["format"], &json["stage"]),
            (&"lift-stage/1".into(), &stage.into())
        );
        assert_eq!(
            (&json["device"], &json["precision"]),
            (&"cpu".into(), &"fp32".into())
        );
        assert_eq!(json["batch_size"], 4);
        let speed = json["images_per_second"].as_f64().unwrap();
        let again = 4000.0 / json["milliseconds"].as_f64().unwrap();
        assert!(speed > 0.0 && (speed / again - 1.0).abs() < 1e-9);
        json["gigaflop_per_image"].as_f64().unwrap()
    };
    // By hand: 37 tokens, 128 wide, 6 blocks, patches of 8 pixels. A token costs 24 d^2 + 4 n d a block; in the last one all
    // have keys and values, 4 d^2, and the class token alone the rest.
    let block = 37.0 * (24.0 * 128.0 * 128.0 + 4.0 * 37.0 * 128.0);
    let last = 37.0 * 4.0 * 128.0 * 128.0 + (20.0 * 128.0 * 128.0 + 4.0 * 37.0 * 128.0);
    let patches = 2.0 * 36.0 * 192.0 * 128.0;
    for (stage, blocks, lasts) in [("evaluation", 5.0, 1.0), ("step", 9.0, 2.0)] {
        let expected = (patches + blocks * block + lasts * last) / 1e9;
        assert!((figures(stage) - expected).abs() < 1e-9, "{stage}");
    }
    let output = bench(&["--stage", "transfer", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let bytes = json["gigabytes_per_second"].as_f64().unwrap() * 1e9;
    let images = json["images_per_second"].as_f64().unwrap();
    assert!(
        (bytes / images / (48.0 * 48.0 * 3.0) - 1.0).abs() < 1e-9,
        "{json}"
    );
    let table = bench(&["--stage", "step"]);
    assert!(
        stdout(&table).contains("fp32 on cpu, batches of 4, 48 pixels a side"),
        "{}",
        stdout(&table)
    );
    let usage = lift_train(&["bench", "--stage", "step"]);
    assert_eq!(usage.status.code(), Some(2));
}
