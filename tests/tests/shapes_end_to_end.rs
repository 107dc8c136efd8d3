//! From drawn images to a tuned model and its report, with the model of this repository: the demo in small.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::AsArray,
    datatypes::{DataType, Int64Type},
};
use lift_data::{
    build::{BuildOptions, Dataset, build},
    dataset::DatasetSpec,
};
use lift_loader::{Draws, Loader, View};
use lift_models::{Head, Normalisation};
use lift_page::progress::Reporting;
use lift_shapes::{ShapesOptions, write_dataset};
use lift_shards::{ClassNames, Split, layout::split_dir, shard::ShardReader};
use lift_tests::{build_options, shapes_run};
use lift_train::{
    command::{self, EvalSettings, HeadFile},
    config::TrainConfig,
    eval::Tte,
    preset::Preset,
    report::Report,
    tuner::{TunerKind, Tuners},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tch::{Device, Tensor};

/// Columns of a Parquet file, all rows.
fn read_parquet(path: &Path) -> arrow::array::RecordBatch {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn integers(batch: &arrow::array::RecordBatch, name: &str) -> Vec<i64> {
    let column = arrow::compute::cast(batch.column_by_name(name).unwrap(), &DataType::Int64);
    column
        .unwrap()
        .as_primitive::<Int64Type>()
        .values()
        .to_vec()
}

#[test]
fn evaluations_say_what_they_saw() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        epochs: 0,
        ..shapes_run(dir.path())
    };
    let report = command::train(&config).unwrap();
    for (file, evaluation) in [
        ("predictions-plain.parquet", &report.evaluations[0]),
        ("predictions-five-crop.parquet", &report.evaluations[1]),
    ] {
        let said = read_parquet(&config.out.join(file));
        let (labels, predicted) = (integers(&said, "label"), integers(&said, "predicted"));
        assert_eq!(labels.len() as u64, evaluation.metrics.images);
        let right = labels
            .iter()
            .zip(&predicted)
            .filter(|(a, b)| a == b)
            .count();
        let overall = right as f64 / labels.len() as f64;
        assert!(
            (overall - evaluation.metrics.overall.unwrap()).abs() < 1e-12,
            "{file}"
        );
        let ranks = integers(&said, "rank");
        assert!(
            ranks
                .iter()
                .zip(&labels)
                .zip(&predicted)
                .all(|((&r, a), b)| (r == 0) == (a == b))
        );
        let top5 = ranks.iter().filter(|&&rank| rank < 5).count() as f64 / labels.len() as f64;
        assert_eq!(evaluation.metrics.top5, Some(top5), "{file}");
        let [low, high] = evaluation.metrics.intervals.overall.unwrap();
        assert!(low <= overall && overall <= high && high - low < 0.2);
    }

    let confusion = dir.path().join("confusion.parquet");
    for (tte, crops) in [(Tte::TenCrop, 10), (Tte::RandomCrops, 5)] {
        let asked = EvalSettings {
            confusion: Some(confusion.clone()),
            ..EvalSettings::of_run(&config, tte, Device::Cpu)
        };
        let report = command::eval(&config.out, None, &asked).unwrap();
        let evaluation = &report.evaluations[0];
        assert_eq!((evaluation.tte, evaluation.crops), (tte, crops));
        assert!(evaluation.metrics.overall > Some(0.1), "{tte:?}");
        let pairs = read_parquet(&confusion);
        let images = integers(&pairs, "images");
        assert_eq!(images.iter().sum::<i64>(), 200);
        let same = integers(&pairs, "label");
        let same = same.iter().zip(integers(&pairs, "predicted"));
        let right: i64 = same
            .zip(&images)
            .filter(|((a, b), _)| *a == b)
            .map(|(_, n)| n)
            .sum();
        assert!((right as f64 / 200.0 - evaluation.metrics.overall.unwrap()).abs() < 1e-12);
    }
    let train = EvalSettings {
        split: Split::Train,
        ..EvalSettings::of_run(&config, Tte::None, Device::Cpu)
    };
    let on_train = command::eval(&config.out, None, &train).unwrap();
    assert_eq!(on_train.evaluations[0].split, Split::Train);
}

#[test]
fn ten_crops_are_five_and_their_mirror_images() {
    let dir = tempfile::tempdir().unwrap();
    let config = shapes_run(dir.path());
    let reader = Arc::new(ShardReader::open(&config.shards.join("test")).unwrap());
    let loader = Loader::new(reader, 48, 8, 2).unwrap();
    let batch = |view| {
        loader
            .batches(Draws::in_order(8), view)
            .next()
            .unwrap()
            .unwrap()
    };
    let images =
        |view| lift_train::transfer::images(&batch(view), &Normalisation::HALF, Device::Cpu);
    let five = images(View::FiveCrop { expand: 5 }).view([8, 5, 3, 48, 48]);
    let ten = images(View::TenCrop { expand: 5 }).view([8, 2, 5, 3, 48, 48]);
    assert!(ten.select(1, 0) == five);
    // The last dimension runs from left to right.
    let columns: Vec<Tensor> = (0..48).map(|x| five.select(4, 47 - x)).collect();
    assert!(ten.select(1, 1) == Tensor::stack(&columns, 4));
}

#[test]
fn a_run_is_complete_repeatable_and_evaluated_again_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let config = shapes_run(dir.path());
    let report = command::train(&config).unwrap();

    assert_eq!(report.evaluations.len(), 2);
    assert_eq!(report.evaluations[0].metrics.images, 200);
    let parameters = report.parameters.unwrap();
    assert_eq!(parameters.classifier, 100 * 128);
    // Six blocks of (norm 2 d + down d r + r + up d r + d + scale), d 128, r 8 = 2^floor(log2(100 / 12)).
    assert_eq!(parameters.modules, 6 * (256 + 2 * 128 * 8 + 8 + 128 + 1));
    let written = Report::read(&config.out).unwrap();
    assert_eq!(written.evaluations, report.evaluations);
    let lines = fs::read_to_string(config.out.join("metrics.jsonl")).unwrap();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for key in [
            "step",
            "epoch",
            "loss",
            "lr",
            "images_per_second",
            "data_wait_share",
        ] {
            assert!(line[key].is_number(), "{key} in {line}");
        }
    }
    assert!(lines.lines().count() >= 3);

    // The same settings with other threads: the same tensors, byte for byte, and the same accuracies.
    let again = TrainConfig {
        out: dir.path().join("again"),
        threads: 1,
        ..config.clone()
    };
    let repeated = command::train(&again).unwrap();
    let tuned = |run: &Path| fs::read(run.join("tuned.safetensors")).unwrap();
    assert!(
        tuned(&config.out) == tuned(&again.out),
        "the tuned tensors differ"
    );
    for (a, b) in report.evaluations.iter().zip(&repeated.evaluations) {
        assert_eq!(a.metrics, b.metrics);
    }
    let other_seed = TrainConfig {
        out: dir.path().join("seed-1"),
        seed: 1,
        ..config.clone()
    };
    command::train(&other_seed).unwrap();
    assert!(
        tuned(&config.out) != tuned(&other_seed.out),
        "the seed changes nothing"
    );

    for (tte, evaluation) in [
        (Tte::None, &report.evaluations[0]),
        (Tte::FiveCrop, &report.evaluations[1]),
    ] {
        let again = command::eval(
            &config.out,
            None,
            &EvalSettings::of_run(&config, tte, Device::Cpu),
        )
        .unwrap();
        assert_eq!(again.evaluations[0].metrics, evaluation.metrics, "{tte:?}");
    }

    // A run's folder is never written over.
    let message = command::train(&config).unwrap_err().to_string();
    assert!(
        message.contains("run: exists and is not an empty folder"),
        "{message}"
    );
}

#[test]
fn training_starts_at_the_frozen_model_and_zero_epochs_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        epochs: 0,
        ..shapes_run(dir.path())
    };
    let report = command::train(&config).unwrap();
    let only_classifier = TrainConfig {
        out: dir.path().join("lp"),
        preset: Preset::ClassifierOnly,
        tuner: Tuners::default(),
        ..config.clone()
    };
    let frozen = command::train(&only_classifier).unwrap();
    for (a, b) in report.evaluations.iter().zip(&frozen.evaluations) {
        assert_eq!(a.metrics, b.metrics, "fresh modules are not the identity");
    }
    // The demo's model knows its shapes: chance is 1 %.
    let head = HeadFile::new(config.head.as_deref().unwrap(), false);
    let zero_shot = command::zero_shot(
        &config.model,
        head,
        None,
        &EvalSettings::of_run(&config, Tte::None, Device::Cpu),
    )
    .unwrap();
    assert!(
        zero_shot.evaluations[0].metrics.overall > Some(0.1),
        "{:?}",
        zero_shot.evaluations[0].metrics.overall
    );
}

#[test]
fn lora_trains_on_the_same_shards() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        tuner: TunerKind::Lora.into(),
        ..shapes_run(dir.path())
    };
    let report = command::train(&config).unwrap();
    // Six blocks of query and value, (d r + r d) each, r = 2^floor(log2(100 / 24)) = 4.
    assert_eq!(report.parameters.unwrap().modules, 6 * 2 * 2 * 128 * 4);
    let again = command::eval(
        &config.out,
        None,
        &EvalSettings::of_run(&config, Tte::None, Device::Cpu),
    )
    .unwrap();
    assert_eq!(again.evaluations[0].metrics, report.evaluations[0].metrics);
}

#[test]
fn wrong_inputs_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = shapes_run(dir.path());

    // A head for other classes.
    let mut names = DatasetSpec::find("shapes-lt")
        .and_then(|spec| spec.known_class_names())
        .unwrap()
        .as_slice()
        .to_vec();
    names[7] = "blue spiral".into();
    let other = dir.path().join("other.safetensors");
    let mut head = Head::read(config.head.as_deref().unwrap()).unwrap();
    head.class_hash = ClassNames::new(names.clone()).unwrap().hash();
    head.class_names = names;
    head.write(&other).unwrap();
    let message = command::train(&TrainConfig {
        head: Some(other),
        ..config.clone()
    })
    .unwrap_err()
    .to_string();
    assert!(
        message.contains("other.safetensors: its classes are not those of"),
        "{message}"
    );
    assert!(
        message.contains("label 7 is \"blue spiral\", there \"blue square\""),
        "{message}"
    );

    // A model that does not go with the head's width.
    let mut head = Head::read(config.head.as_deref().unwrap()).unwrap();
    head.weight = head.weight.narrow(1, 0, 64);
    let narrow = dir.path().join("narrow.safetensors");
    head.write(&narrow).unwrap();
    let message = command::train(&TrainConfig {
        head: Some(narrow),
        ..config.clone()
    })
    .unwrap_err()
    .to_string();
    assert!(
        message.contains("narrow.safetensors: weight is 64 wide"),
        "{message}"
    );

    // One flipped byte in the pixels of the training shards is found while training and names the shard.
    let train = split_dir(&config.shards, Split::Train).unwrap();
    let shard = fs::read_dir(&train)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "parquet"));
    let shard = shard.unwrap();
    let mut bytes = fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let message = command::train(&config).unwrap_err().to_string();
    assert!(
        message.contains(&*shard.file_name().unwrap().to_string_lossy()),
        "{message}"
    );
}

#[test]
fn two_builds_with_other_threads_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    let shapes = ShapesOptions {
        seed: 5,
        max_per_class: 2,
        imbalance_ratio: 2.0,
        test_per_class: 1,
    };
    write_dataset(&images, &shapes).unwrap();
    let outs = [1, 2].map(|threads| {
        let out = dir.path().join(format!("{threads}"));
        let options = BuildOptions {
            threads: NonZeroUsize::new(threads).unwrap(),
            ..build_options(Dataset::named("shapes-lt").unwrap(), &images, &out)
        };
        build(&options, Reporting::Silent).unwrap();
        out
    });
    for split in ["train", "test"] {
        let mut files: Vec<_> = fs::read_dir(outs[0].join(split))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        files.sort();
        assert!(files.len() >= 2, "{files:?}");
        for file in files {
            let read = |out: &PathBuf| fs::read(out.join(split).join(&file)).unwrap();
            assert!(read(&outs[0]) == read(&outs[1]), "{split}/{file:?} differs");
        }
    }
}
