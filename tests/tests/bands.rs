//! Bands that a build was given decide what many, medium and few mean in every evaluation of its shards.

use lift_data::{
    build::{BuildOptions, Dataset, build},
    dataset::DatasetSpec,
};
use lift_page::progress::Reporting;
use lift_shapes::{ShapesOptions, write_dataset};
use lift_shards::{BandEdges, manifest::Manifest};
use lift_tests::{build_options, demo_head, demo_model};
use lift_train::{
    command::{self, EvalSettings, HeadFile},
    config::TrainArgs,
    eval::Tte,
    metrics::Metrics,
    passes::Passing,
};
use tch::Device;

/// Mean accuracy, by hand, of the classes whose training count lies in a range.
fn mean(metrics: &Metrics, counts: &[u64], of_band: impl Fn(u64) -> bool) -> Option<f64> {
    let of_band: Vec<f64> = metrics
        .per_class
        .iter()
        .zip(counts)
        .filter(|&(_, &n)| of_band(n))
        .filter_map(|(accuracy, _)| *accuracy)
        .collect();
    (!of_band.is_empty()).then(|| of_band.iter().sum::<f64>() / of_band.len() as f64)
}

#[test]
fn evaluations_follow_the_bands_of_the_build() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // 60 images of the largest class, 2 of the smallest: by the usual edges no class is many.
    let shapes = ShapesOptions {
        seed: 4,
        max_per_class: 60,
        imbalance_ratio: 30.0,
        test_per_class: 2,
    };
    write_dataset(&path("images"), &shapes).unwrap();
    let dataset = Dataset::named("shapes-lt").unwrap();
    let options = BuildOptions {
        bands: BandEdges::new(50, 5).unwrap(),
        ..build_options(dataset, &path("images"), &path("shards"))
    };
    build(&options, Reporting::Silent).unwrap();
    let counts = Manifest::load(&path("shards").join("train"))
        .unwrap()
        .class_counts;
    assert!(counts.iter().all(|&n| n <= 100));
    for some in [
        counts.iter().any(|&n| n > 50),
        counts.iter().any(|&n| n < 5),
        counts.iter().any(|&n| (5..20).contains(&n)),
    ] {
        assert!(some, "{counts:?}");
    }

    let names = DatasetSpec::find("shapes-lt")
        .unwrap()
        .known_class_names()
        .unwrap();
    demo_head(&names).write(&path("head.safetensors")).unwrap();
    let args = TrainArgs {
        shards: Some(path("shards")),
        model: Some(demo_model()),
        head: Some(path("head.safetensors")),
        out: Some(path("run")),
        epochs: Some(0),
        tte: Some(Tte::None),
        device: Some("cpu".into()),
        ..Default::default()
    };
    let config = args.resolve().unwrap();
    let trained = command::train(&config).unwrap();
    let settings = EvalSettings {
        passing: Passing {
            batch_size: 64,
            ..config.passing()
        },
        ..EvalSettings::of_run(&config, Tte::None, Device::Cpu)
    };
    let again = command::eval(&config.out, None, &settings).unwrap();
    let head = path("head.safetensors");
    let zero_shot =
        command::zero_shot(&config.model, HeadFile::new(&head, false), None, &settings).unwrap();
    for report in [trained, again, zero_shot] {
        let metrics = &report.evaluations[0].metrics;
        for (found, wanted) in [
            (metrics.many, mean(metrics, &counts, |n| n > 50)),
            (
                metrics.medium,
                mean(metrics, &counts, |n| (5..=50).contains(&n)),
            ),
            (metrics.few, mean(metrics, &counts, |n| n < 5)),
        ] {
            let (found, wanted) = (found.unwrap(), wanted.unwrap());
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
        // By the usual edges they would be others.
        assert_ne!(metrics.few, mean(metrics, &counts, |n| n < 20));
    }
}
