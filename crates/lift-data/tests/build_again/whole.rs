//! Whether a folder of shards is all of what it says: finished, in its place, with nothing missing and nothing more.

use std::fs;

use lift_shards::{Manifest, Split, verify::verify};

use super::support::Workplace;

fn built() -> Workplace {
    let place = Workplace::new();
    place.class_folders("photos");
    place.run("build folder --source photos --out shards --encoding original");
    place
}

/// A build of 24 images that stopped at a bad one in its second shard.
fn unfinished() -> Workplace {
    let place = Workplace::new();
    for i in 0..24 {
        place.image(
            &format!("photos/train/{}/{i}.png", ["cat", "dog"][i as usize % 2]),
            160,
            150 + i,
        );
        place.image(
            &format!("photos/test/{}/{i}.png", ["cat", "dog"][i as usize % 2]),
            10,
            10,
        );
    }
    place.write("photos/train/dog/23.png", "no image");
    let said = place.run("build folder --source photos --out shards --shard-mib 1 --threads 1");
    assert!(said.starts_with("exit 1"), "{said}");
    assert!(place.path("shards/train/train-00000.parquet").exists());
    place
}

#[test]
fn an_unfinished_build_is_refused_by_all() {
    let place = unfinished();
    let begun = "error: shards/train: not complete: a build has begun here and not ended\nhint: ";
    let commands = [
        "stats",
        "report",
        "verify",
        "inspect",
        "export --out files",
        "bench folder --source",
        "bench hf --source",
        "bench webdataset --source",
        "build hf --out other --source",
        "build folder --out other --source",
        "build folder --split train --out other --source",
        "build hf --split train --out other --source",
        "build webdataset --out other --source",
        "split folder --out lists --source",
    ];
    let before = place.files("");
    for (at, sign) in [
        ("shards", begun),
        ("shards/train", begun),
        ("shards/train/train-00000.parquet", begun),
    ] {
        let is_file = at.ends_with("parquet");
        for command in commands {
            // A file is no folder of images, and none of shards.
            if is_file && !["stats", "report"].contains(&command) && !command.contains("hf") {
                continue;
            }
            let said = place.run(&format!("{command} {at}"));
            assert!(said.starts_with("exit 1\n----\n"), "{command} {at}: {said}");
            assert!(said.contains(sign), "{command} {at}: {said}");
        }
    }
    // The same without the build's own folder: a copy that is not whole.
    fs::remove_dir_all(place.path("shards/train/.lift-building")).unwrap();
    for command in ["stats", "report", "verify", "build hf --out other --source"] {
        let said = place.run(&format!("{command} shards"));
        assert!(said.starts_with("exit 1\n"), "{command}: {said}");
        assert!(
            said.contains(
                "error: shards/train: not complete: there are shards and no manifest.json\n"
            ),
            "{command}: {said}"
        );
    }
    let mut after = place.files("");
    after.extend(
        before
            .iter()
            .map(|(path, bytes)| (path.clone(), bytes.clone())),
    );
    assert_eq!(after, before, "nothing was written");
}

#[test]
fn finished_shards_are_no_source() {
    let place = built();
    for (kind, at, named) in [
        ("hf", "shards", "shards/train"),
        ("folder", "shards", "shards/train"),
        ("hf --split train", "shards/train", "shards/train"),
        (
            "hf --split train",
            "shards/train/train-00000.parquet",
            "shards/train",
        ),
    ] {
        let said = place.run(&format!("build {kind} --source {at} --out other"));
        assert!(said.starts_with("exit 1\n"), "{kind} {at}: {said}");
        let message = format!(
            "error: {named}: holds shards that `lift-data build` wrote, where a source of images is wanted\nhint: "
        );
        assert!(said.contains(&message), "{kind} {at}: {said}");
    }
    // Other programs have files called so.
    place.write("photos/manifest.json", "{\"name\": \"my photos\"}");
    place.write("photos/train/manifest.json", "[]");
    let said = place.run("build folder --source photos --out again");
    assert!(said.starts_with("exit 0"), "{said}");
}

#[test]
fn splits_in_each_others_place_are_named() {
    let place = built();
    fs::rename(place.path("shards/train"), place.path("shards/x")).unwrap();
    fs::rename(place.path("shards/test"), place.path("shards/train")).unwrap();
    fs::rename(place.path("shards/x"), place.path("shards/test")).unwrap();
    insta::assert_snapshot!(place.run("verify shards"), @r"
    exit 1
    shards/train/manifest.json: the folder is called train and holds the test split: split folders were swapped, renamed or copied
    shards/test/manifest.json: the folder is called test and holds the train split: split folders were swapped, renamed or copied
    ----
    error: shards: not whole, problems found: 2
    hint: build it again
    ");
    for command in [
        "stats shards",
        "report shards",
        "export shards --out files",
        "inspect shards/train",
        "stats shards/train",
        "build folder --source photos --encoding original --out shards",
    ] {
        insta::allow_duplicates!(insta::assert_snapshot!(place.run(command), @r"
        exit 1
        ----
        error: shards/train: the folder is called train and holds the test split
        hint: split folders were swapped, renamed or copied; call it test again, or build again
        "));
    }
    // Named by what it is and not by how it was reached.
    fs::rename(place.path("shards"), place.path("train")).unwrap();
    std::os::unix::fs::symlink(place.path("train/train"), place.path("link")).unwrap();
    for at in ["train/train/.", "link"] {
        let said = place.run(&format!("stats {at}"));
        assert!(
            said.contains("the folder is called train and holds the test split"),
            "{said}"
        );
    }
    // Any other name will do.
    fs::rename(place.path("train/train"), place.path("any")).unwrap();
    assert!(place.run("verify any").starts_with("exit 0"));
    assert!(place.run("stats any").starts_with("exit 0"));
}

#[test]
fn a_copy_of_the_training_split_is_no_test_split() {
    let place = built();
    fs::remove_dir_all(place.path("shards/test")).unwrap();
    fs::create_dir(place.path("shards/test")).unwrap();
    for (path, bytes) in place.files("shards/train") {
        fs::write(place.path("shards/test").join(path), bytes).unwrap();
    }
    insta::assert_snapshot!(place.run("verify shards"), @r"
    exit 1
    shards/train: whole: 16 images, 6.7 kB in 1 shard
    shards/test/manifest.json: the folder is called test and holds the train split: split folders were swapped, renamed or copied
    shards/test/manifest.json: 16 of its 16 images are in shards/train too (the first: row 0 of shard 0 here, row 0 of shard 0 there)
    ----
    error: shards: not whole, problems found: 2
    hint: build it again
    ");

    // The same of the images that were built.
    fs::remove_dir_all(place.path("photos/test")).unwrap();
    for (path, bytes) in place.files("photos/train") {
        let path = place.path("photos/test").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    place.run("build folder --source photos --out same --encoding original");
    insta::assert_snapshot!(place.run("verify same"), @r"
    exit 1
    same/train: whole: 16 images, 6.7 kB in 1 shard
    same/test/manifest.json: 16 of its 16 images are in same/train too (the first: row 0 of shard 0 here, row 0 of shard 0 there)
    ----
    error: same: not whole, problems found: 1
    hint: build it again
    ");
    assert!(
        place.run("verify same/test").starts_with("exit 0"),
        "by itself it is whole"
    );

    // Single images occur, and are for a report.
    place.class_folders("leaked");
    fs::copy(
        place.path("leaked/train/dog/3.png"),
        place.path("leaked/test/cow/9.png"),
    )
    .unwrap();
    place.run("build folder --source leaked --out few");
    insta::assert_snapshot!(place.run("verify few"), @r"
    exit 0
    few/train: whole: 16 images, 11.7 kB in 1 shard
    few/test: whole: 7 images, 4.4 kB in 1 shard
    ----
    note: few/test/manifest.json: 1 of its 7 images are in few/train too (the first: row 4 of shard 0 here, row 9 of shard 0 there)
    ");
}

#[test]
fn stray_shards_are_named() {
    let place = built();
    fs::copy(
        place.path("shards/test/test-00000.parquet"),
        place.path("shards/train/train-00001.parquet"),
    )
    .unwrap();
    place.write("shards/train/notes.txt", "mine");
    insta::assert_snapshot!(place.run("verify shards"), @r"
    exit 1
    shards/train/train-00001.parquet: a stray shard: the manifest does not name it
    shards/test: whole: 6 images, 3.4 kB in 1 shard
    ----
    error: shards: not whole, problems found: 1
    hint: build it again
    ");
}

#[test]
fn the_list_of_bad_images_is_part_of_the_whole() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.write("photos/train/cat/0.png", "not an image");
    place.write("photos/train/dog/2.png", "");
    place.run("build folder --source photos --out shards --max-bad 2");
    let manifest = Manifest::load(&place.path("shards/train")).unwrap();
    let listing = place.read("shards/train/quarantine.jsonl");
    let recorded = manifest.quarantine_file.clone().unwrap();
    assert_eq!(recorded.bytes, listing.len() as u64);
    // python: xxhash.xxh3_64_hexdigest(open("quarantine.jsonl", "rb").read())
    assert_eq!(recorded.xxh3, "40006bd2a50877b4");
    assert!(
        !place
            .read("shards/test/manifest.json")
            .contains("quarantine_file")
    );
    assert!(place.run("verify shards").starts_with("exit 0"));

    let first_line = listing.lines().next().unwrap().to_owned() + "\n";
    let problem = |text: Option<&str>| {
        let path = place.path("shards/train/quarantine.jsonl");
        match text {
            Some(text) => fs::write(path, text).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let said = place.run("verify shards/train");
        assert!(said.starts_with("exit 1\n"), "{said}");
        let report = place.run("report shards");
        assert!(
            report.contains("error: shards/train/quarantine.jsonl: "),
            "{report}"
        );
        said.lines().nth(1).unwrap().to_owned()
    };
    let start = "shards/train/quarantine.jsonl: ";
    assert_eq!(
        problem(None),
        format!("{start}missing: it lists the 2 bad images that were left out")
    );
    assert_eq!(
        problem(Some(&first_line)),
        format!(
            "{start}{} bytes, the manifest says {}",
            first_line.len(),
            listing.len()
        )
    );
    let changed = problem(Some(&listing.replace("cat/0.png", "cat/1.png")));
    assert!(
        changed.starts_with(&format!("{start}its hash is ")),
        "{changed}"
    );
    place.write("shards/test/quarantine.jsonl", &listing);
    let said = place.run("verify shards/test");
    assert!(
        said.contains(
            "shards/test/quarantine.jsonl: not in the manifest: there are no bad images that were left out\n"
        ),
        "{said}"
    );

    // A manifest of before: what can be checked is, and what cannot is said.
    let old = Manifest {
        quarantine_file: None,
        ..manifest
    };
    old.save(&place.path("shards/train")).unwrap();
    place.write("shards/train/quarantine.jsonl", &listing);
    insta::assert_snapshot!(place.run("verify shards/train"), @r"
    exit 0
    shards/train: whole: 14 images, 10.4 kB in 1 shard
    ----
    note: shards/train/quarantine.jsonl: its lines were counted and nothing else was checked: the manifest is of a version that did not record its hash
    ");
    assert_eq!(
        problem(Some(&first_line)),
        format!("{start}1 image, the manifest says 2")
    );
    assert_eq!(
        problem(None),
        format!("{start}missing: it lists the 2 bad images that were left out")
    );
}

#[test]
fn no_image_has_no_figure() {
    let place = built();
    // As versions wrote it that let all images of a test split be bad.
    let dir = place.path("shards/test");
    let mut empty = Manifest::load(&dir).unwrap();
    empty.class_counts = vec![0; 3];
    (empty.rows, empty.quarantined, empty.shards) = (0, 0, Vec::new());
    fs::remove_file(dir.join("test-00000.parquet")).unwrap();
    empty.save(&dir).unwrap();
    insta::assert_snapshot!(place.run("stats shards"), @r"
    exit 0
                                 train  test
    images                          16     0
    classes                          3     3
    largest class                   12     0
    smallest class                   1     0
    imbalance ratio               12.0     -
    Gini                         0.458     -
    many (> 100): classes            -     -
    many (> 100): images             -     -
    medium (20 to 100): classes      -     -
    medium (20 to 100): images       -     -
    few (< 20): classes              3     3
    few (< 20): images              16     0

    label  class  band  train  test
        2  dog    few      12     0
        0  cat    few       3     0
        1  cow    few       1     0
    ----
    ");
    let json = place.run("stats shards --json");
    assert!(json.contains("\"gini\": null"), "{json}");
    let said = place.run("report shards --json report.json --md report.md");
    assert!(said.starts_with("exit 0"), "{said}");
    let report: serde_json::Value = serde_json::from_str(&place.read("report.json")).unwrap();
    let test = &report["splits"][1];
    assert_eq!(test["split"], Split::Test.as_str());
    for figure in [
        "gini",
        "entropy_bits",
        "effective_classes",
        "top_tenth_share",
        "majority_accuracy",
        "imbalance_ratio",
    ] {
        assert!(test[figure].is_null(), "{figure} is {}", test[figure]);
    }
    assert!(report["quality"][1]["channel_mean"][0].is_null());
    assert!(verify(&[dir]).unwrap()[0].is_whole());
}
