//! Shards are standard Parquet: pyarrow, polars and DuckDB read them, and Hugging Face's `datasets` takes image
//! files for images and labels for classes; pixel for pixel what our reader gives.
//!
//! The Python packages are in `.venv`, which `cargo xtask test` makes; without it the test is skipped with a reason.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use lift_data::build::{Dataset, build};
use lift_image::decode::Decoder;
use lift_page::progress::Reporting;
use lift_shapes::{ShapesOptions, write_dataset};
use lift_shards::{Encoding, shard::ShardReader};
use lift_tests::{build_options, root};

/// Prints a row a line: its small columns, the sum of its stored bytes and the first of them.
const SCRIPT: &str = "
import sys, json
import pyarrow.parquet as pq, polars as pl, duckdb
arrow = pq.read_table(sys.argv[1]).to_pylist()
assert arrow == pl.read_parquet(sys.argv[1]).to_dicts(), 'pyarrow and polars differ'
duck = duckdb.sql(f\"select * from '{sys.argv[1]}'\")
assert arrow == [dict(zip(duck.columns, row)) for row in duck.fetchall()], 'pyarrow and DuckDB differ'
stored = lambda row: row['image']['bytes'] if isinstance(row['image'], dict) else row['image']
keys = ['id', 'path', 'label', 'width', 'height', 'num_bytes']
print(json.dumps([[row[k] for k in keys] + [sum(stored(row)), stored(row)[:8].hex()] for row in arrow]))
";

/// Prints what `datasets` makes of image files: class names, then for each row its class's name, its
/// image's size and the sum of its pixels.
const DATASETS: &str = "
import sys, json
import numpy, datasets
datasets.disable_progress_bars()
rows = datasets.Dataset.from_parquet(sys.argv[1], cache_dir=sys.argv[2])
label, image = rows.features['label'], rows.features['image']
assert isinstance(label, datasets.ClassLabel) and isinstance(image, datasets.Image), rows.features
print(json.dumps([label.names, [
    [label.int2str(row['label']), list(row['image'].size), int(numpy.asarray(row['image'].convert('RGB')).sum())]
    for row in rows]]))
";

fn python(script: &str, arguments: &[&Path]) -> Option<serde_json::Value> {
    let python = root().join(".venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no .venv with Python readers (cargo xtask test makes it)");
        return None;
    }
    let output = Command::new(&python)
        .args(["-c", script])
        .args(arguments)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// One test image of each drawn class, built in `encoding`; the shard folder.
fn shapes(dir: &Path, encoding: Encoding) -> PathBuf {
    let images = dir.join("images");
    if !images.exists() {
        let shapes = ShapesOptions {
            seed: 9,
            max_per_class: 1,
            imbalance_ratio: 1.0,
            test_per_class: 1,
        };
        write_dataset(&images, &shapes).unwrap();
    }
    let out = dir.join(format!("{encoding:?}"));
    let mut options = build_options(Dataset::named("shapes-lt").unwrap(), &images, &out);
    options.preprocess.encoding = encoding;
    build(&options, Reporting::Silent).unwrap();
    out.join("test")
}

const ENCODINGS: [Encoding; 4] = [
    Encoding::Rgb8,
    Encoding::Jpeg,
    Encoding::Png,
    Encoding::Original,
];

#[test]
fn pyarrow_polars_and_duckdb_read_what_we_read() {
    let dir = tempfile::tempdir().unwrap();
    for encoding in ENCODINGS {
        let reader = ShardReader::open(&shapes(dir.path(), encoding)).unwrap();
        let file = shapes_file(dir.path(), &reader, encoding);
        let Some(rows) = python(SCRIPT, &[&file]) else {
            return;
        };
        assert_eq!(rows.as_array().unwrap().len(), 100);
        for i in 0..reader.len() {
            let bytes = reader.bytes(i).unwrap();
            let row = reader.row(i);
            let sum: u64 = bytes.iter().map(|&b| u64::from(b)).sum();
            let start: String = bytes[..8].iter().map(|b| format!("{b:02x}")).collect();
            let ours = serde_json::json!([
                row.id,
                reader.path(i),
                row.label,
                row.width,
                row.height,
                row.num_bytes,
                sum,
                start
            ]);
            assert_eq!(ours, rows[i], "{encoding:?} row {i}");
        }
    }
}

#[test]
fn datasets_takes_image_files_for_images_of_classes() {
    let dir = tempfile::tempdir().unwrap();
    for encoding in ENCODINGS {
        if encoding == Encoding::Rgb8 {
            continue; // Bare pixels are no Image of theirs.
        }
        let reader = ShardReader::open(&shapes(dir.path(), encoding)).unwrap();
        let file = shapes_file(dir.path(), &reader, encoding);
        let cache = dir.path().join(format!("cache-{encoding:?}"));
        let Some(theirs) = python(DATASETS, &[&file, &cache]) else {
            return;
        };
        let names = &reader.manifest().class_names;
        assert_eq!(theirs[0], serde_json::json!(names.as_slice()));
        let mut decoder = Decoder::default();
        for i in 0..reader.len() {
            let image = reader.rgb(i, &mut decoder).unwrap();
            let (width, height, pixels) = (image.width, image.height, image.pixels);
            let row = &theirs[1][i];
            assert_eq!(row[0], names.as_slice()[reader.row(i).label as usize]);
            assert_eq!(row[1], serde_json::json!([width, height]));
            let sum: i64 = pixels.iter().map(|&pixel| i64::from(pixel)).sum();
            let apart = (sum - row[2].as_i64().unwrap()).abs() as f64 / pixels.len() as f64;
            // Two JPEG decoders differ by a step here and there (the originals are JPEGs too), two PNG
            // decoders by nothing.
            let allowed = if encoding == Encoding::Png { 0.0 } else { 0.5 };
            assert!(apart <= allowed, "{encoding:?} row {i}: {apart}");
        }
    }
}

fn shapes_file(dir: &Path, reader: &ShardReader, encoding: Encoding) -> PathBuf {
    let name = &reader.manifest().shards[0].file;
    dir.join(format!("{encoding:?}")).join("test").join(name)
}
