//! Runs with a model that is given by its name on the hub, which is a server on the loopback interface.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
};

use lift_models::Head;

use super::{
    hub_server::{COMMIT, Model, Server},
    methods::tiny_vit,
    prepare, stderr, stdout,
};

/// Runs the program in `dir`, with the cache there.
fn lift_train(dir: &Path, args: &str, env: (&str, &str)) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lift-train"));
    let names = [
        "HF_TOKEN",
        "HF_HUB_OFFLINE",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
    ];
    for name in names {
        command.env_remove(name);
    }
    command
        .args(args.split(' '))
        .current_dir(dir)
        .env("HF_HOME", dir.join("home"))
        .env("OMP_NUM_THREADS", "1")
        .env(env.0, env.1)
        .output()
        .unwrap()
}

#[test]
fn a_run_keeps_the_models_name_and_commit_and_is_judged_again_without_a_network() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let model = Model::demo();
    let server = Server::start(move |request| model.answer(request));
    let url = server.url();
    let succeed = |args: &str, env: (&str, &str)| {
        let output = lift_train(dir.path(), args, env);
        assert_eq!(output.status.code(), Some(0), "{args}: {}", stderr(&output));
        assert!(
            !stderr(&output).contains("warning: "),
            "{}",
            stderr(&output)
        );
        stdout(&output)
    };

    let run = "--shards shards --model lift/shapes-clip --head head.safetensors --out run \
               --epochs 1 --tuner none --tte none --augment plain --device cpu";
    let plan = succeed(&format!("{run} --dry-run"), ("HF_ENDPOINT", &url));
    assert!(plan.contains(" of the tower's 1227776"), "{plan}");
    server.requests();
    succeed(run, ("HF_ENDPOINT", &url));
    assert_eq!(server.requests().len(), 1, "the commit is asked for once");
    drop(server);

    let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let name = format!("lift/shapes-clip@{COMMIT}");
    let settings = text("run/config.toml");
    assert!(
        settings.contains(&format!("\nmodel = \"{name}\"\n")),
        "{settings}"
    );
    let report: serde_json::Value = serde_json::from_str(&text("run/report.json")).unwrap();
    assert_eq!(report["model"], *name);

    for args in [
        "eval --run run --device cpu --json",
        "zero-shot --shards shards --model lift/shapes-clip --head head.safetensors --device cpu --json",
        "init --shards shards --model lift/shapes-clip --init class-mean --out made --device cpu",
    ] {
        succeed(args, ("HF_HUB_OFFLINE", "1"));
    }
    // The commit is in the cache, so that not even a network that is there is asked.
    let json = succeed("eval --run run --device cpu --json", ("HF_ENDPOINT", &url));
    let again: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        again["evaluations"][0]["metrics"],
        report["evaluations"][0]["metrics"]
    );

    // Taken along, it needs neither the hub nor the cache.
    let offline = ("HF_HUB_OFFLINE", "1");
    succeed("export run --format folder --out taken", offline);
    let card = text("taken/README.md");
    let head = "base_model: \"lift/shapes-clip\"\nbase_model_relation: finetune\n";
    assert!(card.contains(head), "{card}");
    std::fs::remove_dir_all(dir.path().join("home")).unwrap();
    let args = "eval --run taken --shards shards --device cpu --json";
    let taken: serde_json::Value = serde_json::from_str(&succeed(args, offline)).unwrap();
    assert_eq!(
        taken["evaluations"][0]["metrics"],
        report["evaluations"][0]["metrics"]
    );
}

#[test]
fn a_model_that_is_not_in_the_cache_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let args = "--shards shards --model models/typo --head head.safetensors --out run --device cpu --dry-run";
    let output = lift_train(dir.path(), args, ("HF_HUB_OFFLINE", "1"));
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.starts_with("error: models/typo: no such file or folder, nor in the cache (")
            && message.contains(
                "\nhint: put config.json, model.safetensors (or pytorch_model.bin), tokenizer.json and, if it has one, preprocessor_config.json"
            ),
        "{message}"
    );
}

#[test]
fn a_vit_of_timm_is_used_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let file = dir.path().join("tiny.safetensors");
    tiny_vit(&file);
    let mut config = String::from(r#"{"architecture": "vit_tiny", "num_classes": 0, "#);
    config += r#""pretrained_cfg": {"tag": "x", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}"#;
    let model = Model {
        repo: "timm/vit_tiny.x",
        files: BTreeMap::from([
            ("model.safetensors", std::fs::read(&file).unwrap()),
            ("config.json", config.into_bytes()),
        ]),
        storage: None,
    };
    let server = Server::start(move |request| model.answer(request));
    let url = server.url();
    for (model, out) in [
        ("timm/vit_tiny.x", "by-name"),
        ("tiny.safetensors", "by-path"),
    ] {
        let args = format!(
            "init --shards shards --model {model} --init class-mean --out {out} --device cpu"
        );
        let output = lift_train(dir.path(), &args, ("HF_ENDPOINT", &url));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let [by_name, by_path] =
        ["by-name", "by-path"].map(|name| Head::read(&dir.path().join(name)).unwrap());
    assert_eq!(by_name.model, "vit_tiny.x");
    assert_eq!(by_name.weight, by_path.weight);
}
