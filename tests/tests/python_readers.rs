//! Shards are standard Parquet: pyarrow and polars read them, pixel for pixel what our reader gives.
//!
//! The Python packages are in `.venv`, which `cargo xtask test` makes; without it the test is skipped with a reason.

use std::process::Command;

use lift_data::{
    Encoding,
    build::{Dataset, build},
    progress::Reporting,
    shapes::{ShapesOptions, write_dataset},
    shard::ShardReader,
};
use lift_tests::{build_options, root};

const SCRIPT: &str = "
import sys, json
import pyarrow.parquet as pq, polars as pl
arrow = pq.read_table(sys.argv[1]).to_pydict()
frame = pl.read_parquet(sys.argv[1]).to_dict(as_series=False)
keys = ['id', 'path', 'label', 'width', 'height', 'num_bytes', 'image']
assert all(arrow[k] == frame[k] for k in keys), 'pyarrow and polars differ'
print(json.dumps([[arrow[k][i] for k in keys[:6]] + [sum(arrow['image'][i]), arrow['image'][i][:8].hex()] for i in range(len(arrow['id']))]))
";

#[test]
fn pyarrow_and_polars_read_what_we_read() {
    let python = root().join(".venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no .venv with pyarrow and polars (cargo xtask test makes it)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    let shapes = ShapesOptions {
        seed: 9,
        max_per_class: 1,
        imbalance_ratio: 1.0,
        test_per_class: 1,
    };
    write_dataset(&images, &shapes).unwrap();
    for encoding in [Encoding::Rgb8, Encoding::Jpeg, Encoding::Original] {
        let out = dir.path().join(format!("{encoding:?}"));
        let mut options = build_options(Dataset::named("shapes-lt").unwrap(), &images, &out);
        options.preprocess.encoding = encoding;
        build(&options, Reporting::Silent).unwrap();
        let reader = ShardReader::open(&out.join("test")).unwrap();
        let file = out.join("test").join(&reader.manifest().shards[0].file);
        let output = Command::new(&python)
            .args(["-c", SCRIPT])
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rows.len(), 100);
        let mut bytes = Vec::new();
        for (i, theirs) in rows.iter().enumerate() {
            reader.read_bytes(i, &mut bytes).unwrap();
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
            assert_eq!(&ours, theirs, "{encoding:?} row {i}");
        }
    }
}
