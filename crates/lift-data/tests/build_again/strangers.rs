//! What lies in a folder that is being built is read as a stranger's: whatever it says, a command ends with a sentence,
//! and no manifest is written that `verify` would call not whole.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use twox_hash::XxHash3_64;

use super::support::Workplace;
use super::{BUILD, large_photos, unfinished};

const RECORD: &str = "shards/train/.lift-building/shard-00001.json";
const PLAN: &str = "shards/train/.lift-building/plan.json";

/// Changes a file that carries its own hash, which is made to agree.
fn forge(place: &Workplace, path: &str, edit: impl Fn(&mut Value)) {
    let mut value: Value = serde_json::from_str(&place.read(path)).unwrap();
    value.as_object_mut().unwrap().remove("self_xxh3");
    edit(&mut value);
    let text = serde_json::to_string_pretty(&value).unwrap();
    let start = text.strip_suffix("\n}").unwrap().to_owned() + ",\n  \"self_xxh3\": \"";
    let hash = XxHash3_64::oneshot(start.as_bytes());
    place.write(path, &format!("{start}{hash:016x}\"\n}}\n"));
}

/// All parts of a build, not joined.
fn parts() -> Workplace {
    let place = large_photos();
    for part in ["1/2", "2/2"] {
        let said = place.run(&format!("{BUILD} --out shards --part {part}"));
        assert!(said.starts_with("exit 0"), "{said}");
    }
    place
}

fn bad_image(label: u64, id: u64) -> Value {
    json!([{"id": id, "path": "x.png", "label": label, "reason": "x"}])
}

#[test]
fn forged_records_are_no_records() {
    let place = parts();
    let record = place.read(RECORD);
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 14] = [
        (
            |r| r["quarantined"] = bad_image(4_000_000_000, 5),
            "quarantined[0].label is 4000000000, there are 2 classes",
        ),
        (
            |r| r["damaged"] = bad_image(2, 5),
            "damaged[0].label is 2, there are 2 classes",
        ),
        (
            |r| r["quarantined"] = bad_image(1, 99),
            "quarantined[0].id is 99, there are 22 images",
        ),
        (
            |r| r["quarantined"] = bad_image(1, 5),
            "entry.rows is 5 beside 1 bad images, the plan says 5 together",
        ),
        (
            |r| r["entry"]["bytes"] = json!(u64::MAX),
            "train-00001.parquet: ",
        ),
        (|r| r["entry"]["rows"] = json!(u64::MAX), "entry.rows is "),
        (
            |r| r["entry"]["footer_bytes"] = json!(u64::MAX),
            "entry.footer_bytes is ",
        ),
        (
            |r| r["entry"]["footer_xxh3"] = json!("0123456789abcdef"),
            "train-00001.parquet: checksum mismatch in the footer",
        ),
        (
            |r| r["entry"]["columns_xxh3"] = json!("0123456789abcdef"),
            "train-00001.parquet: checksum mismatch in the small columns",
        ),
        (
            |r| r["entry"]["xxh3"] = json!("0123456789abcdef"),
            "train-00001.parquet: its hash is ",
        ),
        (
            |r| r["entry"]["file"] = json!("../../photos/x.parquet"),
            "entry.file: `../../photos/x.parquet` is not a file name",
        ),
        (
            |r| r["end"] = json!(u64::MAX),
            "first and end are 5 and 18446744073709551615, the plan says 5 and 10",
        ),
        (|r| r["shard"] = json!(2), "shard is 2"),
        (|r| r["entry"] = Value::Null, "entry.rows is 0 beside 0"),
    ];
    for (edit, reason) in edits {
        place.write(RECORD, &record);
        forge(&place, RECORD, edit);
        let said = place.run("commit shards");
        let start = "exit 1\n----\nerror: shards/train: 1 of 5 shards are missing or damaged: 1 (";
        assert!(
            said.starts_with(start) && said.contains(reason),
            "{reason}: {said}"
        );
        // Of two splits none is finished.
        for split in ["train", "test"] {
            assert!(
                !place
                    .path(&format!("shards/{split}/manifest.json"))
                    .exists()
            );
        }
    }
    // A pipe in a record's place is not waited for.
    fs::remove_file(place.path(RECORD)).unwrap();
    let pipe = Command::new("mkfifo").arg(place.path(RECORD)).status();
    assert!(pipe.unwrap().success());
    let said = place.run("commit shards");
    assert!(
        said.contains("shard-00001.json: cannot read: a pipe, not a file"),
        "{said}"
    );
    fs::remove_file(place.path(RECORD)).unwrap();
    place.write(RECORD, &record);
    assert!(place.run("commit shards").starts_with("exit 0"));
    assert!(place.run("verify shards").starts_with("exit 0"));
}

#[test]
fn a_build_builds_again_what_a_forged_record_says() {
    let place = parts();
    place.run(&format!("{BUILD} --out whole"));
    forge(&place, RECORD, |r| r["quarantined"] = bad_image(9, 5));
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards")), @r"
    exit 0
    ----
    note: shards/train/.lift-building/shard-00001.json: quarantined[0].label is 9, there are 2 classes: built again
    train: 22 images of 2 classes, 4.5 MB in 5 shards (4 finished before), [time] -> shards/train
    test: 2 images of 2 classes, 454.3 kB in 1 shard (finished before), [time] -> shards/test
    ");
    assert_eq!(place.files("shards"), place.files("whole"));
}

#[test]
fn labels_that_are_not_the_plans_make_no_manifest() {
    let place = large_photos();
    place.write("photos/train/cat/00.png", "no image");
    for part in ["1/2", "2/2"] {
        place.run(&format!("{BUILD} --out shards --max-bad 1 --part {part}"));
    }
    let record = "shards/train/.lift-building/shard-00000.json";
    forge(&place, record, |r| r["quarantined"][0]["label"] = json!(1));
    insta::assert_snapshot!(place.run("commit shards"), @r"
    exit 1
    ----
    error: shards/train: the labels in the shards and in the records of bad images are not the plan's: records were changed
    hint: remove the unfinished folder and build again
    ");
    assert!(!place.path("shards/train/manifest.json").exists());
}

#[test]
fn forged_plans_are_no_plans() {
    let place = parts();
    let plan = place.read(PLAN);
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 8] = [
        (
            |p| p["rows"] = json!(u64::MAX),
            "the class counts do not sum to 18446744073709551615 rows",
        ),
        (
            |p| {
                p["rows"] = json!(0);
                p["class_counts"] = json!([0, 0]);
            },
            "rows is 0: there is nothing to build",
        ),
        (
            |p| p["class_counts"] = json!([22]),
            "1 class counts for 2 class names",
        ),
        (|p| p["rows_per_shard"] = json!(0), "rows_per_shard is 0"),
        (
            |p| p["imbalance_ratio"] = json!(-1),
            "imbalance_ratio is -1",
        ),
        (|p| p["jpeg_quality"] = json!(255), "jpeg_quality is 255"),
        (
            |p| p["quarantined"] = json!(1),
            "it has the outcome of a build",
        ),
        (|p| p["format_version"] = json!(9), "format_version is 9"),
    ];
    for (edit, reason) in edits {
        place.write(PLAN, &plan);
        forge(&place, PLAN, edit);
        for command in ["commit shards".to_owned(), format!("{BUILD} --out shards")] {
            let said = place.run(&command);
            let start = format!("exit 1\n----\nerror: {PLAN}: not the plan of a build: {reason}");
            assert!(said.starts_with(&start), "{reason}: {said}");
        }
    }
    // As many shards as a number can count: none is looked for, and the records are another plan's.
    place.write(PLAN, &plan);
    forge(&place, PLAN, |p| {
        p["rows"] = json!(u64::MAX);
        p["class_counts"] = json!([u64::MAX, 0]);
        p["rows_per_shard"] = json!(1);
    });
    let said = place.run("commit shards");
    assert!(
        said.contains("18446744073709551615 of 18446744073709551615 shards are missing or damaged: 0 to 18446744073709551614 (.lift-building/shard-00000.json: it is of another plan)"),
        "{said}"
    );
    // A folder in another's place.
    place.write(PLAN, &plan);
    fs::rename(place.path("shards/test"), place.path("shards/val")).unwrap();
    let said = place.run("commit shards/val");
    assert!(
        said.contains("error: shards/val: the folder is called val and holds the test split"),
        "{said}"
    );
}

#[test]
fn parts_and_commit_get_along() {
    let place = parts();
    let building = place.path("shards/train/.lift-building");
    let lock = |name: &str| {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(building.join(name));
        file.unwrap()
    };
    // A part that is at work: nothing is joined, not even the other split.
    let part = lock("lock");
    part.try_lock_shared().unwrap();
    let said = place.run("commit shards");
    assert!(
        said.contains("error: shards/train: another build is writing here"),
        "{said}"
    );
    assert!(!place.path("shards/test/manifest.json").exists());
    part.unlock().unwrap();
    // A part that comes while shards are joined waits.
    let (joining, whole) = (lock("commit.lock"), lock("lock"));
    joining.try_lock().unwrap();
    whole.try_lock().unwrap();
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_lift-data"))
        .args(format!("{BUILD} --out shards --part 1/2").split_whitespace())
        .current_dir(place.path(""))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(waiting.try_wait().unwrap().is_none());
    drop((whole, joining));
    assert!(waiting.wait().unwrap().success());
    assert!(place.run("commit shards").starts_with("exit 0"));
    // What a commit leaves that is killed at its end goes with the next command.
    let whole = place.files("shards");
    for command in [
        "commit shards".to_owned(),
        format!("{BUILD} --out shards"),
        format!("{BUILD} --out shards --part 2/2"),
    ] {
        place.write("shards/train/.lift-building/lock", "");
        place.write("shards/train/.lift-building/commit.lock", "");
        place.write("shards/train/.lift-building/shard-00004.json", "{}");
        let said = place.run(&command);
        assert!(said.starts_with("exit 0"), "{said}");
        assert_eq!(place.files("shards"), whole, "{command}");
        assert!(!building.exists(), "{command}");
    }
}

#[test]
fn a_manifest_that_cannot_be_names_its_field() {
    let place = unfinished();
    place.run(&format!("{BUILD} --out shards --max-bad 1"));
    let path = "shards/train/manifest.json";
    let manifest = place.read(path);
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 4] = [
        (
            |m| m["imbalance_ratio"] = json!(-1),
            "imbalance_ratio is -1, it is a number from 1 on",
        ),
        (
            |m| m["jpeg_quality"] = json!(255),
            "jpeg_quality is 255, it is a number from 1 to 100",
        ),
        (
            |m| m["shards"][1] = m["shards"][0].clone(),
            "shards[1].file: `train-00000.parquet` is there twice",
        ),
        (
            |m| m["quarantine_file"]["xxh3"] = json!("x"),
            "quarantine_file.xxh3 is `x`, not 16 hex digits",
        ),
    ];
    for (edit, reason) in edits {
        place.write(path, &manifest);
        forge(&place, path, edit);
        for command in ["verify shards", "stats shards", "commit shards"] {
            let said = place.run(command);
            let start = format!("exit 1\n----\nerror: {path}: bad manifest: {reason}\n");
            assert!(said.starts_with(&start), "{command}: {said}");
        }
    }
}
