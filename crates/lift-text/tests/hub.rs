//! `lift-text` with a model that is given by its name on the hub, which is a server on the loopback interface.

#[path = "../../lift-models/tests/hub_server/mod.rs"]
mod hub_server;

use std::{
    path::Path,
    process::{Command, Output},
};

use hub_server::{COMMIT, Model, Server};
use lift_models::{Head, TensorFile};

/// Makes `out` in `dir` with the cache in `dir`; each of `env` is a variable and its value.
fn classifier(dir: &Path, model: &str, out: &str, env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lift-text"));
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
        .args(["classifier", "--dataset", "shapes-lt", "--device", "cpu"])
        .args(["--model", model, "--out", out])
        .current_dir(dir)
        .env("HF_HOME", dir.join("home"))
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_model_in_two_files_makes_the_same_classifier() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes-clip");
    let mut model = Model::demo();
    model.files.remove("model.safetensors");
    let whole = TensorFile::read(&demo.join("model.safetensors")).unwrap();
    let names = ["a.safetensors", "b.safetensors"];
    let mut parts = [TensorFile::default(), TensorFile::default()];
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in whole.tensors.into_iter().enumerate() {
        map.insert(name.clone(), names[i % 2].into());
        parts[i % 2].tensors.insert(name, tensor);
    }
    for (part, name) in parts.iter().zip(names) {
        let file = dir.path().join(name);
        part.write(&file).unwrap();
        model.files.insert(name, std::fs::read(file).unwrap());
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    let name = "model.safetensors.index.json";
    model.files.insert(name, index.into_bytes());
    let server = Server::start(move |request| model.answer(request));
    let url = server.url();
    let in_parts = [("HF_ENDPOINT", url.as_str())];
    for (model, out, env) in [
        (demo.to_str().unwrap(), "whole", &[][..]),
        ("lift/shapes-clip", "parts", &in_parts),
    ] {
        let output = classifier(dir.path(), model, out, env);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let head = |out: &str| Head::read(&dir.path().join(out)).unwrap();
    assert_eq!(head("whole").weight, head("parts").weight);
}

#[test]
fn a_classifier_is_made_by_name_and_then_without_a_network() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("home")).unwrap();
    std::fs::write(dir.path().join("home/token"), "from-the-file\n").unwrap();
    let model = Model::demo();
    let server = Server::start(move |request| model.answer(request));
    let url = server.url();
    let output = classifier(
        dir.path(),
        "lift/shapes-clip",
        "first",
        &[("HF_ENDPOINT", &url)],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        stderr(&output),
        "fetching lift/shapes-clip model.safetensors, 2.66 MiB\n\
         first: 100 classes x 128, prompt \"a photo of a {}.\"\n"
    );
    let requests = server.requests();
    let token = |request: &hub_server::Request| request.headers.get("authorization").cloned();
    assert!(
        requests
            .iter()
            .all(|r| token(r).as_deref() == Some("Bearer from-the-file"))
    );
    let head = Head::read(&dir.path().join("first")).unwrap();
    assert_eq!(head.model, "shapes-clip", "as of a folder of that name");

    drop(server);
    let name = format!("lift/shapes-clip@{COMMIT}");
    for (model, env, note) in [
        ("lift/shapes-clip", ("HF_HUB_OFFLINE", "1"), String::new()),
        (
            "lift/shapes-clip",
            ("HF_ENDPOINT", &*url),
            format!(
                "note: the hub does not answer ({url}/lift/shapes-clip/resolve/main/config.json: "
            ),
        ),
        (&name, ("HF_ENDPOINT", &*url), String::new()),
    ] {
        let output = classifier(dir.path(), model, "second", &[env]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let message = stderr(&output);
        assert!(message.starts_with(&note), "{message}");
        assert_eq!(
            message.lines().count(),
            if note.is_empty() { 1 } else { 2 },
            "{message}"
        );
        let bytes = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        assert!(bytes("first") == bytes("second"), "the files differ");
    }
}

#[test]
fn what_is_neither_here_nor_there_is_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let model = Model::demo();
    let server = Server::start(move |request| model.answer(request));
    let url = server.url();
    let cache = dir.path().join("cache").display().to_string();
    let cases = [
        (
            "models/typo",
            vec![("HF_ENDPOINT", &*url)],
            format!(
                "error: models/typo: no such file or folder, and no such model on the hub ({url}/models/typo)\n\
                 hint: check the path, or the spelling of the name; a private model needs HF_TOKEN\n"
            ),
        ),
        (
            "lift/shapes-clip",
            vec![("HF_HUB_OFFLINE", "1"), ("HF_HUB_CACHE", &*cache)],
            format!(
                "error: lift/shapes-clip: no such file or folder, nor in the cache ({cache}/models--lift--shapes-clip), \
                 and HF_HUB_OFFLINE forbids to fetch it\n\
                 hint: put config.json, model.safetensors (or pytorch_model.bin), tokenizer.json and, if it has one, preprocessor_config.json of \
                 https://huggingface.co/lift/shapes-clip/tree/main into a folder and give that folder; or fetch it once \
                 where there is a network, and copy the cache\n"
            ),
        ),
        (
            "lift/shapes-clip",
            vec![("HF_ENDPOINT", "hub.example")],
            "error: HF_ENDPOINT: \"hub.example\" is no address\nhint: for example https://huggingface.co\n".into(),
        ),
        (
            "lift/shapes-clip",
            vec![("HF_TOKEN", "two words"), ("HF_ENDPOINT", &*url)],
            "error: HF_TOKEN: not a token: it holds blanks or other characters that no token has\n".into(),
        ),
    ];
    for (model, env, message) in cases {
        let output = classifier(dir.path(), model, "out", &env);
        assert_eq!(stderr(&output), message);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty() && !dir.path().join("out").exists());
    }
}
