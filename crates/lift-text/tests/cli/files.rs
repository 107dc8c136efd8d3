//! What is written where: messages that are lost, results that are not, and files of others that break a library.

use std::{
    fs,
    fs::OpenOptions,
    path::Path,
    process::{Command, Output, Stdio},
};

use super::{lift_text, model, stderr};

fn full() -> Stdio {
    OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lift-text"))
}

#[test]
fn messages_that_cannot_be_written_are_lost_and_results_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("names.txt"), "red star\nblue ring\n").unwrap();
    let line =
        "classifier --device cpu --classnames names.txt --out new/folder/head.safetensors --model";
    let mut command = program();
    command
        .args(line.split(' '))
        .arg(model())
        .current_dir(dir.path());
    let ended = command.stderr(full()).status().unwrap();
    assert_eq!(ended.code(), Some(0));
    let head = dir.path().join("new/folder/head.safetensors");
    assert!(head.is_file());

    let results: [&[&str]; 4] = [
        &["--help"],
        &["--version"],
        &["completions", "bash"],
        &["similarity", "--head", head.to_str().unwrap()],
    ];
    for args in results {
        let output = program()
            .args(args)
            .stdout(full())
            .stderr(Stdio::piped())
            .spawn();
        let output = output.unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = stderr(&output);
        assert!(
            said.contains("standard output: cannot write: No space left on device"),
            "{said}"
        );
    }
}

fn classifier(dir: &Path, model: &Path, out: &str) -> Output {
    let (names, out) = (dir.join("names.txt"), dir.join(out));
    fs::write(&names, "red star\nblue ring\n").unwrap();
    let text = |path: &Path| path.display().to_string();
    lift_text(&[
        "classifier",
        "--device",
        "cpu",
        "--classnames",
        &text(&names),
        "--model",
        &text(model),
        "--out",
        &text(&out),
    ])
}

#[test]
fn an_output_that_cannot_be_a_file_is_refused_before_the_model_is_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for (out, reason) in [
        ("folder", "there is a folder of that name"),
        (
            "file/head.safetensors",
            "what should be its folder is a file",
        ),
        ("new/", "the path of a folder, not of a file"),
    ] {
        let output = classifier(dir.path(), Path::new("nowhere"), out);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(
            said.contains(&format!("{out}: cannot write: {reason}")),
            "{said}"
        );
    }
}

#[test]
fn a_tokenizer_that_its_library_panics_at_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(Path::new(&model()).join(file), dir.path().join(file)).unwrap();
    }
    let path = dir.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    // The template names start and end tokens that are not there any more.
    tokenizer["post_processor"]["special_tokens"] = serde_json::json!({});
    fs::write(&path, tokenizer.to_string()).unwrap();
    let output = classifier(dir.path(), dir.path(), "head.safetensors");
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.starts_with(&format!("error: {}: ", path.display())) && !said.contains("panicked"),
        "{said}"
    );
}
