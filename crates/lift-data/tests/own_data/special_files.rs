//! What is no regular file below the source is one bad image, or refused; nothing waits for a pipe or reads a device.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::support::{Workplace, rows};

fn pipe(place: &Workplace, path: &str) {
    let made = std::process::Command::new("mkfifo")
        .arg(place.path(path))
        .status();
    assert!(made.unwrap().success());
}

#[test]
fn pipes_devices_and_links_to_nowhere_are_bad_images() {
    let place = Workplace::new();
    place.class_folders("photos");
    pipe(&place, "photos/train/cat/pipe.png");
    pipe(&place, "photos/train/cat/nameless");
    symlink("/dev/zero", place.path("photos/train/cat/zero.png")).unwrap();
    symlink("gone.png", place.path("photos/train/dog/dangling.png")).unwrap();
    symlink("circle.png", place.path("photos/train/dog/circle.png")).unwrap();
    symlink("..", place.path("photos/train/dog/up")).unwrap();
    symlink("../cat/0.png", place.path("photos/train/dog/linked.png")).unwrap();
    let said = place.run("build folder --source photos --encoding original --max-bad 6 --out out");
    assert!(
        said.contains("train: 17 images of 3 classes, 6 bad left out"),
        "{said}"
    );
    let listed: Vec<(String, String)> = place
        .read("out/train/quarantine.jsonl")
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |field: &str| line[field].as_str().unwrap().to_owned();
            (text("path"), text("reason"))
        })
        .collect();
    let expected = [
        ("cat/nameless", "cannot read: a pipe, not a file"),
        ("cat/pipe.png", "cannot read: a pipe, not a file"),
        (
            "cat/zero.png",
            "cannot read: a link that leads out of the source (--follow-outside takes it)",
        ),
        (
            "dog/circle.png",
            "cannot read: Too many levels of symbolic links (os error 40)",
        ),
        ("dog/dangling.png", "cannot read: a link that leads nowhere"),
        ("dog/up", "cannot read: a folder, not a file"),
    ];
    assert_eq!(
        listed,
        expected.map(|(path, reason)| (path.to_owned(), reason.to_owned()))
    );
    let linked = fs::read(place.path("photos/train/cat/0.png")).unwrap();
    let stored = rows(&place, "out/train");
    let copies = stored.iter().filter(|(_, bytes)| *bytes == linked);
    let classes: Vec<&str> = copies.map(|(class, _)| class.as_str()).collect();
    assert_eq!(classes, ["cat", "dog"]);
    // Without leave for bad images the first ends it.
    insta::assert_snapshot!(place.run("build folder --source photos --out no"), @r"
    exit 1
    ----
    error: photos/train/cat/nameless: cannot read: a pipe, not a file
    hint: repair or remove the file, or leave out up to N bad ones with --max-bad N
    ");
}

#[test]
fn what_lies_outside_is_taken_where_that_is_allowed() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.image("pool/rat/1.png", 6, 6);
    let pool = fs::canonicalize(place.path("pool")).unwrap();
    symlink(pool.join("rat"), place.path("photos/train/rat")).unwrap();
    let said = place.run("build folder --source photos --split train --out no");
    let reason = format!(
        "error: photos/train/rat: a link to {}, outside of the source\nhint: take such links with --follow-outside",
        pool.join("rat").display()
    );
    assert!(said.contains(&reason), "{said}");
    let build = "build folder --source photos --split train --encoding original";
    let said = place.run(&format!("{build} --follow-outside --out out"));
    assert!(said.contains("train: 17 images of 4 classes"), "{said}");
    let manifest = place.read("out/train/manifest.json");
    assert!(!manifest.contains(&*pool.to_string_lossy()));
}

#[test]
fn lists_stay_below_their_root_and_ids_are_relative() {
    let place = Workplace::new();
    for name in [
        "photos/a.png",
        "photos/b.png",
        "photos/c.png",
        "other/d.png",
    ] {
        place.image(name, 4, 4);
    }
    let bytes = |name: &str| fs::read(place.path(name)).unwrap();
    let absolute = place.path("photos/c.png").display().to_string();
    place.write(
        "list.txt",
        &format!("./a.png 0\nx/..//b.png 0\n{absolute} 0\n"),
    );
    let build = "build list --root photos --split train --encoding original";
    place.run(&format!("{build} --source list.txt --out out"));
    let ids = |out: &str| {
        let reader = lift_shards::ShardReader::open(&place.path(out)).unwrap();
        let ids = (0..reader.len()).map(|index| reader.path(index).to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids("out/train"), ["a.png", "b.png", "c.png"]);
    assert_eq!(rows(&place, "out/train")[1].1, bytes("photos/b.png"));

    place.write("far.txt", "a.png 0\n../other/d.png 0\n");
    insta::assert_snapshot!(place.run(&format!("{build} --source far.txt --out no")), @r"
    exit 1
    ----
    error: far.txt:2: `../other/d.png` lies outside of photos
    hint: paths start at --root, by default the list's folder; --follow-outside takes files that lie elsewhere
    ");
    place.write("far.csv", "path,label\na.png,0\n/dev/zero,0\n");
    let said = place.run(&format!("{build} --source far.csv --out no"));
    assert!(
        said.contains("error: far.csv:3: `/dev/zero` lies outside of photos"),
        "{said}"
    );
    place.run(&format!(
        "{build} --source far.txt --follow-outside --out far"
    ));
    assert_eq!(ids("far/train"), ["a.png", "outside/up/other/d.png"]);
    assert_eq!(rows(&place, "far/train")[1].1, bytes("other/d.png"));
    // A device stays one bad image.
    let said = place.run(&format!(
        "{build} --source far.csv --follow-outside --max-bad 1 --out zero"
    ));
    assert!(
        said.contains("train: 1 image of 1 class, 1 bad left out"),
        "{said}"
    );
    let quarantine = place.read("zero/train/quarantine.jsonl");
    assert!(
        quarantine.contains(r#""path":"outside/dev/zero""#),
        "{quarantine}"
    );
    assert!(quarantine.contains("a device, not a file"), "{quarantine}");
}

#[test]
fn lists_and_names_are_regular_files_too() {
    let place = Workplace::new();
    place.class_folders("photos");
    pipe(&place, "pipe.txt");
    let names = place.run("build folder --source photos --classnames pipe.txt --out no");
    insta::assert_snapshot!(names, @r"
    exit 1
    ----
    error: pipe.txt: cannot read: a pipe, not a file
    hint: check that this is the right file
    ");
    let said = place.run("build list --source pipe.txt --split train --out no");
    assert!(
        said.contains("error: pipe.txt: neither a file nor a folder"),
        "{said}"
    );
    let said = place.run("build folder --source photos --classnames /dev/zero --out no");
    assert!(
        said.contains("error: /dev/zero: cannot read: a device, not a file"),
        "{said}"
    );
    let said = place.run("build --config photos --out no");
    assert!(
        said.contains("error: photos: cannot read: a folder, not a file"),
        "{said}"
    );
    // A file that may not be read is one bad image; root may read all.
    let file = place.path("photos/train/dog/0.png");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::read(&file).is_err() {
        let said = place.run("build folder --source photos --max-bad 1 --out out");
        assert!(
            said.contains("train: 15 images of 3 classes, 1 bad left out"),
            "{said}"
        );
    }
}

#[test]
fn an_image_that_no_shard_holds_is_one_bad_image() {
    let place = Workplace::new();
    place.class_folders("photos");
    // As large as it takes, without taking room on the disk.
    let huge = fs::File::options()
        .write(true)
        .open(place.path("photos/train/cat/1.png"));
    huge.unwrap().set_len((1 << 30) + 1).unwrap();
    for encoding in ["original", "rgb8"] {
        let build = format!("build folder --source photos --encoding {encoding} --split train");
        let said = place.run(&format!("{build} --max-bad 1 --out {encoding}"));
        assert!(
            said.contains("train: 15 images of 3 classes, 1 bad left out"),
            "{said}"
        );
        let listed = place.read(&format!("{encoding}/train/quarantine.jsonl"));
        assert!(
            listed.contains("cannot read: 1073741825 bytes, allowed are 1073741824"),
            "{listed}"
        );
        let said = place.run(&format!("{build} --out no"));
        assert!(
            said.starts_with(
                "exit 1\n----\nerror: photos/train/cat/1.png: cannot read: 1073741825 bytes"
            ) && said.contains("--max-bad N"),
            "{said}"
        );
    }
}
