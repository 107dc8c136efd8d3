//! A run judged at a rank above its classes.

use std::fs;

use arrow::{array::AsArray, datatypes::Int64Type};
use lift_shards::{Split, layout::split_dir, manifest::Manifest};
use lift_tests::shapes_run;
use lift_train::{
    command::{self, EvalSettings},
    config::TrainConfig,
    eval::Tte,
    level::Level,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tch::Device;

fn column(path: &std::path::Path, name: &str) -> Vec<i64> {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batches = reader.build().unwrap().map(Result::unwrap);
    let values = batches.flat_map(|batch| {
        let column = batch.column_by_name(name).unwrap();
        let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Int64).unwrap();
        column.as_primitive::<Int64Type>().values().to_vec()
    });
    values.collect()
}

#[test]
fn families_are_judged_by_the_predicted_class() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        epochs: 0,
        tte: Tte::None,
        ..shapes_run(dir.path())
    };
    command::train(&config).unwrap();
    // The last word of "large red star" is its family here.
    let train = split_dir(&config.shards, Split::Train).unwrap();
    let manifest = Manifest::load(&train).unwrap();
    let names = manifest.class_names.as_slice();
    let family = |label: i64| names[label as usize].rsplit(' ').next().unwrap();
    let categories = (0..names.len() as i64)
        .map(|label| serde_json::json!({"id": label, "name": names[label as usize], "family": family(label)}));
    let taxonomy = dir.path().join("categories.json");
    let list: Vec<_> = categories.collect();
    fs::write(&taxonomy, serde_json::json!(list).to_string()).unwrap();

    let settings = EvalSettings {
        predictions: Some(dir.path().join("families.parquet")),
        level: Some(Level {
            rank: "family".into(),
            taxonomy,
        }),
        ..EvalSettings::of_run(&config, Tte::None, Device::Cpu)
    };
    let report = command::eval(&config.out, None, &settings).unwrap();

    let said = config.out.join("predictions-plain.parquet");
    let (labels, predicted) = (column(&said, "label"), column(&said, "predicted"));
    let pairs: Vec<_> = labels
        .iter()
        .zip(&predicted)
        .map(|(&a, &b)| (family(a), family(b)))
        .collect();
    let right = pairs.iter().filter(|(a, b)| a == b).count();
    let species_right = labels
        .iter()
        .zip(&predicted)
        .filter(|(a, b)| a == b)
        .count();
    assert!(right > species_right, "some errors stay in the family");
    let metrics = &report.evaluations[0].metrics;
    assert_eq!(metrics.overall, Some(right as f64 / labels.len() as f64));
    assert_eq!(report.evaluations[0].level.as_deref(), Some("family"));

    let families = &report.class_names;
    assert!(families.is_sorted() && families.len() < names.len());
    let of_first: Vec<_> = pairs.iter().filter(|(a, _)| *a == families[0]).collect();
    let right_of_first = of_first.iter().filter(|(a, b)| a == b).count();
    assert_eq!(
        metrics.per_class[0],
        Some(right_of_first as f64 / of_first.len() as f64)
    );
    let counts = report.train_counts.as_ref().unwrap();
    assert_eq!(counts.iter().sum::<u64>(), manifest.rows);
    let labels = column(&dir.path().join("families.parquet"), "label");
    assert!(
        labels
            .iter()
            .zip(&pairs)
            .all(|(&label, (a, _))| families[label as usize] == *a)
    );
}
