//! `export` of classes whose names are no folder names, and exports that are cut off.

use std::collections::BTreeMap;
use std::fs;

use crate::support::Workplace;

/// The table's (label, file) pairs.
fn files(place: &Workplace, table: &str) -> Vec<(u32, String)> {
    let mut reader = csv::Reader::from_path(place.path(table)).unwrap();
    let field = |row: &csv::StringRecord, at: usize| row[at].to_owned();
    reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            (field(&row, 2).parse().unwrap(), field(&row, 8))
        })
        .collect()
}

/// Shards of a list with two images of each class.
fn built(place: &Workplace, classes: &[&str]) {
    let mut list = String::new();
    for label in 0..classes.len() {
        for i in 0..2 {
            place.image(&format!("img/{label}-{i}.png"), 6 + i, 5 + label as u32);
            list += &format!("img/{label}-{i}.png {label}\n");
        }
    }
    place.write("train.txt", &list);
    place.write("classnames.txt", &(classes.join("\n") + "\n"));
    let said = place.run("build list --source train.txt --split train --encoding original --out s");
    assert!(said.starts_with("exit 0"), "{said}");
}

#[test]
fn classes_of_one_name_do_not_share_a_folder() {
    let place = Workplace::new();
    built(&place, &["missile", "cat", "missile", "Crane", "crane"]);
    insta::assert_snapshot!(place.run("export s --out e"), @r"
    exit 0
    ----
    train: 10 rows -> e/train.csv, e/train
    note: class 0 (missile) is in missile (0)
    note: class 2 (missile) is in missile (2)
    note: class 3 (Crane) is in Crane (3)
    note: class 4 (crane) is in crane (4)
    ");
    let mut by_folder: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (label, file) in files(&place, "e/train.csv") {
        let original = format!("img/{label}-{}.png", file.as_bytes()[file.len() - 5] % 2);
        assert_eq!(
            fs::read(place.path(&format!("e/{file}"))).unwrap(),
            fs::read(place.path(&original)).unwrap()
        );
        let folder = file.split('/').nth(1).unwrap().to_owned();
        by_folder.entry(folder).or_default().push(label);
    }
    let expected = [
        ("Crane (3)", 3),
        ("cat", 1),
        ("crane (4)", 4),
        ("missile (0)", 0),
        ("missile (2)", 2),
    ];
    let expected = expected.map(|(folder, label)| (folder.to_owned(), vec![label; 2]));
    assert_eq!(by_folder, BTreeMap::from(expected));
    // The JSON says which folders are called otherwise.
    let json = place.run("export s --out again --json");
    let json = json.strip_prefix("exit 0\n").unwrap().split("----").next();
    let json: serde_json::Value = serde_json::from_str(json.unwrap()).unwrap();
    let folders = json["splits"][0]["folders"].as_array().unwrap();
    assert_eq!(folders.len(), 4);
    assert_eq!(
        folders[1],
        serde_json::json!({"label": 2, "class": "missile", "folder": "missile (2)"})
    );
}

#[test]
fn names_that_no_folder_can_have_are_exported() {
    let place = Workplace::new();
    let long = "a long description of a bird, ".repeat(10);
    let percent = "%".repeat(200);
    let names = [long.trim(), &percent, "..", "a/b", "x\u{1}y", "\u{1b}[2J"];
    built(&place, &names);
    let said = place.run("export s --out e");
    assert!(said.starts_with("exit 0"), "{said}");
    // Said, and nothing of it obeyed by the terminal.
    assert!(
        said.contains("note: class 4 (x␁y) is in x%01y\n")
            && said.contains("note: and 1 more classes are not in a folder of their name")
            && !said.contains('\u{1b}'),
        "{said}"
    );
    let folders: Vec<String> = files(&place, "e/train.csv")
        .into_iter()
        .step_by(2)
        .map(|(_, file)| file.split('/').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(
        folders,
        [
            long[..251].trim().to_owned() + " (0)",
            "%25".repeat(83) + " (1)",
            "%2E.".to_owned(),
            "a%2Fb".to_owned(),
            "x%01y".to_owned(),
            "%1B[2J".to_owned(),
        ]
    );
    // All that there is: 12 images and the table.
    assert_eq!(place.files("e").len(), 13);
    insta::assert_snapshot!(place.run("export s --out e"), @r"
    exit 1
    ----
    error: e/train: already exists and is not empty
    hint: remove it, or choose another --out
    ");
}

/// An export that fails leaves nothing that looks whole, and goes on where it failed.
#[test]
fn an_export_that_failed_is_gone_on_with() {
    let place = Workplace::new();
    built(&place, &["ant", "bee", "cow"]);
    place.run("export s --out whole");
    // What a kill before the first image leaves.
    place.write("e/train.unfinished/.export.json.lift-tmp", "");
    let shard = fs::read_dir(place.path("s/train"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "parquet")
        })
        .unwrap();
    let good = fs::read(&shard).unwrap();
    let image = fs::read(place.path("img/1-1.png")).unwrap();
    let at = good.windows(image.len()).position(|window| window == image);
    let mut bad = good.clone();
    bad[at.unwrap() + 20] ^= 1;
    fs::write(&shard, &bad).unwrap();
    let said = place.run("export s --out e");
    assert!(
        said.starts_with("exit 1") && said.contains("row 3 (img/1-1.png): checksum mismatch"),
        "{said}"
    );
    assert!(!place.path("e/train").exists() && !place.path("e/train.csv").exists());
    assert!(
        place
            .path("e/train.unfinished/images/ant/00000000.png")
            .exists()
    );
    // Half an image, as a machine that lost its power leaves it.
    place.write("e/train.unfinished/images/bee/00000002.png", "half");
    fs::write(&shard, &good).unwrap();
    // Other rows are another export.
    insta::assert_snapshot!(place.run("export s --rows 0..2 --out e"), @r"
    exit 1
    ----
    error: e/train.unfinished: holds an unfinished export of other rows or shards
    hint: export the same again to go on with it, remove it, or choose another --out
    ");
    let said = place.run("export s --out e");
    assert!(said.starts_with("exit 0"), "{said}");
    assert_eq!(place.files("e"), place.files("whole"));
    assert!(!place.path("e/train.unfinished").exists());
}

/// A folder of that name that is somebody else's is not touched.
#[test]
fn a_folder_of_others_is_no_unfinished_export() {
    let place = Workplace::new();
    built(&place, &["ant", "bee"]);
    place.write("e/train.unfinished/thesis.tex", "mine");
    insta::assert_snapshot!(place.run("export s --out e"), @r"
    exit 1
    ----
    error: e/train.unfinished: already exists and is not empty
    hint: remove it, or choose another --out
    ");
    assert_eq!(place.read("e/train.unfinished/thesis.tex"), "mine");
    assert!(!place.path("e/train").exists());
}

/// A disk that is full, where an image or the table is to be written, says how to go on; and it does.
#[test]
fn an_export_that_found_no_room_is_gone_on_with() {
    let place = Workplace::new();
    built(&place, &["ant", "bee"]);
    place.run("export s --out whole");
    let image = "e/train.unfinished/images/bee/00000002.png";
    let table = "e/train.unfinished/.table.csv.lift-tmp";
    let said = String::from_utf8(place.run_limited("-f 0", "export s --out e").stderr).unwrap();
    assert!(
        said.contains("File too large (os error 27)\nhint: ")
            && said.contains("run the same command again; what is finished is kept"),
        "{said}"
    );
    fs::remove_dir_all(place.path("e")).unwrap();
    // It begins, and stops at a damaged row: so the folder is known as its own.
    let shard = "s/train/train-00000.parquet";
    let good = fs::read(place.path(shard)).unwrap();
    let stored = fs::read(place.path("img/1-1.png")).unwrap();
    let at = good
        .windows(stored.len())
        .position(|window| window == stored);
    place.flip(shard, at.unwrap() + 20);
    assert!(place.run("export s --out e").starts_with("exit 1"));
    fs::write(place.path(shard), &good).unwrap();
    for path in [image, table] {
        let there = fs::read(place.path(path)).ok();
        fs::remove_file(place.path(path)).unwrap();
        std::os::unix::fs::symlink("/dev/full", place.path(path)).unwrap();
        let said = place.run("export s --out e");
        let expected = format!(
            "exit 1\n----\nerror: {path}: cannot write: No space left on device (os error 28)\nhint: make room and run the same command again; what is finished is kept\n"
        );
        assert_eq!(said, expected);
        fs::remove_file(place.path(path)).unwrap();
        fs::write(place.path(path), there.unwrap_or_default()).unwrap();
    }
    assert!(place.run("export s --out e").starts_with("exit 0"));
    assert_eq!(place.files("e"), place.files("whole"));
}

/// What is exported of names that no folder can have is built again with the same names.
#[test]
fn long_names_come_back() {
    let place = Workplace::new();
    let long = "\u{732b} of the mountains, ".repeat(20);
    let names = [format!("{long}one"), format!("{long}two"), "dog".to_owned()];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    built(&place, &names);
    assert!(place.run("export s --out e").starts_with("exit 0"));
    let said = place.run(
        "build list --source e/train.csv --path-column file --label-column class --split train --encoding original --out again",
    );
    assert!(said.starts_with("exit 0"), "{said}");
    let rows = |dir: &str| {
        let mut rows = crate::support::rows(&place, dir);
        rows.sort();
        rows
    };
    assert_eq!(rows("again/train"), rows("s/train"));
}
