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
