//! The program `lift-train` from outside: exit codes and messages. Whole runs are tested in the package `tests`.

use std::process::{Command, Output};

fn lift_train(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lift-train"))
        .args(args)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
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
    let cases: [(&[&str], &str); 8] = [
        (
            &[],
            "lift-train: no shards given\nhint: --shards PATH, or `shards` in [train] of the recipe",
        ),
        (&["--config", &recipe], "unknown field `epocs`"),
        (&["--config", &no_table], "missing field `train`"),
        (
            &["--config", "nowhere.toml"],
            "lift-train: nowhere.toml: No such file",
        ),
        (
            &[
                "--shards", &empty, "--model", "m", "--head", "h", "--out", &out,
            ],
            "empty/train: not complete",
        ),
        (&["eval", "--run", &empty], "empty/config.toml: "),
        (&["compare", &empty], "empty/report.json: "),
        (
            &[
                "--shards", "s", "--model", "m", "--head", "h", "--out", &out, "--device", "gpu",
            ],
            "\"gpu\" is not a device",
        ),
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
    for args in [
        &["--epochs", "many"][..],
        &["--precision", "fp8"],
        &["evaluate"],
        &["compare"],
        &["eval"],
    ] {
        assert_eq!(lift_train(args).status.code(), Some(2), "{args:?}");
    }
    let help = lift_train(&["-h"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).lines().count() <= 50);
    let script = lift_train(&["completions", "bash"]);
    assert!(String::from_utf8_lossy(&script.stdout).contains("_lift-train"));
}
