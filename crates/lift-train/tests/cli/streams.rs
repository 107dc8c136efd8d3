//! Messages that cannot be written are lost, and the work goes on; results that cannot be written are an error.

use std::{
    fs::{File, OpenOptions},
    path::Path,
    process::{Command, Output, Stdio},
};

use super::{demo_model, lift_train, prepare, stderr, stdout};

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

fn run(args: &[&str], out: impl Into<Stdio>, err: impl Into<Stdio>) -> Output {
    let child = Command::new(env!("CARGO_BIN_EXE_lift-train"))
        .args(args)
        .env("OMP_NUM_THREADS", "1")
        .stdout(out)
        .stderr(err)
        .spawn();
    child.unwrap().wait_with_output().unwrap()
}

/// A recipe of a short run on what [`prepare`] made.
pub fn recipe(dir: &Path) -> String {
    let path = dir.join("recipe.toml");
    let text = format!(
        "[train]\nshards = '{0}/shards'\nmodel = '{1}'\nhead = '{0}/head.safetensors'\nepochs = 1\nbatch_size = 100\n\
         device = 'cpu'\ntte = 'none'\n",
        dir.display(),
        demo_model().display()
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_log_that_cannot_be_written_ends_no_training() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let recipe = recipe(dir.path());
    let out = |name: &str| dir.path().join(name).display().to_string();

    let args = ["--config", &recipe, "--out", &out("full")];
    let output = run(&args, Stdio::piped(), full());
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stdout(&output)
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("full  plain")
    );

    // As `2>&1 | head -1` leaves it: a reader of both that is gone.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let args = ["--config", &recipe, "--out", &out("gone")];
    let output = run(&args, writer.try_clone().unwrap(), writer);
    assert_eq!(output.status.code(), Some(0));
    for name in ["full", "gone"] {
        assert!(
            dir.path().join(name).join("report.json").is_file(),
            "{name}"
        );
    }

    // A wrong command line stays wrong.
    assert_eq!(
        run(&["--epochs", "many"], Stdio::piped(), full())
            .status
            .code(),
        Some(2)
    );
    let compared = run(&["compare", &out("full")], full(), Stdio::piped());
    assert_eq!(
        (compared.status.code(), stderr(&compared)),
        (
            Some(1),
            "error: standard output: No space left on device (os error 28)\n".into()
        )
    );
}

#[test]
fn help_that_cannot_be_written_is_an_error() {
    for args in [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["eval", "--help"],
        &["completions", "bash"],
    ] {
        let output = run(args, full(), Stdio::piped());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = stderr(&output);
        assert!(
            said.contains("standard output: ") && said.contains("No space left on device"),
            "{args:?}: {said}"
        );
        assert_eq!(lift_train(args).status.code(), Some(0), "{args:?}");
    }
}
