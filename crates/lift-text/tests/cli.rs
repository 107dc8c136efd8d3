//! The program `lift-text` from outside: exit codes, messages, and the file it writes.

use std::{
    path::Path,
    process::{Command, Output},
};

use lift_clip::Head;

fn lift_text(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lift-text"))
        .args(args)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn model() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../models/shapes-clip")
        .display()
        .to_string()
}

#[test]
fn a_classifier_file_is_the_same_from_a_dataset_and_from_a_file_of_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let model = model();
    let make = |source: [&str; 2], out: &str| {
        let mut args = vec![
            "classifier",
            "--model",
            &model,
            "--device",
            "cpu",
            "--out",
            out,
        ];
        args.extend(source);
        let output = lift_text(&args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
        Head::read(out.as_ref()).unwrap()
    };
    let first = make(["--dataset", "shapes-lt"], &path("first.safetensors"));
    assert_eq!(first.weight.size(), [100, 128]);
    assert_eq!(
        (first.template.as_str(), first.model.as_str()),
        ("a photo of a {}.", "shapes-clip")
    );
    let lengths = first
        .weight
        .square()
        .sum_dim_intlist([1i64].as_slice(), false, tch::Kind::Float);
    assert!(
        (lengths - 1.0).abs().max().double_value(&[]) < 1e-5,
        "rows have length one"
    );

    std::fs::write(path("names.txt"), first.class_names.join("\n")).unwrap();
    make(
        ["--classnames", &path("names.txt")],
        &path("second.safetensors"),
    );
    let bytes = |name: &str| std::fs::read(path(name)).unwrap();
    assert!(
        bytes("first.safetensors") == bytes("second.safetensors"),
        "the files differ"
    );
}

#[test]
fn wrong_input_exits_with_1_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("head.safetensors").display().to_string();
    let model = model();
    let cases: [(&[&str], &str); 6] = [
        (
            &["--dataset", "shapes-lt", "--out", &out],
            "no model given\nhint: --model DIR",
        ),
        (
            &["--dataset", "shapes-lt", "--model", &model],
            "no output given\nhint: --out",
        ),
        (
            &["--model", &model, "--out", &out],
            "give one of --dataset NAME, --classnames FILE and --shards DIR",
        ),
        (
            &["--dataset", "imagenet", "--model", &model, "--out", &out],
            "`imagenet` is not a dataset with known class names",
        ),
        (
            &[
                "--dataset",
                "shapes-lt",
                "--model",
                "nowhere",
                "--out",
                &out,
            ],
            "nowhere/model.safetensors: no such file\nhint: ",
        ),
        (
            &[
                "--dataset",
                "shapes-lt",
                "--model",
                &model,
                "--out",
                &out,
                "--template",
                "a photo",
            ],
            "a template needs {} once",
        ),
    ];
    for (args, message) in cases {
        let args: Vec<&str> = ["classifier", "--device", "cpu"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        let output = lift_text(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(
            stderr(&output).contains(message),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    assert!(!Path::new(&out).exists(), "nothing is written on an error");
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [
        &["classify"][..],
        &[],
        &["classifier", "--dataset", "a", "--shards", "b"],
    ] {
        assert_eq!(lift_text(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(lift_text(&["--version"]).status.code(), Some(0));
}
