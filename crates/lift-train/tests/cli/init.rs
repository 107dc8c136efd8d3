//! Classifiers that are made from shards, and samplers, from the command line.

use std::{path::Path, sync::Arc};

use lift_loader::{Draws, Loader, View};
use lift_models::{Head, NoHooks, Normalisation, VisionTower, normalize};
use lift_shards::shard::ShardReader;
use tch::{Kind, Tensor};

use super::{
    lift_train,
    methods::{succeed, tiny_vit},
    prepare, stderr,
};

/// Shards of two images a class and a random tower, 64 wide; their paths as text.
pub fn inputs(dir: &Path) -> (String, String) {
    prepare(dir);
    let vit = dir.join("tiny.safetensors");
    tch::manual_seed(1);
    tiny_vit(&vit);
    (
        dir.join("shards").display().to_string(),
        vit.display().to_string(),
    )
}

fn made(dir: &Path, shards: &str, model: &str, args: &[&str]) -> Head {
    let out = dir.join("made.safetensors");
    let mut all = vec![
        "init", "--shards", shards, "--model", model, "--device", "cpu",
    ];
    let out_text = out.display().to_string();
    all.extend(["--out", &out_text]);
    all.extend(args);
    succeed(&all);
    Head::read(&out).unwrap()
}

/// Features (n, 64) and labels of all training images, by the tower alone, their short side being the resolution.
fn features(shards: &str, model: &str) -> (Tensor, Vec<i64>) {
    let reader = Arc::new(ShardReader::open(&Path::new(shards).join("train")).unwrap());
    let tower = VisionTower::open(Path::new(model)).unwrap();
    let rows = reader.len();
    let loader = Loader::new(reader, 16, rows, 1).unwrap();
    let draws = Draws::in_order(rows);
    let batch = loader.batches(draws, View::Fitted).next().unwrap().unwrap();
    let images = lift_train::transfer::images(&batch, &Normalisation::HALF, tch::Device::Cpu);
    let features = tch::no_grad(|| tower.features(&images, &NoHooks));
    (features, batch.labels)
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

#[test]
fn class_means_are_those_computed_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let (shards, model) = inputs(dir.path());
    let head = made(
        dir.path(),
        &shards,
        &model,
        &["--init", "class-mean", "--batch-size", "7"],
    );
    let (features, labels) = features(&shards, &model);
    let features = Vec::<Vec<f32>>::try_from(features).unwrap();
    let unit = |row: &[f64]| -> Vec<f64> {
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter().map(|x| x / length).collect()
    };
    let rows: Vec<f64> = (0..100)
        .flat_map(|class| {
            let mut sum = vec![0.0; 64];
            let of_class = features
                .iter()
                .zip(&labels)
                .filter(|(_, label)| **label == class);
            for (row, _) in of_class {
                row.iter()
                    .zip(&mut sum)
                    .for_each(|(&x, sum)| *sum += f64::from(x));
            }
            unit(&sum)
        })
        .collect();
    let wanted = Tensor::from_slice(&rows).view([100, 64]);
    assert!(largest_difference(&head.weight, &wanted) < 1e-6);
    assert_eq!(
        head.template,
        "class means of at most 100 training images a class, seed 0"
    );
    assert_eq!(head.model, "tiny.safetensors");
    assert!(head.text_embeds.is_none());
    // There are two images a class: one of them, chosen by the seed, is another mean; all of them are the same.
    let of = |images: &str| {
        let args = ["--init", "class-mean", "--init-images", images];
        made(dir.path(), &shards, &model, &args)
    };
    let one = of("1");
    assert!(largest_difference(&one.weight, &head.weight) > 1e-3);
    assert_eq!(
        one.template,
        "class means of at most 1 training image a class, seed 0"
    );
    let all = of("0");
    assert_eq!(all.weight, head.weight);
    assert_eq!(all.template, "class means of all training images");
}

#[test]
fn probed_rows_have_length_one_and_know_their_images() {
    let dir = tempfile::tempdir().unwrap();
    let (shards, model) = inputs(dir.path());
    let head = made(dir.path(), &shards, &model, &["--init", "linear-probe"]);
    assert!(largest_difference(&head.weight, &normalize(&head.weight)) < 1e-6);
    // Rows of a regression are set against each other, which class means are not: they tell their own images better
    // than the random rows do.
    let random = made(
        dir.path(),
        &shards,
        &model,
        &["--init", "random", "--seed", "3"],
    );
    assert_eq!(random.template, "random rows, seed 3");
    let again = made(
        dir.path(),
        &shards,
        &model,
        &["--init", "random", "--seed", "3"],
    );
    assert_eq!(random.weight, again.weight);
    let other = made(
        dir.path(),
        &shards,
        &model,
        &["--init", "random", "--seed", "4"],
    );
    assert_ne!(random.weight, other.weight);
    let (features, labels) = features(&shards, &model);
    let labels = Tensor::from_slice(&labels);
    let right = |head: &Head| {
        let said = normalize(&features)
            .matmul(&head.weight.tr())
            .argmax(1, false);
        said.eq_tensor(&labels).sum(Kind::Int64).int64_value(&[])
    };
    assert!(
        right(&head) > right(&random) + 20,
        "{} {}",
        right(&head),
        right(&random)
    );
}

#[test]
fn runs_start_from_what_init_says_and_draw_by_sampler() {
    let dir = tempfile::tempdir().unwrap();
    let (shards, model) = inputs(dir.path());
    let train = |name: &str, args: &[&str]| {
        let run = dir.path().join(name).display().to_string();
        let mut all = vec!["--shards", &shards, "--model", &model, "--out", &run];
        all.extend(["--epochs", "2", "--tte", "none", "--device", "cpu"]);
        all.extend(args);
        succeed(&all);
        let report = std::fs::read(dir.path().join(name).join("report.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&report).unwrap();
        json
    };
    let runs = [
        ("class-mean", "class-balanced"),
        ("linear-probe", "square-root"),
        ("random", "progressive"),
    ];
    for (init, sampler) in runs {
        let report = train(init, &["--init", init, "--sampler", sampler]);
        let loss = report["training"]["last_epoch_loss"].as_f64();
        assert!(loss.is_some_and(f64::is_finite), "{init} {sampler}");
        assert_eq!(report["config"]["sampler"], sampler);
        let run = dir.path().join(init).display().to_string();
        let again = succeed(&["eval", "--run", &run, "--device", "cpu", "--json"]);
        let again: serde_json::Value = serde_json::from_str(&again).unwrap();
        assert_eq!(
            again["evaluations"][0]["metrics"],
            report["evaluations"][0]["metrics"]
        );
    }
    // The file that `init` writes starts the same run, and the run keeps it.
    let head = made(dir.path(), &shards, &model, &["--init", "class-mean"]);
    let kept = Head::read(&dir.path().join("class-mean/head.safetensors")).unwrap();
    assert_eq!(head.weight, kept.weight);
    let file = dir.path().join("made.safetensors").display().to_string();
    let in_place = train("in-place", &["--init", "class-mean"]);
    let from_file = train("from-file", &["--head", &file]);
    assert_eq!(
        in_place["training"]["last_epoch_loss"],
        from_file["training"]["last_epoch_loss"]
    );
    assert_eq!(
        in_place["evaluations"][0]["metrics"],
        from_file["evaluations"][0]["metrics"]
    );

    let plan = |args: &[&str]| {
        let mut all = vec![
            "--shards",
            &shards,
            "--model",
            &model,
            "--out",
            "o",
            "--dry-run",
        ];
        all.extend(args);
        succeed(&all)
    };
    let said = plan(&["--init", "class-mean", "--sampler", "square-root"]);
    assert!(
        said.contains("learning rate 0.02, square-root sampling\n"),
        "{said}"
    );
    assert!(
        said.ends_with("start    class means over 200 images\n"),
        "{said}"
    );
    for (args, wanted) in [
        (
            &["--init", "linear-probe"][..],
            "start    linear probing on 200 images, 0.0 MiB of features (at most 8192)\n",
        ),
        (
            &["--init", "linear-probe", "--init-images", "1"],
            "start    linear probing on 100 images, 0.0 MiB of features (at most 8192)\n",
        ),
    ] {
        let said = plan(args);
        assert!(said.ends_with(wanted), "{said}");
    }
}

#[test]
fn a_start_that_cannot_be_is_refused() {
    let paths = ["--shards", "s", "--model", "m", "--out", "o"];
    let cases: [(&[&str], &str); 3] = [
        (
            &[],
            "error: no head given, and no --init to make one\nhint: --head PATH, or `head` in [train] of the recipe; or --init class-mean, linear-probe or random\n",
        ),
        (
            &["--head", "h", "--init", "random"],
            "error: --init random gives the classifier itself, and --head h is given too\nhint: leave one of them out\n",
        ),
        (
            &["--init", "head"],
            "error: no head given\nhint: --head PATH, or `head` in [train] of the recipe\n",
        ),
    ];
    for (args, message) in cases {
        let output = lift_train(&paths.iter().chain(args).copied().collect::<Vec<_>>());
        assert_eq!(
            (output.status.code(), stderr(&output).as_str()),
            (Some(2), message)
        );
    }
    let mut args = vec!["init", "--init", "head"];
    args.extend(paths);
    let output = lift_train(&args);
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (
            Some(2),
            "error: --init head makes nothing\nhint: use class-mean, linear-probe or random\n"
        )
    );
}
