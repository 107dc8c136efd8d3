//! The program `lift-text` from outside: exit codes, messages, and the file it writes.

#[path = "cli/files.rs"]
mod files;
#[path = "cli/texts.rs"]
mod texts;

use std::{
    path::Path,
    process::{Command, Output},
};

use lift_models::Head;

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

/// Runs `lift-text classifier` with words split at blanks, and gives the exit code and the whole message.
fn refusal(dir: &Path, line: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lift-text"))
        .args(["classifier", "--device", "cpu"])
        .args(line.split(' '))
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.stdout.is_empty(), "{line}");
    assert!(!dir.join("head.safetensors").exists(), "{line}");
    (output.status.code(), stderr(&output))
}

#[test]
fn settings_that_do_not_say_what_to_do_exit_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (
            "--dataset shapes-lt --out head.safetensors",
            "error: no model given\nhint: --model MODEL, or `model` in [text] of the recipe\n",
        ),
        (
            "--dataset shapes-lt --model m",
            "error: no output given\nhint: --out head.safetensors, or `out` in [text] of the recipe\n",
        ),
        (
            "--model m --out head.safetensors",
            "error: not exactly one list of class names given\nhint: one of --dataset NAME, --classnames FILE and --shards DIR\n",
        ),
        (
            "--dataset shapes-lt --model m --out head.safetensors --template photo",
            "error: a template needs {} once, where the class name goes; \"photo\" has it 0 times\n",
        ),
    ];
    for (line, message) in cases {
        let expected = (Some(2), message.to_owned());
        assert_eq!(refusal(dir.path(), line), expected, "{line}");
    }
    let output = lift_text(&[
        "classifier",
        "--dataset",
        "shapes-lt",
        "--model",
        "m",
        "--out",
        "x",
        "--device",
        "gpu",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: \"gpu\" is not a device; use auto, cpu or cuda:N\n"
    );
}

#[test]
fn wrong_input_exits_with_1_and_says_each_thing_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    std::fs::write(dir.path().join("recipe.toml"), "[text]\nmodle = 'm'\n").unwrap();
    let cases = [
        (
            "--dataset shapes-lt --model nowhere --out head.safetensors",
            "error: nowhere: no such file\nhint: give a folder with config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json, a .safetensors, .bin or .pt file, or a name on the Hugging Face hub such as openai/clip-vit-base-patch16\n",
        ),
        (
            "--dataset shapes-lt --model empty --out head.safetensors",
            "error: empty/model.safetensors: no such file\nhint: give a folder with config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json, a .safetensors, .bin or .pt file, or a name on the Hugging Face hub such as openai/clip-vit-base-patch16\n",
        ),
        (
            "--classnames names.txt --model empty --out head.safetensors",
            "error: names.txt: cannot read: No such file or directory (os error 2)\nhint: check the path\n",
        ),
        (
            "--config nowhere.toml",
            "error: nowhere.toml: No such file or directory (os error 2)\nhint: check the path\n",
        ),
    ];
    for (line, message) in cases {
        let expected = (Some(1), message.to_owned());
        assert_eq!(refusal(dir.path(), line), expected, "{line}");
    }
    // The rest of these messages is a list of names that grows, or the parser's.
    for (line, start) in [
        (
            "--dataset imagenet --model empty --out head.safetensors",
            "error: `imagenet` is not a known dataset",
        ),
        (
            "--config recipe.toml",
            "error: recipe.toml: bad recipe: TOML parse error at line 2, column 1\n",
        ),
    ] {
        let (code, message) = refusal(dir.path(), line);
        assert_eq!(code, Some(1), "{line}");
        assert!(message.starts_with(start), "{line}: {message}");
        assert_eq!(message.matches(start).count(), 1, "{message}");
    }
}

#[test]
fn completions_survive_a_reader_that_goes_away() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lift-text"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
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

/// Makes a classifier of two classes from words split at `|`, and reads it.
fn head_of(dir: &Path, line: &str) -> Head {
    let output = Command::new(env!("CARGO_BIN_EXE_lift-text"))
        .args(["classifier", "--device", "cpu", "--model", &model()])
        .args(["--classnames", "names.txt", "--out", "head.safetensors"])
        .args(line.split('|').filter(|word| !word.is_empty()))
        .current_dir(dir)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
    Head::read(&dir.join("head.safetensors")).unwrap()
}

#[test]
fn several_texts_are_ensembled_whatever_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("names.txt", "red_star\nblue ring\n");
    let embeds = |line: &str| head_of(dir.path(), line).text_embeds.unwrap();
    let (one, two) = (
        embeds("--template|a {}."),
        embeds("--template|a photo of a {}."),
    );
    // Radford et al. 2021: the mean of normalised embeddings, normalised again.
    let mean = lift_models::normalize(&(&one + &two));
    let largest = |a: &tch::Tensor, b: &tch::Tensor| (a - b).abs().max().double_value(&[]);
    assert!(largest(&one, &two) > 1e-3, "the templates differ");

    let flags = embeds("--template|a {}.|--template|a photo of a {}.|--batch-size|1");
    assert!(largest(&flags, &mean) < 1e-5);
    write("templates.txt", "# two of them\na {}.\na photo of a {}.\n");
    assert!(largest(&embeds("--templates|templates.txt|--batch-size|3"), &mean) < 1e-5);
    let texts = r#"{"blue ring": ["a {}.", "a photo of a blue ring."], "red_star": ["a {}.", "a photo of a {}."]}"#;
    write("phrases.json", texts);
    assert!(largest(&embeds("--descriptors|phrases.json"), &mean) < 1e-5);
    write(
        "recipe.toml",
        "[text]\ntemplate = ['a {}.', 'a photo of a {}.']\n",
    );
    let of_recipe = head_of(dir.path(), "--config|recipe.toml");
    assert!(largest(&of_recipe.text_embeds.unwrap(), &mean) < 1e-5);
    assert_eq!(of_recipe.template, "2 templates: a {}., ...");
    // What is typed replaces what the recipe says.
    let typed = embeds("--config|recipe.toml|--template|a {}.");
    assert!(largest(&typed, &one) < 1e-6);
}

#[test]
fn texts_mean_the_same_however_they_are_saved() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(dir.path().join(name), bytes).unwrap();
    let plain = |text: &str| text.as_bytes().to_vec();
    let marked = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n")).into_bytes();
    let utf16 = |text: &str| {
        let units = format!("\u{feff}{text}");
        units.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let save: [fn(&str) -> Vec<u8>; 3] = [plain, marked, utf16];
    let heads = save.map(|save| {
        write("names.txt", save("red_star\nblue ring\n\n"));
        write(
            "templates.txt",
            save("# two of them\na {}.\nan etching of a {}.\n"),
        );
        write(
            "phrases.json",
            save(r#"{"blue ring": ["a hole"], "red_star": ["{}"]}"#),
        );
        write("recipe.toml", save("[text]\ntemplate = ['a {}.']\n"));
        let ways = [
            "--templates|templates.txt",
            "--descriptors|phrases.json",
            "--config|recipe.toml",
        ];
        ways.map(|line| head_of(dir.path(), line))
    });
    for way in 0..3 {
        for head in &heads[1..] {
            assert_eq!(head[way].class_names, ["red_star", "blue ring"]);
            assert_eq!(head[way].template, heads[0][way].template);
            assert_eq!(head[way].weight, heads[0][way].weight);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("names.txt"), b"red star\nblue \xff\n").unwrap();
    let (code, message) = refusal(
        dir.path(),
        "--classnames names.txt --model m --out head.safetensors",
    );
    assert_eq!(code, Some(1));
    let reason =
        "error: names.txt: cannot read: line 2 is not UTF-8 text\nhint: save it as UTF-8\n";
    assert_eq!(message, reason);
}

#[test]
fn templates_may_name_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("names.txt", "red star\nblue ring\n");
    let categories = r#"[{"id": 0, "name": "red star", "family": "pointed", "order": "red"},
        {"id": 1, "name": "blue ring", "family": "round", "order": "blue"}]"#;
    write("categories.json", categories);
    let head = head_of(
        dir.path(),
        "--taxonomy|categories.json|--template|a {} of {order}.",
    );
    write(
        "phrases.json",
        r#"{"red star": ["a red star of red."], "blue ring": ["a blue ring of blue."]}"#,
    );
    let same = head_of(dir.path(), "--descriptors|phrases.json");
    assert!((head.weight - same.weight).abs().max().double_value(&[]) < 1e-6);

    for (line, message) in [
        (
            "--template|a {} of {order}.",
            "names {order}\nhint: --taxonomy",
        ),
        ("--taxonomy|none.json", "none.json: No such file"),
        (
            "--taxonomy|categories.json|--template|{} {genus}",
            "knows no genus of class 0 (red star)",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_lift-text"))
            .args(["classifier", "--device", "cpu", "--model", &model()])
            .args(["--classnames", "names.txt", "--out", "other.safetensors"])
            .args(line.split('|'))
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(
            stderr(&output).contains(message),
            "{line}: {}",
            stderr(&output)
        );
        assert!(!dir.path().join("other.safetensors").exists());
    }
}

#[test]
fn similarity_names_what_lies_close() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("names.txt"),
        "red star\nblue ring\nred heart\n",
    )
    .unwrap();
    let head = head_of(dir.path(), "");
    let embeds = head.text_embeds.unwrap();
    let cosine = (embeds.get(0) * embeds.get(2))
        .sum(tch::Kind::Float)
        .double_value(&[]);
    let path = dir.path().join("head.safetensors").display().to_string();
    let shown = lift_text(&[
        "similarity",
        "--head",
        &path,
        "--classes",
        "red star",
        "red heart",
        "--json",
    ]);
    let json: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(json["classes"][0]["class"], "red star");
    assert!((json["cosines"][0][1].as_f64().unwrap() - cosine).abs() < 1e-5);
    assert_eq!(json["classes"][0]["nearest"].as_array().unwrap().len(), 2);

    let all = lift_text(&["similarity", "--head", &path, "--nearest", "1"]);
    let text = String::from_utf8(all.stdout).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(text.starts_with("red star   "), "{text}");
    let unknown = lift_text(&["similarity", "--head", &path, "--classes", "red moon"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("no class \"red moon\" in it"));
}

#[test]
fn class_names_of_an_unfinished_build_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let shards = dir.path().join("shards");
    let train = shards.join("train");
    std::fs::create_dir_all(train.join(".lift-building")).unwrap();
    let (text, out) = (shards.display().to_string(), dir.path().join("head"));
    let out = out.to_str().unwrap();
    let output = lift_text(&[
        "classifier",
        "--shards",
        &text,
        "--model",
        &model(),
        "--out",
        out,
    ]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "{}: not complete: a build has begun here and not ended\nhint: ",
        train.display()
    );
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}
