//! Builds that are cut off, run again, run twice at once, or run in parts: all end in the same bytes.

#[path = "build_again/last_image.rs"]
mod last_image;
#[path = "build_again/lost.rs"]
mod lost;
#[path = "build_again/own_files.rs"]
mod own_files;
#[path = "build_again/stopped.rs"]
mod stopped;
#[path = "build_again/strangers.rs"]
mod strangers;
mod support;
#[path = "build_again/whole.rs"]
mod whole;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lift_shards::ShardReader;
use lift_shards::manifest::MANIFEST_FILE;
use support::Workplace;

const BUILD: &str = "build folder --source photos --shard-mib 1 --threads 2";

/// `train/` with 22 images of some 200 kB, five a shard of 1 MiB, and `test/` with two.
fn large_photos() -> Workplace {
    let place = Workplace::new();
    for i in 0..22 {
        let class = ["cat", "dog"][i as usize % 2];
        place.image(&format!("photos/train/{class}/{i:02}.png"), 256 + i, 256);
    }
    for class in ["cat", "dog"] {
        place.image(&format!("photos/test/{class}/0.png"), 300, 260);
    }
    place
}

fn names(files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<String> {
    let text = |path: &PathBuf| path.display().to_string();
    files.keys().map(text).collect()
}

#[test]
fn shards_have_about_the_size_asked_for() {
    let place = large_photos();
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards")), @r"
    exit 0
    ----
    train: 22 images of 2 classes, 4.5 MB in 5 shards, [time] -> shards/train
    test: 2 images of 2 classes, 454.3 kB in 1 shard, [time] -> shards/test
    ");
    let expected = [
        "test/manifest.json",
        "test/test-00000.parquet",
        "train/manifest.json",
        "train/train-00000.parquet",
        "train/train-00001.parquet",
        "train/train-00002.parquet",
        "train/train-00003.parquet",
        "train/train-00004.parquet",
    ];
    assert_eq!(names(&place.files("shards")), expected);
}

#[test]
fn a_killed_build_run_again_ends_in_the_same_bytes() {
    let place = large_photos();
    place.write("photos/train/dog/05.png", "no image");
    let build = |out: &str| format!("{BUILD} --max-bad 1 --out {out}");
    place.run(&build("undisturbed"));
    let whole = place.files("undisturbed");
    let kills: u32 = std::env::var("LIFT_KILLS").map_or(10, |n| n.parse().unwrap());
    let (mut seed, mut killed, mut folders, mut within) = (1_u64, 0, 0, 0);
    while killed < kills {
        let out = format!("killed-{folders}");
        folders += 1;
        // The time to live grows, so that a slow machine gets to the end as well.
        for attempt in 1.. {
            let mut child = Command::new(env!("CARGO_BIN_EXE_lift-data"))
                .args(build(&out).split_whitespace())
                .current_dir(place.path(""))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Knuth's MMIX generator: the times are as good as random.
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(Duration::from_micros((seed >> 33) % (attempt * 20_000)));
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            killed += 1;
            let begun = place
                .files(&out)
                .keys()
                .any(|file| file.extension() == Some("parquet".as_ref()));
            within += u32::from(begun);
            for split in ["train", "test"] {
                let dir = place.path(&format!("{out}/{split}"));
                // What has a manifest is whole, what has none is refused.
                assert_eq!(
                    ShardReader::open(&dir).is_ok(),
                    dir.join(MANIFEST_FILE).is_file()
                );
            }
        }
        assert_eq!(place.files(&out), whole, "{out}");
        fs::remove_dir_all(place.path(&out)).unwrap();
    }
    eprintln!("{killed} kills, {within} of them after the first shard; {folders} datasets");
}

/// A build that stops at a bad image in its fourth shard.
fn unfinished() -> Workplace {
    let place = large_photos();
    fs::rename(
        place.path("photos/train/dog/17.png"),
        place.path("good.png"),
    )
    .unwrap();
    place.write("photos/train/dog/17.png", "no image");
    place
}

fn mend(place: &Workplace) {
    fs::rename(
        place.path("good.png"),
        place.path("photos/train/dog/17.png"),
    )
    .unwrap();
}

#[test]
fn a_failed_build_keeps_its_finished_shards() {
    let place = unfinished();
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards")), @r"
    exit 1
    ----
    error: photos/train/dog/17.png: cannot decode: not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF)
    hint: repair or remove the file, or leave out up to N bad ones with --max-bad N
    ");
    let expected = [
        "train/.lift-building/lock",
        "train/.lift-building/plan.json",
        "train/.lift-building/shard-00000.json",
        "train/.lift-building/shard-00001.json",
        "train/.lift-building/shard-00002.json",
        "train/.lift-building/train-00003.parquet.tmp",
        "train/train-00000.parquet",
        "train/train-00001.parquet",
        "train/train-00002.parquet",
    ];
    assert_eq!(names(&place.files("shards")), expected);
    insta::assert_snapshot!(place.run("verify shards"), @r"
    exit 1
    ----
    error: shards/train: not complete: a build has begun here and not ended
    hint: run the same `lift-data build` again, which goes on with it (parts: `lift-data commit`); of a copy, copy all of it again
    ");
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards --encoding png")), @r#"
    exit 1
    ----
    error: shards/train: holds an unfinished build with other settings: encoding is "rgb8" there and "png" here
    hint: give the same settings to go on with it, remove it, or choose another --out
    "#);
    insta::assert_snapshot!(place.run("commit shards"), @r"
    exit 1
    ----
    error: shards/train: 2 of 5 shards are missing or damaged: 3 to 4
    hint: run their parts again; a part keeps what it has finished
    ");
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards --max-bad 1")), @r"
    exit 0
    ----
    train: 21 images of 2 classes, 1 bad left out (see quarantine.jsonl), 4.3 MB in 5 shards (3 finished before), [time] -> shards/train
    test: 2 images of 2 classes, 454.3 kB in 1 shard, [time] -> shards/test
    ");
    place.run(&format!("{BUILD} --out undisturbed --max-bad 1"));
    assert_eq!(place.files("shards"), place.files("undisturbed"));
    // The list is the same, the images are not.
    mend(&place);
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards --max-bad 1")), @r"
    exit 1
    ----
    error: shards/train: holds a finished dataset with other settings: the source differs: other images of the same names, or decoded otherwise
    hint: give the same settings to go on with it, remove it, or choose another --out
    ");
}

#[test]
fn finished_shards_are_trusted_after_a_look_at_their_bytes() {
    let place = unfinished();
    place.run(&format!("{BUILD} --out shards"));
    place.flip("shards/train/train-00001.parquet", 5000);
    place.flip("shards/train/.lift-building/shard-00002.json", 30);
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards --max-bad 1")), @r"
    exit 0
    ----
    note: shards/train/train-00001.parquet: row 0 (cat/10.png): checksum mismatch: built again
    note: shards/train/.lift-building/shard-00002.json: expected `,` or `}` at line 2 column 29: built again
    train: 21 images of 2 classes, 1 bad left out (see quarantine.jsonl), 4.3 MB in 5 shards (1 finished before), [time] -> shards/train
    test: 2 images of 2 classes, 454.3 kB in 1 shard, [time] -> shards/test
    ");
    place.run(&format!("{BUILD} --out undisturbed --max-bad 1"));
    assert_eq!(place.files("shards"), place.files("undisturbed"));
}

#[test]
fn a_build_that_was_cut_off_after_its_manifest_is_tidied_up() {
    let place = large_photos();
    place.run(&format!("{BUILD} --out shards"));
    let whole = place.files("shards");
    place.write("shards/train/.lift-building/lock", "");
    place.write(
        "shards/train/.lift-building/train-00000.parquet.tmp",
        "half",
    );
    assert!(
        place
            .run(&format!("{BUILD} --out shards"))
            .starts_with("exit 0")
    );
    assert_eq!(place.files("shards"), whole);
}

#[test]
fn two_builds_of_one_folder_shut_each_other_out() {
    let place = unfinished();
    place.run(&format!("{BUILD} --out shards"));
    let before = place.files("shards");
    let other = File::options()
        .write(true)
        .open(place.path("shards/train/.lift-building/lock"))
        .unwrap();
    other.try_lock().unwrap();
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards")), @r"
    exit 1
    ----
    error: shards/train: another build is writing here
    hint: wait for it to end, or choose another --out
    ");
    assert!(
        place
            .run(&format!("{BUILD} --out shards --part 1/2"))
            .contains("another build")
    );
    assert!(place.run("commit shards").contains("another build"));
    // Parts tolerate each other, but not themselves.
    other.unlock().unwrap();
    other.try_lock_shared().unwrap();
    assert!(
        place
            .run(&format!("{BUILD} --out shards"))
            .contains("another build")
    );
    assert_eq!(place.files("shards"), before);
    assert!(
        place
            .run(&format!("{BUILD} --out shards --part 1/2"))
            .starts_with("exit 0")
    );
}

#[test]
fn parts_joined_are_one_build() {
    let place = large_photos();
    place.write("photos/train/dog/05.png", "no image");
    place.run(&format!("{BUILD} --out whole --max-bad 1"));
    let part = |part: &str| place.run(&format!("{BUILD} --out shards --max-bad 1 --part {part}"));
    insta::assert_snapshot!(part("3/3"), @r"
    exit 0
    ----
    train: part 3/3: 7 images of 2 classes, 1.5 MB in 2 shards, [time] -> shards/train
    test: part 3/3: 2 images of 2 classes, 454.3 kB in 1 shard, [time] -> shards/test
    hint: when all parts are done, join them with `lift-data commit`
    ");
    insta::assert_snapshot!(place.run("commit shards"), @r"
    exit 1
    ----
    error: shards/train: 3 of 5 shards are missing or damaged: 0 to 2
    hint: run their parts again; a part keeps what it has finished
    ");
    assert!(part("1/3").starts_with("exit 0"));
    let before = place.files("shards");
    insta::assert_snapshot!(part("1/3"), @r"
    exit 0
    ----
    train: part 1/3: 5 images of 2 classes, 999.8 kB in 1 shard (finished before), [time] -> shards/train
    test: part 1/3: 0 images of 2 classes, 0 bytes in 0 shards, [time] -> shards/test
    hint: when all parts are done, join them with `lift-data commit`
    ");
    assert_eq!(place.files("shards"), before);
    // The rest from parts of another whole.
    assert!(part("1/2").starts_with("exit 0"));
    assert!(part("2/2").starts_with("exit 0"));
    insta::assert_snapshot!(place.run("commit shards"), @r"
    exit 0
    ----
    train: 21 images of 2 classes, 1 bad left out (see quarantine.jsonl), 4.3 MB in 5 shards, [time] -> shards/train
    test: 2 images of 2 classes, 454.3 kB in 1 shard, [time] -> shards/test
    ");
    assert_eq!(place.files("shards"), place.files("whole"));
    insta::assert_snapshot!(part("1/3"), @r"
    exit 0
    ----
    train: 21 images of 2 classes, 1 bad left out (see quarantine.jsonl), 4.3 MB in 5 shards (finished before), [time] -> shards/train
    test: 2 images of 2 classes, 454.3 kB in 1 shard (finished before), [time] -> shards/test
    ");
    assert!(place.run("commit shards").starts_with("exit 0"));
    insta::assert_snapshot!(part("4/3"), @r"
    exit 2
    ----
    error: invalid value '4/3' for '--part <I/N>': parts of 3 are 1/3 to 3/3

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(place.run("commit photos"), @r"
    exit 1
    ----
    error: photos: no part of a build is here
    hint: name the --out folder of `lift-data build --part`
    ");
    assert_eq!(place.files("shards"), place.files("whole"));
}

#[test]
fn parts_may_run_at_the_same_time() {
    let place = large_photos();
    place.run(&format!("{BUILD} --out whole"));
    for round in 0..5 {
        let out = format!("shards-{round}");
        let part = |part: u32| {
            Command::new(env!("CARGO_BIN_EXE_lift-data"))
                .args(format!("{BUILD} --out {out}").split_whitespace())
                .args(["--part", "auto"])
                .env("SLURM_ARRAY_TASK_ID", part.to_string())
                .env("SLURM_ARRAY_TASK_MIN", "0")
                .env("SLURM_ARRAY_TASK_COUNT", "4")
                .current_dir(place.path(""))
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut children: Vec<_> = (0..4).map(part).collect();
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        assert!(place.run(&format!("commit {out}")).starts_with("exit 0"));
        assert_eq!(place.files(&out), place.files("whole"));
    }
}

#[test]
fn parts_together_keep_to_the_bad_images_that_one_build_may_have() {
    let place = large_photos();
    place.write("photos/train/cat/00.png", "no image");
    place.write("photos/train/dog/21.png", "no image");
    for part in ["1/2", "2/2"] {
        let report = place.run(&format!("{BUILD} --out shards --max-bad 1 --part {part}"));
        assert!(report.starts_with("exit 0"), "{report}");
    }
    insta::assert_snapshot!(place.run("commit shards"), @r"
    exit 1
    ----
    error: dog/21.png: cannot decode: not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF) (bad image number 2, --max-bad is 1)
    hint: repair or remove the bad files, or allow more with --max-bad
    ");
    place.run(&format!("{BUILD} --out shards --max-bad 2 --part 2/2"));
    assert!(place.run("commit shards").starts_with("exit 0"));
}

#[test]
fn a_shuffled_build_has_the_same_rows_in_another_order() {
    let place = large_photos();
    for threads in [1, 3] {
        let more = format!("--threads {threads} --out shuffled-{threads}");
        let build = "build folder --source photos --shard-mib 1 --order shuffled --seed 4";
        assert!(place.run(&format!("{build} {more}")).starts_with("exit 0"));
    }
    assert_eq!(place.files("shuffled-1"), place.files("shuffled-3"));
    place.run(&format!("{BUILD} --out list"));
    let rows = |out: &str| {
        let reader = ShardReader::open(&place.path(&format!("{out}/train"))).unwrap();
        let row = |index| {
            let pixels = reader.bytes(index).unwrap().to_vec();
            (reader.row(index).id, reader.path(index).to_owned(), pixels)
        };
        (0..reader.len()).map(row).collect::<Vec<_>>()
    };
    let (list, mut shuffled) = (rows("list"), rows("shuffled-1"));
    assert!(list.is_sorted_by_key(|row| row.0));
    assert!(!shuffled.is_sorted_by_key(|row| row.0));
    shuffled.sort();
    assert_eq!(shuffled, list);
}

#[test]
fn a_full_disk_and_a_closed_folder_say_so() {
    let place = large_photos();
    // What is written to this device finds no room.
    let unfinished = place.path("full/train/.lift-building/train-00000.parquet.tmp");
    if Path::new("/dev/full").exists() {
        fs::create_dir_all(unfinished.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/dev/full", unfinished).unwrap();
        insta::assert_snapshot!(place.run(&format!("{BUILD} --out full")), @r"
        exit 1
        ----
        error: full/train/.lift-building/train-00000.parquet.tmp: cannot write: No space left on device (os error 28)
        hint: make room and run the same command again; what is finished is kept
        ");
        assert_eq!(place.files("full").len(), 0);
    }
    let output = place.run_limited("-f 512", &format!("{BUILD} --out limited"));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    insta::assert_snapshot!(error, @r"
    error: limited/train/.lift-building/train-00000.parquet.tmp: cannot write: File too large (os error 27)
    hint: raise the limit (ulimit -f), or write to another file system, and run the same command again; what is finished is kept
    ");
    assert!(
        place
            .run(&format!("{BUILD} --out limited"))
            .starts_with("exit 0")
    );
    fs::create_dir(place.path("closed")).unwrap();
    let mut permissions = fs::metadata(place.path("closed")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(place.path("closed"), permissions).unwrap();
    if fs::write(place.path("closed/probe"), "").is_ok() {
        eprintln!("skipped: this user may write to a read-only folder");
        return;
    }
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out closed")), @r"
    exit 1
    ----
    error: closed/train/.lift-building: cannot write: Permission denied (os error 13)
    hint: check the permissions, or write to another folder
    ");
}
