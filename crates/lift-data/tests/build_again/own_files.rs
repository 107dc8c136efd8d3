//! A build removes what it wrote, and nothing else; and it does not write among what it reads.

use std::fs;
use std::os::unix::fs::symlink;

use super::support::Workplace;
use super::{BUILD, large_photos, names, unfinished};

#[test]
fn a_class_called_building_stays() {
    let place = Workplace::new();
    for i in 0..3 {
        place.image(&format!("bld/train/building/{i}.png"), 9 + i, 9);
    }
    let images = place.files("bld");
    insta::assert_snapshot!(place.run("build folder --source bld --split train --out bld"), @r"
    exit 1
    ----
    error: bld: the output folder is that of the source bld
    hint: choose an --out beside the source, neither in it nor around it: a build reads all that lies in its source
    ");
    assert_eq!(place.files("bld"), images);
    // It is a class as any other.
    let built = place.run("build folder --source bld --split train --out shards");
    assert!(built.contains("train: 3 images of 1 class"), "{built}");
    // In the way of another build it is no unfinished build, whether that one would succeed or fail.
    place.class_folders("photos");
    let copy = place.path("copy");
    fs::create_dir(&copy).unwrap();
    fs::rename(place.path("bld/train"), copy.join("train")).unwrap();
    insta::assert_snapshot!(place.run("build folder --source photos --split train --out copy"), @r"
    exit 1
    ----
    error: copy/train: already exists and is not empty
    hint: remove it, or choose another --out
    ");
    assert_eq!(place.files("copy"), images);
    fs::rename(copy.join("train"), place.path("bld/train")).unwrap();
    place.write("bld/train/building/bad.png", "no image");
    let images = place.files("bld");
    assert!(
        place
            .run("build folder --source bld --split train --out failed")
            .starts_with("exit 1")
    );
    assert_eq!(place.files("bld"), images);
    assert_eq!(names(&place.files("failed")), [""; 0]);
}

#[test]
fn files_of_others_in_the_building_folder_stay() {
    let place = large_photos();
    // No build has been here: nobody else's folder of that name is taken for one.
    place.write("mine/train/.lift-building/notes.txt", "mine");
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out mine")), @r"
    exit 1
    ----
    error: mine/train: already exists and is not empty
    hint: remove it, or choose another --out
    ");
    assert_eq!(
        names(&place.files("mine")),
        ["train/.lift-building/notes.txt"]
    );
    // What was cut off before its plan was written is ours.
    place.write("begun/train/.lift-building/lock", "");
    place.write("begun/train/.lift-building/plan.json.tmp", "ha");
    assert!(
        place
            .run(&format!("{BUILD} --out begun"))
            .starts_with("exit 0")
    );
    place.run(&format!("{BUILD} --out whole"));
    assert_eq!(place.files("begun"), place.files("whole"));
    // A plan that is none is not.
    place.write("other/train/.lift-building/plan.json", "{}");
    assert!(
        place
            .run(&format!("{BUILD} --out other"))
            .contains("other/train/.lift-building/plan.json: not the plan of a build")
    );
    assert_eq!(place.read("other/train/.lift-building/plan.json"), "{}");

    let place = unfinished();
    place.run(&format!("{BUILD} --out shards"));
    place.write("shards/train/.lift-building/notes.txt", "mine");
    for _ in 0..2 {
        let built = place.run(&format!("{BUILD} --out shards --max-bad 1"));
        assert!(built.starts_with("exit 0"), "{built}");
        let files = place.files("shards/train/.lift-building");
        assert_eq!(names(&files), ["notes.txt"]);
        assert!(place.run("verify shards").starts_with("exit 0"));
    }
}

#[test]
fn a_shard_that_has_no_record_yet_is_not_in_the_way() {
    let place = large_photos();
    place.run(&format!("{BUILD} --out whole"));
    // As after a kill, or a full disk, between a shard and its record.
    let place_of_shard = place.path("shards/train/.lift-building/shard-00000.json.tmp");
    fs::create_dir_all(&place_of_shard).unwrap();
    let failed = place.run(&format!("{BUILD} --out shards"));
    assert!(failed.starts_with("exit 1"), "{failed}");
    fs::remove_dir(&place_of_shard).unwrap();
    let built = place.run(&format!("{BUILD} --out shards"));
    assert!(built.starts_with("exit 0"), "{built}");
    assert_eq!(place.files("shards"), place.files("whole"));
}

#[test]
fn source_and_output_are_kept_apart() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.class_folders("around/photos");
    place.class_folders("far/photos");
    symlink(place.path("photos"), place.path("link")).unwrap();
    fs::create_dir_all(place.path("shortcut")).unwrap();
    symlink(place.path("far/photos/train"), place.path("shortcut/train")).unwrap();
    place.write("hf/train-0.parquet", "");
    place.write("tars/train-0.tar", "");
    place.write("cifar/cifar-100-python.tar.gz", "");
    place.write("lists/train.txt", "cat/0.png 0\n");
    place.write("photos/train/train.txt", "cat/0.png 0\n");
    let before = place.files("");
    let refused = [
        (
            "folder --source photos --out photos",
            "photos: the output folder is that of the source photos",
        ),
        (
            "folder --source photos --out photos/shards",
            "photos/shards: the output folder lies inside the source photos",
        ),
        (
            "folder --source around/photos --out around",
            "around: the output folder lies around the source around/photos",
        ),
        (
            "folder --source link --out photos/a/../b",
            "photos/a/../b: the output folder lies inside the source link",
        ),
        (
            "folder --source photos --out link",
            "link: the output folder is that of the source photos",
        ),
        (
            "folder --source ./photos/../photos/. --out link/new/deep",
            "link/new/deep: the output folder lies inside the source",
        ),
        (
            "folder --source shortcut --out far/photos/train/new",
            "far/photos/train/new: the output folder lies inside the source shortcut/train",
        ),
        (
            "folder --source photos/train --split test --out photos",
            "photos: the output folder lies around the source photos/train",
        ),
        (
            "hf --source hf --out hf/shards",
            "hf/shards: the output folder lies inside the source hf",
        ),
        (
            "webdataset --source tars --out tars/shards",
            "tars/shards: the output folder lies inside the source tars",
        ),
        (
            "cifar100-lt --source cifar --out cifar/shards",
            "cifar/shards: the output folder lies inside the source cifar",
        ),
        (
            "list --source lists --root photos/train --out lists",
            "lists: the output folder is that of the source lists",
        ),
        (
            "list --source lists/train.txt --root photos/train --out link/train",
            "link/train: the output folder is that of the source photos/train",
        ),
        (
            "list --source photos/train/train.txt --split train --out photos",
            "photos/train: the output folder is that of the source photos/train",
        ),
        (
            "list --source lists/train.txt --root photos/train/cat --split train --out photos",
            "photos/train: the output folder lies around the source photos/train/cat",
        ),
    ];
    for (build, message) in refused {
        for dry in ["", " --dry-run"] {
            let said = place.run(&format!("build {build}{dry}"));
            assert!(said.starts_with("exit 1\n"), "{build}: {said}");
            assert!(
                said.contains(&format!("error: {message}")),
                "{build}: {said}"
            );
        }
    }
    assert_eq!(place.files(""), before);
    // Of a list only the named files are read, and a file is no folder that is searched.
    let list = "list --source lists/train.txt --root photos/train --split train";
    for out in ["photos/shards", "lists/shards", "."] {
        let said = place.run(&format!("build {list} --out {out}"));
        assert!(said.contains("train: 1 image of 1 class"), "{out}: {said}");
        fs::remove_dir_all(place.path(&format!("{out}/train"))).unwrap();
    }
}
