//! Images without labels: where they may come from, what is said of them, and that it is what an evaluation says.

use std::{fs, io::Write, path::Path, process::Stdio};

use lift_train::command;
use serde_json::Value;

use super::{lift_train, resume, stderr, stdout};

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A trained run, and its images.
fn run(dir: &Path) -> String {
    let config = resume::tiny(dir);
    command::train(&config).unwrap();
    config.out.display().to_string()
}

#[test]
fn files_tars_lists_and_shards_are_said_the_same_of_as_an_evaluation_says() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    // As the files lie: shards of images that are decoded and cut like them.
    let images = dir.path().join("images");
    let original = dir.path().join("original");
    super::build_encoded(
        &images,
        &original,
        &[lift_shards::Split::Test],
        lift_shards::Encoding::Original,
    );
    let judged = path("judged.csv");
    for tte in ["none", "five-crop"] {
        let how = ["--tte", tte, "--expand", "5", "--device", "cpu"];
        let original = original.display().to_string();
        let eval = [
            &[
                "eval",
                &run,
                "--shards",
                &original,
                "--predictions",
                &judged,
            ],
            &how[..],
        ]
        .concat();
        let output = lift_train(&eval);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let table = fs::read_to_string(&judged).unwrap();
        // id,path,label,predicted,confidence,rank
        let wanted: Vec<(String, u64, f64)> = table
            .lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                (
                    cells[1].to_owned(),
                    cells[3].parse().unwrap(),
                    cells[4].parse().unwrap(),
                )
            })
            .collect();
        assert_eq!(wanted.len(), 100);

        let mut tar = tar::Builder::new(fs::File::create(path("test.tar")).unwrap());
        tar.append_dir_all("test", images.join("test")).unwrap();
        tar.into_inner().unwrap();
        let list: String = wanted
            .iter()
            .map(|(path, ..)| format!("images/test/{path}\n"))
            .collect();
        fs::write(path("list.txt"), list).unwrap();
        for input in [
            path("images/test"),
            path("test.tar"),
            path("list.txt"),
            original.clone(),
        ] {
            let output = lift_train(
                &[&["predict", &run, &input, "--json", "--top", "3"], &how[..]].concat(),
            );
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            let said = lines(&stdout(&output));
            assert_eq!(said.len(), 100, "{input}");
            for (name, label, confidence) in &wanted {
                let own = said
                    .iter()
                    .find(|line| line["path"].as_str().unwrap().ends_with(name.as_str()));
                let guesses = own.unwrap()["predictions"].as_array().unwrap();
                assert_eq!(guesses.len(), 3);
                assert_eq!(
                    guesses[0]["label"].as_u64().unwrap(),
                    *label,
                    "{input} {name}"
                );
                let share = guesses[0]["probability"].as_f64().unwrap();
                assert!((share - confidence).abs() < 1e-6, "{share} {confidence}");
            }
            assert!(
                stderr(&output).contains("100 images in "),
                "{}",
                stderr(&output)
            );
        }
    }
}

#[test]
fn bad_images_are_rows_and_exit_1_unless_they_may_be() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let class = fs::read_dir(dir.path().join("images/test"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let good = fs::read_dir(class).unwrap().next().unwrap().unwrap().path();
    fs::write(path("cut.jpg"), &fs::read(&good).unwrap()[..60]).unwrap();
    fs::write(path("text.png"), "no image").unwrap();
    fs::write(path("gone.txt"), "gone.jpg\n").unwrap();
    let good = good.display().to_string();
    let (csv, page) = (path("out/p.csv"), path("out/p.html"));
    let inputs = [
        &path("cut.jpg"),
        &good,
        &path("gone.txt"),
        &path("text.png"),
    ];
    let inputs = inputs.map(String::as_str);
    let how = [
        "--out",
        csv.as_str(),
        "--gallery",
        page.as_str(),
        "--device",
        "cpu",
        "--top",
        "1",
    ];
    let ask = |more: &[&str]| {
        lift_train(&[&["predict", run.as_str()], &inputs[..], &how[..], more].concat())
    };
    let output = ask(&[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.ends_with("3 images could not be judged, 0 may be bad; what was written says why of each\nhint: --max-bad 3 lets so many pass\n"), "{said}");
    let table = fs::read_to_string(&csv).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows[0], "path,class,label,probability,error");
    assert!(
        rows[1].starts_with(&format!("{},,,,", path("cut.jpg"))) && !rows[1].ends_with(",,,,"),
        "{}",
        rows[1]
    );
    assert!(
        rows[2].starts_with(&good) && rows[2].ends_with(','),
        "{}",
        rows[2]
    );
    assert!(rows[3].contains("No such file"), "{}", rows[3]);
    assert!(
        rows[4]
            .ends_with(",,,,\"not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF)\""),
        "{}",
        rows[4]
    );
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("data:image/jpeg;base64,") && html.contains("gone.jpg"));
    let output = ask(&["--max-bad", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    // By standard input, and with nothing likely enough.
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_lift-train"))
        .args([
            "predict",
            &run,
            "-",
            "--device",
            "cpu",
            "--min-confidence",
            "1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{good}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        stdout(&output),
        format!("{good}: no class is likely enough\n")
    );
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let shards = dir.path().join("shards").display().to_string();
    let cases: [(&[&str], i32, &str); 5] = [
        (
            &[&shards],
            2,
            "shards of 2 splits\nhint: name those that are meant: ",
        ),
        (&["nowhere.jpg.tar"], 1, "nowhere.jpg.tar: "),
        (
            &[&shards, "--top", "0"],
            2,
            "--top 0 must be a number from 1",
        ),
        (
            &[&shards, "--out", "x.json"],
            2,
            "--out x.json: predictions are written as .csv, .jsonl or .parquet",
        ),
        (&[], 2, "<INPUT>"),
    ];
    for (args, code, message) in cases {
        let output = lift_train(&[&["predict", run.as_str()], args].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(message), "{said}");
    }
}

#[test]
fn class_texts_are_asked_without_training() {
    let dir = tempfile::tempdir().unwrap();
    super::prepare(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (model, head) = (
        super::demo_model().display().to_string(),
        path("head.safetensors"),
    );
    let who = [
        "--model",
        model.as_str(),
        "--head",
        head.as_str(),
        "--device",
        "cpu",
    ];
    let (test, judged) = (path("images/test"), path("judged.csv"));
    let output = lift_train(
        &[
            &["zero-shot", test.as_str(), "--json", "--top", "2"],
            &who[..],
        ]
        .concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = lines(&stdout(&output));
    assert_eq!(said.len(), 100);
    let original = dir.path().join("original");
    super::build_encoded(
        &dir.path().join("images"),
        &original,
        &[lift_shards::Split::Test],
        lift_shards::Encoding::Original,
    );
    let original = original.display().to_string();
    let eval = ["zero-shot", "--shards", &original, "--predictions", &judged];
    let output = lift_train(&[&eval[..], &who[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let table = fs::read_to_string(&judged).unwrap();
    let mut right = 0;
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let own = said
            .iter()
            .find(|line| line["path"].as_str().unwrap().ends_with(cells[1]))
            .unwrap();
        right += usize::from(own["predictions"][0]["label"].as_u64() == cells[3].parse().ok());
    }
    assert_eq!(right, 100);
    let output = lift_train(
        &[
            &["zero-shot", test.as_str(), "--confusion", "c.csv"],
            &who[..],
        ]
        .concat(),
    );
    assert_eq!(output.status.code(), Some(2));
}
