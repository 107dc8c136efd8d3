//! `--logits`: what is kept of each image, as others read it, and what is refused.

use std::{fs, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, FixedSizeListArray, Float32Array, Int32Array, Int64Array},
    datatypes::{DataType, Field},
    record_batch::RecordBatch,
};
use lift_shards::Manifest;
use lift_train::{command, logits::LogitsFile, predictions::read_predictions};
use parquet::{
    arrow::ArrowWriter,
    file::{metadata::KeyValue, properties::WriterProperties},
};
use serde_json::Value;

use super::{lift_train, resume::tiny, run_report::root, stderr, stdout};

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs the program, which must succeed; what it printed.
pub fn succeed(args: &[&str]) -> String {
    let output = lift_train(args);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{args:?}: {}",
        stderr(&output)
    );
    stdout(&output)
}

/// Runs the program, which must end with this code; what it said.
pub fn fail(code: i32, args: &[&str]) -> String {
    let output = lift_train(args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.contains("\nhint: "), "{args:?}: {said}");
    said
}

/// What a Python script prints as JSON; none, with the reason printed, without the readers in `.venv`.
pub fn python(script: &str, args: &[&Path]) -> Option<Value> {
    let python = root().join(".venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no .venv with Python readers (cargo xtask test makes it)");
        return None;
    }
    let output = std::process::Command::new(python)
        .args(["-c", script])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Test shards as a val split beside them: the same images under another name.
pub fn add_val(shards: &Path) {
    let (test, val) = (shards.join("test"), shards.join("val"));
    fs::create_dir(&val).unwrap();
    let mut manifest = Manifest::load(&test).unwrap();
    manifest.split = lift_shards::Split::Val;
    for shard in &mut manifest.shards {
        let name = shard.file.replace("test-", "val-");
        fs::copy(test.join(&shard.file), val.join(&name)).unwrap();
        shard.file = name;
    }
    manifest.save(&val).unwrap();
}

/// Of each row its id and label, the class of its largest logit and that one's share.
const SCRIPT: &str = "
import sys, json
import numpy as np, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
logits = np.array(table['logits'].to_pylist(), dtype=np.float64)
shares = np.exp(logits - logits.max(1, keepdims=True))
shares /= shares.sum(1, keepdims=True)
about = json.loads(pq.read_metadata(sys.argv[1]).metadata[b'lift.logits'])
print(json.dumps({
    'kind': str(table.schema.field('logits').type), 'about': about,
    'ids': table['id'].to_pylist(), 'paths': table['path'].to_pylist(), 'labels': table['label'].to_pylist(),
    'best': logits.argmax(1).tolist(), 'share': shares.max(1).tolist()}))
";

#[test]
fn the_logits_of_an_evaluation_are_kept_and_read_by_others() {
    let dir = tempfile::tempdir().unwrap();
    let config = tiny(dir.path());
    command::train(&config).unwrap();
    let path = |name: &str| dir.path().join(name);
    let (kept, said) = (path("new/logits.parquet"), path("said.parquet"));
    let eval = |logits: &Path, said: &Path| {
        succeed(&[
            "eval",
            "--run",
            text(&config.out),
            "--tte",
            "five-crop",
            "--expand",
            "3",
            "--device",
            "cpu",
            "--logits",
            text(logits),
            "--predictions",
            text(said),
        ]);
    };
    eval(&kept, &said);
    let judged = read_predictions(&said, 100).unwrap();

    let file = LogitsFile::open(&kept).unwrap();
    let about = file.about();
    assert_eq!((about.images, about.num_classes), (100, 100));
    assert_eq!(
        (about.tte.as_str(), about.crops, about.expand),
        ("five-crop", 5, Some(3))
    );
    assert_eq!((about.run.as_str(), about.temperature), ("run", 1.0));
    let labels: Vec<i64> = judged.iter().map(|one| one.label.into()).collect();
    assert_eq!(file.labels().unwrap(), labels);
    let mut rows = 0;
    for batch in file.batches().unwrap() {
        let batch = batch.unwrap();
        assert_eq!(batch.logits.size(), [batch.labels.len() as i64, 100]);
        rows += batch.labels.len();
    }
    assert_eq!(rows, 100);

    // The same work gives the same bytes.
    let again = path("again.parquet");
    eval(&again, &path("said-again.parquet"));
    assert!(fs::read(&kept).unwrap() == fs::read(&again).unwrap());

    let Some(read) = python(SCRIPT, &[&kept]) else {
        return;
    };
    assert_eq!(
        read["kind"],
        "fixed_size_list<element: float not null>[100]"
    );
    assert_eq!(read["about"]["class_hash"], about.class_hash.as_str());
    assert_eq!(read["about"]["split"], "test");
    let test = lift_shards::ShardReader::open(&config.shards.join("test")).unwrap();
    for (row, one) in judged.iter().enumerate() {
        assert_eq!(read["ids"][row], test.row(row).id);
        assert_eq!(read["paths"][row], test.path(row));
        assert_eq!(read["labels"][row], one.label);
        assert_eq!(read["best"][row], one.predicted, "row {row}");
        let share = read["share"][row].as_f64().unwrap();
        assert!(
            (share - f64::from(one.confidence)).abs() < 1e-5,
            "row {row}: {share}"
        );
    }
}

/// A file of logits that says of itself what `about` says.
pub fn write(path: &Path, labels: &[i32], logits: &[f32], about: &Value) {
    let classes = logits.len() / labels.len();
    let number = Arc::new(Field::new("element", DataType::Float32, false));
    let numbers = Arc::new(Float32Array::from(logits.to_vec()));
    let list = FixedSizeListArray::new(number, classes as i32, numbers, None);
    let columns: [(&str, ArrayRef); 3] = [
        (
            "id",
            Arc::new(Int64Array::from_iter_values(0..labels.len() as i64)),
        ),
        ("label", Arc::new(Int32Array::from(labels.to_vec()))),
        ("logits", Arc::new(list)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let entry = KeyValue::new(lift_train::logits::KEY.to_owned(), about.to_string());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![entry]));
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// What a file of this many images and classes says of itself.
pub fn about(images: usize, classes: usize) -> Value {
    serde_json::json!({
        "format": "lift-logits/1", "tool_version": "0", "run": "run", "model": "m", "dataset": "d", "split": "val",
        "shards": "0", "images": images, "num_classes": classes, "class_hash": "h", "tte": "plain", "crops": 1,
        "temperature": 1.0
    })
}

#[test]
fn files_that_are_not_logits_are_refused_by_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logits.parquet");
    let about = about(2, 3);
    let with = |key: &str, value: Value| {
        let mut about = about.clone();
        about[key] = value;
        about
    };
    let good = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let read = |labels: [i32; 2], logits: [f32; 6], about: &Value| {
        write(&path, &labels, &logits, about);
        let file = LogitsFile::open(&path).map_err(|e| e.to_string())?;
        let batches = file.batches().map_err(|e| e.to_string())?;
        let batches: Result<Vec<_>, _> = batches.collect();
        batches.map_err(|e| e.to_string())
    };
    let batches = read([2, 0], good, &about).unwrap();
    assert_eq!(batches[0].labels, [2, 0]);
    assert_eq!(batches[0].logits.double_value(&[1, 2]), 5.0);
    let mut broken = good;
    broken[4] = f32::NAN;
    for (found, message) in [
        (
            read([2, 3], good, &about),
            "row 1: label 3, there are 3 classes",
        ),
        (read([-1, 0], good, &about), "row 0: label -1"),
        (read([0, 0], broken, &about), "row 1: a logit is not finite"),
        (
            read([0, 0], good, &with("num_classes", 4.into())),
            "not a list of 4 float32",
        ),
        (
            read([0, 0], good, &with("images", 3.into())),
            "2 rows of 3 images",
        ),
        (
            read([0, 0], good, &with("format", "x".into())),
            "expected lift-logits/1",
        ),
        (
            read([0, 0], good, &with("more", 1.into())),
            "unknown field `more`",
        ),
    ] {
        let said = found.unwrap_err();
        assert!(said.contains(message), "{said}");
        assert!(
            said.contains("logits.parquet: ") && said.contains("\nhint: "),
            "{said}"
        );
    }
    fs::write(&path, "no").unwrap();
    let said = LogitsFile::open(&path).unwrap_err().to_string();
    assert!(said.contains("not a file of logits"), "{said}");

    let said = fail(
        2,
        &[
            "zero-shot",
            "--shards",
            "s",
            "--model",
            "m",
            "--head",
            "h",
            "--device",
            "cpu",
            "--logits",
            "x.csv",
        ],
    );
    assert!(
        said.contains("logits are written as .parquet alone"),
        "{said}"
    );
}
