//! `lift-train soup`: averages entry by entry, the greedy choice, the way to the start, and runs that do not go together.

use std::{fs, path::Path};

use lift_models::TensorFile;
use lift_train::{command, config::TrainConfig};
use serde_json::Value;
use tch::Kind;

use super::{
    logits::{add_val, fail, succeed, text},
    resume::tiny,
};

/// Runs with these seeds, tuners and epochs, beside each other.
fn runs(dir: &Path, wanted: &[(u64, &str, usize)]) -> (TrainConfig, Vec<String>) {
    let base = tiny(dir);
    add_val(&base.shards);
    let train = |&(seed, tuner, epochs): &(u64, &str, usize)| {
        let config = TrainConfig {
            out: dir.join(format!(
                "{}-{seed}-{epochs}",
                tuner.replace([':', ','], "-")
            )),
            seed,
            epochs,
            tuner: tuner.parse().unwrap(),
            ..base.clone()
        };
        command::train(&config).unwrap();
        config.out.display().to_string()
    };
    let names = wanted.iter().map(train).collect();
    (base, names)
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn tensors(run: &str) -> TensorFile {
    TensorFile::read(&Path::new(run).join("tuned.safetensors")).unwrap()
}

#[test]
fn an_average_is_that_of_its_runs_in_any_order_and_a_run_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let (_, runs) = runs(
        dir.path(),
        &[
            (0, "adaptformer", 1),
            (1, "adaptformer", 1),
            (2, "adaptformer", 1),
        ],
    );
    let out = |name: &str| dir.path().join(name).display().to_string();
    let (soup, turned, weighted) = (out("soup"), out("turned"), out("weighted"));
    let [a, b, c] = [&runs[0], &runs[1], &runs[2]];
    let table = succeed(&["soup", a, b, c, "--out", &soup, "--device", "cpu"]);
    assert!(table.contains("0.333") && table.contains("soup"), "{table}");
    succeed(&["soup", c, a, b, "--out", &turned, "--device", "cpu"]);
    let bytes = |run: &str| fs::read(Path::new(run).join("tuned.safetensors")).unwrap();
    assert!(
        bytes(&soup) == bytes(&turned),
        "the order of runs changes nothing"
    );

    let parts = [a, b, c].map(|run| tensors(run));
    let found = tensors(&soup);
    assert_eq!(found.tensors.len(), parts[0].tensors.len());
    for (name, tensor) in &found.tensors {
        let mut mean = parts[0].tensors[name].to_kind(Kind::Double);
        mean += &parts[1].tensors[name].to_kind(Kind::Double);
        mean += &parts[2].tensors[name].to_kind(Kind::Double);
        let gap = (mean / 3.0 - tensor.to_kind(Kind::Double)).abs().max();
        assert!(gap.double_value(&[]) < 1e-6, "{name}");
    }
    succeed(&[
        "soup",
        a,
        b,
        c,
        "--weights",
        "1,0,0",
        "--out",
        &weighted,
        "--device",
        "cpu",
    ]);
    assert!(bytes(&weighted) == bytes(a), "all of one is that one");

    let recipe = json(Path::new(&soup).join("soup.json"));
    assert_eq!(recipe["format"], "lift-soup/1");
    assert_eq!(recipe["ingredients"].as_array().unwrap().len(), 3);
    let report = json(Path::new(&soup).join("report.json"));
    let again = succeed(&["eval", "--run", &soup, "--device", "cpu", "--json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        again["evaluations"][0]["metrics"],
        report["evaluations"][0]["metrics"]
    );
    succeed(&["adjust", &soup, "--device", "cpu"]);
    let said = succeed(&["report", &soup]);
    assert!(said.contains("after tuning"), "{said}");
    succeed(&["compare", &soup, a]);

    // Its folder is never written over.
    fail(1, &["soup", a, b, "--out", &soup, "--device", "cpu"]);
}

#[test]
fn a_greedy_soup_is_no_worse_than_its_best_run() {
    let dir = tempfile::tempdir().unwrap();
    let (_, runs) = runs(
        dir.path(),
        &[(0, "lora", 1), (1, "lora", 1), (2, "lora", 2)],
    );
    let out = dir.path().join("soup");
    let mut args = vec!["soup"];
    args.extend(runs.iter().map(String::as_str));
    args.extend([
        "--greedy",
        "val",
        "--monitor",
        "overall",
        "--out",
        text(&out),
        "--device",
        "cpu",
    ]);
    let table = succeed(&args);
    assert!(
        table.lines().next().unwrap().contains("overall on val"),
        "{table}"
    );
    let recipe = json(out.join("soup.json"));
    let parts = recipe["ingredients"].as_array().unwrap();
    let figures =
        |key: &str| -> Vec<f64> { parts.iter().filter_map(|part| part[key].as_f64()).collect() };
    let best = figures("alone").into_iter().fold(0.0, f64::max);
    let taken: Vec<&Value> = parts.iter().filter(|part| part["weight"] != 0.0).collect();
    let sum: f64 = figures("weight").iter().sum();
    assert!((sum - 1.0).abs() < 1e-12 && !taken.is_empty(), "{recipe}");
    assert_eq!(figures("with_it").len(), 2, "all but the best are tried");
    let eval = [
        "eval",
        "--run",
        text(&out),
        "--split",
        "val",
        "--device",
        "cpu",
        "--json",
    ];
    let judged: Value = serde_json::from_str(&succeed(&eval)).unwrap();
    let overall = judged["evaluations"][0]["metrics"]["overall"]
        .as_f64()
        .unwrap();
    assert!(overall >= best - 1e-12, "{overall} {best}");
    let added = parts.iter().filter(|part| part["weight"] != 0.0);
    let added = added
        .filter_map(|part| part["with_it"].as_f64())
        .fold(best, f64::max);
    assert!((overall - added).abs() < 1e-12, "{overall} {added}");

    let split = args.iter().position(|word| *word == "val").unwrap();
    args[split] = "test";
    let said = fail(2, &args);
    assert!(said.contains("--greedy test: "), "{said}");
}

#[test]
fn all_of_the_start_is_the_model_before_tuning() {
    let dir = tempfile::tempdir().unwrap();
    let tuners = ["adaptformer", "lora", "full", "bitfit"];
    for tuner in tuners {
        let dir = dir.path().join(tuner);
        fs::create_dir(&dir).unwrap();
        let (base, runs) = runs(&dir, &[(0, tuner, 1), (1, tuner, 1)]);
        let untouched = TrainConfig {
            out: dir.join("untouched"),
            epochs: 0,
            tuner: tuner.parse().unwrap(),
            ..base.clone()
        };
        let start = command::train(&untouched)
            .unwrap()
            .evaluations
            .remove(0)
            .metrics;
        let out = dir.join("start");
        succeed(&[
            "soup",
            &runs[0],
            &runs[1],
            "--toward",
            "zero-shot",
            "1",
            "--out",
            text(&out),
            "--device",
            "cpu",
        ]);
        let found = json(out.join("report.json"));
        let found = &found["evaluations"][0]["metrics"];
        assert_eq!(found["overall"].as_f64(), start.overall, "{tuner}");
        let none = dir.join("none");
        succeed(&[
            "soup",
            &runs[0],
            "--toward",
            "zero-shot",
            "0",
            "--out",
            text(&none),
            "--device",
            "cpu",
        ]);
        let bytes = |run: &Path| fs::read(run.join("tuned.safetensors")).unwrap();
        assert!(bytes(&none) == bytes(runs[0].as_ref()), "{tuner}");
    }
}

#[test]
fn runs_that_do_not_go_together_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (base, runs) = runs(
        dir.path(),
        &[
            (0, "lora", 1),
            (0, "adaptformer", 1),
            (0, "lora:2", 1),
            (0, "aft", 1),
            (1, "aft", 1),
            (0, "ssf", 1),
        ],
    );
    let [lora, adaptformer, small, aft, other_aft, ssf] =
        [0, 1, 2, 3, 4, 5].map(|i| runs[i].as_str());
    let linear = TrainConfig {
        out: dir.path().join("linear"),
        epochs: 1,
        tuner: "lora".parse().unwrap(),
        classifier: lift_train::classifier::ClassifierKind::Linear,
        ..base
    };
    command::train(&linear).unwrap();
    let linear = text(&linear.out);
    let out = dir.path().join("out");
    let cases: [(i32, &[&str], &str); 10] = [
        (1, &[lora, adaptformer], "its tuner is "),
        (1, &[lora, small], "its tuner is "),
        (1, &[aft, other_aft], "and is not tuned"),
        (1, &[lora, linear], "its classifier is "),
        (1, &[lora, "nowhere"], "nowhere/config.toml: "),
        (
            1,
            &[ssf, "--toward", "zero-shot", "0.5"],
            "ssf starts from random values",
        ),
        (2, &[lora], "one run is no mixture"),
        (
            2,
            &[lora, lora, "--weights", "1"],
            "--weights gives 1 numbers for 2 runs",
        ),
        (
            2,
            &[lora, "--toward", "start", "0.5"],
            "there is one start, zero-shot",
        ),
        (
            2,
            &[lora, "--toward", "zero-shot", "2"],
            "a share from 0 to 1",
        ),
    ];
    for (code, args, message) in cases {
        let end = ["--out", text(&out), "--device", "cpu"];
        let output = super::lift_train(&[&["soup"][..], args, &end].concat());
        let said = super::stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(message), "{args:?}: {said}");
        assert!(!out.exists(), "{args:?}");
    }
}
