//! The program `lift-train` from outside: exit codes and messages. Whole runs are tested in the package `tests`.

#[path = "cli/adjust.rs"]
mod adjust;
#[path = "cli/advise.rs"]
mod advise;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/check_device.rs"]
mod check_device;
#[path = "cli/export.rs"]
mod export;
#[path = "cli/export_onnx.rs"]
mod export_onnx;
#[path = "cli/hub.rs"]
mod hub;
#[path = "../../lift-models/tests/hub_server/mod.rs"]
mod hub_server;
#[path = "cli/import.rs"]
mod import;
#[path = "cli/init.rs"]
mod init;
#[path = "cli/logits.rs"]
mod logits;
#[path = "cli/methods.rs"]
mod methods;
#[path = "cli/numbers.rs"]
mod numbers;
#[path = "cli/options.rs"]
mod options;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/parity.rs"]
mod parity;
#[path = "cli/plan.rs"]
mod plan;
#[path = "cli/predict.rs"]
mod predict;
#[path = "cli/resume.rs"]
mod resume;
#[path = "cli/run_format.rs"]
mod run_format;
#[path = "cli/run_report.rs"]
mod run_report;
#[path = "cli/runtime.rs"]
mod runtime;
#[path = "cli/soup.rs"]
mod soup;
#[path = "cli/splits.rs"]
mod splits;
#[path = "cli/start_run.rs"]
mod start_run;
#[path = "cli/streams.rs"]
mod streams;
#[path = "cli/tensorboard.rs"]
mod tensorboard;
#[path = "../../lift-models/tests/torch_file/mod.rs"]
mod torch_file;
#[path = "cli/validation.rs"]
mod validation;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use lift_data::{
    build::{BYTES_PER_SHARD, BuildOptions, Dataset, Preprocess, build},
    choice::Choice,
    profile::LongTail,
    sampling::Holdout,
    source::Columns,
};
use lift_image::decode::Orientation;
use lift_image::encode::Subsampling;
use lift_models::Head;
use lift_page::progress::Reporting;
use lift_shapes::{ShapesOptions, class_names, write_dataset};
use lift_shards::{BandEdges, ClassNames, Encoding, Split, manifest::Check, order::Order};
use tch::{Tensor, kind::FLOAT_CPU};

fn lift_train(args: &[&str]) -> Output {
    // Tiny products gain nothing from threads, and tests that run at the same time lose much by their waiting.
    Command::new(env!("CARGO_BIN_EXE_lift-train"))
        .args(args)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn demo_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes-clip")
}

/// Two drawn training images a class, one test image, and a head of random rows.
fn prepare(dir: &Path) {
    prepare_classes(dir, &class_names());
}

/// As [`prepare`], with these of the classes alone.
fn prepare_classes(dir: &Path, names: &[String]) {
    let shapes = ShapesOptions {
        seed: 2,
        max_per_class: 2,
        imbalance_ratio: 1.0,
        test_per_class: 1,
    };
    write_dataset(&dir.join("images"), &shapes).unwrap();
    for split in ["train", "test"] {
        for other in class_names().iter().filter(|name| !names.contains(name)) {
            std::fs::remove_dir_all(dir.join("images").join(split).join(other)).unwrap();
        }
    }
    build_splits(
        &dir.join("images"),
        &dir.join("shards"),
        &[Split::Train, Split::Test],
    );
    let classes = ClassNames::new(names.to_vec()).unwrap();
    tch::manual_seed(0);
    let rows = names.len() as i64;
    let head = Head {
        weight: Tensor::randn([rows, 128], FLOAT_CPU),
        text_embeds: Some(Tensor::randn([rows, 64], FLOAT_CPU)),
        class_hash: classes.hash(),
        class_names: classes.as_slice().to_vec(),
        template: "a photo of a {}.".into(),
        model: "shapes-clip".into(),
        logit_scale: 100.0,
    };
    head.write(&dir.join("head.safetensors")).unwrap();
}

/// Builds these splits of a folder of classes: pixels, short side at most 64.
fn build_splits(source: &Path, out: &Path, splits: &[Split]) {
    build_encoded(source, out, splits, Encoding::Rgb8);
}

/// As [`build_splits`]; images as they are, where they are not made pixels.
fn build_encoded(source: &Path, out: &Path, splits: &[Split], encoding: Encoding) {
    let options = BuildOptions {
        dataset: Dataset::Folder,
        source: source.into(),
        merged: Vec::new(),
        root: None,
        subset: None,
        reach: lift_data::source::Reach::Below,
        repeats: lift_data::build::Repeats::Refused,
        class_names: None,
        out: out.into(),
        splits: splits.to_vec(),
        preprocess: Preprocess {
            encoding,
            jpeg_quality: 95,
            jpeg_subsampling: Subsampling::default(),
            short_side: (encoding == Encoding::Rgb8).then_some(64),
            enlarge: false,
            orientation: Orientation::Exif,
            exact: false,
            check: Check::Header,
            ..Preprocess::default()
        },
        threads: NonZeroUsize::MIN,
        seed: 0,
        long_tail: LongTail::default(),
        columns: Columns::default(),
        choice: Choice::default(),
        holdout: Holdout::default(),
        bands: BandEdges::default(),
        max_bad: 0,
        bytes_per_shard: BYTES_PER_SHARD,
        order: Order::List,
        part: None,
    };
    build(&options, Reporting::Silent).unwrap();
}

#[test]
fn a_run_is_planned_trained_judged_again_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let model = demo_model().display().to_string();
    let recipe = format!(
        "[train]\nshards = '{}'\nmodel = '{model}'\nhead = '{}'\nepochs = 1\nexpand = 5\ndevice = 'cpu'\n",
        path("shards"),
        path("head.safetensors")
    );
    std::fs::write(path("recipe.toml"), recipe).unwrap();
    let (recipe, run, zero_shot) = (path("recipe.toml"), path("run"), path("zero-shot"));
    let succeed = |args: &[&str]| {
        let output = lift_train(args);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?}: {}",
            stderr(&output)
        );
        stdout(&output)
    };

    // By hand: 6 blocks x (2 x 128 + 2 x 128 x 8 + 8 + 128 + 1) parameters; 200 / 128 steps, rounded up.
    let plan = succeed(&["--config", &recipe, "--out", &run, "--dry-run"]);
    let lines: Vec<&str> = plan.lines().collect();
    assert_eq!(
        lines[0],
        "data     folder: 200 training images, 100 classes"
    );
    assert!(lines[1].starts_with(
        "tune     adaptformer (size 8), 14646 parameters, 1.19 % of the tower's 1227776"
    ));
    assert_eq!(
        lines[2],
        "train    1 epoch, 2 steps of 128 images, learning rate 0.02"
    );
    assert!(!Path::new(&run).exists(), "a dry run writes nothing");

    let table = succeed(&["--config", &recipe, "--out", &run]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(
        table.lines().nth(2).unwrap().starts_with("run  five-crop"),
        "{table}"
    );

    let settings = path("run/config.toml");
    let output = lift_train(&["--config", &settings]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("no out given"),
        "{}",
        stderr(&output)
    );
    succeed(&["train", "--config", &settings, "--out", &path("again")]);
    let tuned = |run: &str| std::fs::read(path(&format!("{run}/tuned.safetensors"))).unwrap();
    assert!(
        tuned("run") == tuned("again"),
        "the same settings, the same weights"
    );

    let json = succeed(&[
        "eval",
        "--run",
        &run,
        "--tte",
        "five-crop",
        "--device",
        "cpu",
        "--json",
    ]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path("run/report.json")).unwrap()).unwrap();
    assert_eq!(
        json["evaluations"][0]["metrics"],
        report["evaluations"][1]["metrics"]
    );
    assert_eq!(json["template"], "a photo of a {}.");

    succeed(&[
        "zero-shot",
        "--config",
        &recipe,
        "--out",
        &zero_shot,
        "--device",
        "cpu",
    ]);
    let table = succeed(&["compare", &zero_shot, &run]);
    let starts: Vec<&str> = table
        .lines()
        .skip(1)
        .map(|line| line.split_once("  ").unwrap().0)
        .collect();
    assert_eq!(starts, ["zero-shot", "run", "run"], "{table}");

    // What is there is never written over, by training or by zero-shot.
    for args in [
        &["--config", &recipe, "--out", &run][..],
        &["zero-shot", "--config", &recipe, "--out", &run],
    ] {
        let output = lift_train(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(
            stderr(&output).contains("run: exists and is not an empty folder\nhint: "),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn wrong_input_exits_with_1_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("recipe.toml"), "[train]\nepocs = 3\n").unwrap();
    std::fs::write(path("no-table.toml"), "[data]\nout = 'x'\n").unwrap();
    std::fs::create_dir(path("empty")).unwrap();
    let (recipe, no_table, empty, out) = (
        path("recipe.toml"),
        path("no-table.toml"),
        path("empty"),
        path("out"),
    );
    let cases: [(&[&str], &str); 6] = [
        (&["--config", &recipe], "unknown field `epocs`"),
        (&["--config", &no_table], "missing field `train`"),
        (
            &["--config", "nowhere.toml"],
            "error: nowhere.toml: No such file",
        ),
        (
            &[
                "--shards", &empty, "--model", "m", "--head", "h", "--out", &out,
            ],
            "empty: no shards: there is no manifest.json in it, nor in train, val or test below it",
        ),
        (&["eval", "--run", &empty], "empty/config.toml: "),
        (&["compare", &empty], "empty/report.json: "),
    ];
    for (args, message) in cases {
        let output = lift_train(args);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(message),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert!(
        !std::path::Path::new(&out).exists(),
        "an error before the run makes no folder"
    );
}

#[test]
fn wrong_usage_exits_with_2_and_help_fits_a_screen() {
    let paths = ["--shards", "s", "--model", "m", "--head", "h", "--out", "o"];
    let cases: [(&[&str], &str); 16] = [
        (&["--epochs", "many"], "invalid value 'many'"),
        (
            &["--precision", "fp8"],
            "[possible values: fp32, bf16, fp16]",
        ),
        (&["evaluate"], "evaluate"),
        (&["compare"], "required arguments"),
        (&["eval"], "required arguments"),
        (&["--device", "gpu"], "\"gpu\" is not a device"),
        (
            &["--lr", "nan"],
            "--lr NaN must be a number from 0 to 1000000",
        ),
        (&["--scale", "inf"], "--scale inf must be above 0"),
        (
            &["--expand", "50000"],
            "--expand 50000 must be a number from 0 to 4096",
        ),
        (
            &["--tuner", "none", "--tuner-size", "8"],
            "no tuner to have it",
        ),
        (
            &["--tuner", "prefix"],
            "\"prefix\" is not a tuner; use none or vpt-shallow",
        ),
        (
            &["--tuner", "full,bitfit"],
            "full and bitfit tune the same tensors",
        ),
        (
            &["--tuner", "bitfit", "--tuner-size", "8"],
            "no tuner to have it",
        ),
        (
            &["--layers", "first"],
            "\"first\" is no choice of layers; use all, last:2 or 0,3,5",
        ),
        (
            &["--aft-ratio", "0.1"],
            "--aft-ratio is given, and no tuner to have it",
        ),
        (
            &["--loss", "hinge"],
            "[possible values: la, ce, focal, ldam, cb, grw, bs, lade]",
        ),
    ];
    for (args, message) in cases {
        let args: Vec<&str> = if args[0].starts_with('-') {
            paths.iter().chain(args).copied().collect()
        } else {
            args.to_vec()
        };
        let output = lift_train(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(message),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let output = lift_train(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: no shards given\nhint: --shards PATH, or `shards` in [train] of the recipe\n"
    );
    let help = lift_train(&["-h"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).lines().count() <= 40);
    assert!(stdout(&lift_train(&["completions", "bash"])).contains("complete -F"));
}
