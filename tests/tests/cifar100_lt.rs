//! Real images end to end: CIFAR-100 from Hugging Face Parquet, cut to a long tail, built, checked, trained a few steps.

use lift_data::{
    build::{Dataset, build},
    dataset::DatasetSpec,
};
use lift_page::progress::Reporting;
use lift_shards::{Band, BandEdges, Split, layout::split_dir, manifest::Manifest, verify::verify};
use lift_tests::{build_options, demo_head, demo_model, shared};
use lift_train::{command, config::TrainArgs, eval::Tte};

#[test]
fn imbalance_ratio_100_is_built_exactly_and_trains() {
    let Some(source) = shared("data/cifar100") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let shards = dir.path().join("shards");
    let mut options = build_options(Dataset::named("cifar100-lt").unwrap(), &source, &shards);
    options.preprocess.short_side = Some(256);
    build(&options, Reporting::Silent).unwrap();

    let train = Manifest::load(&split_dir(&shards, Split::Train).unwrap()).unwrap();
    let test = Manifest::load(&split_dir(&shards, Split::Test).unwrap()).unwrap();
    assert_eq!((train.rows, test.rows), (10_847, 10_000));
    assert_eq!(train.class_hash, test.class_hash);
    // n_c = int(500 * 0.01^(c / 99)), so the bands are those of every CIFAR-100-LT paper: 35 / 35 / 30.
    for (label, &n) in train.class_counts.iter().enumerate() {
        assert_eq!(
            n,
            (500.0 * 0.01f64.powf(label as f64 / 99.0)) as u64,
            "class {label}"
        );
    }
    let edges = BandEdges::default();
    let classes_in = |band: Band| {
        train
            .class_counts
            .iter()
            .filter(|&&n| edges.band(n) == band)
            .count()
    };
    assert_eq!(
        [Band::Many, Band::Medium, Band::Few].map(classes_in),
        [35, 35, 30]
    );
    assert!(test.class_counts.iter().all(|&n| n == 100));
    assert!(verify(&[split_dir(&shards, Split::Train).unwrap()]).unwrap()[0].is_whole());

    // A few steps with the demo's model, whose words hardly know these classes: the loss must fall all the same.
    let classes = DatasetSpec::find("cifar100-lt")
        .unwrap()
        .known_class_names()
        .unwrap();
    let head = dir.path().join("head.safetensors");
    demo_head(&classes).write(&head).unwrap();
    let args = TrainArgs {
        shards: Some(shards),
        model: Some(demo_model()),
        head: Some(head),
        allow_identical: Some(true),
        out: Some(dir.path().join("run")),
        epochs: Some(1),
        batch_size: Some(512),
        tte: Some(Tte::None),
        device: Some("cpu".into()),
        log_every: Some(1),
        ..Default::default()
    };
    let config = args.resolve().unwrap();
    let report = command::train(&config).unwrap();
    assert_eq!(report.evaluations[0].metrics.images, 10_000);
    let lines = std::fs::read_to_string(config.out.join("metrics.jsonl")).unwrap();
    let losses: Vec<f64> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"]
                .as_f64()
                .unwrap()
        })
        .collect();
    assert_eq!(losses.len(), 10_847usize.div_ceil(512));
    assert!(losses[losses.len() - 1] < losses[0], "{losses:?}");
}
