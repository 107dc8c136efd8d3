//! What is said where shards are wanted and the path is not the one.

#[path = "support/mod.rs"]
mod support;

use std::fs;

use support::Workplace;

#[test]
fn each_wrong_path_has_its_own_sentence() {
    let place = Workplace::new();
    place.class_folders("photos");
    assert!(
        place
            .run("build folder --source photos --out made/shards --short-side 0")
            .starts_with("exit 0")
    );
    fs::create_dir(place.path("empty")).unwrap();
    place.write("text.txt", "");
    let mut said = String::new();
    for path in [
        "gone",
        "~/shards",
        "empty",
        "made",
        "photos",
        "text.txt",
        "made/shards/train/train-00000.parquet",
    ] {
        let out = place.run(&format!("verify {path}"));
        said += out.strip_prefix("exit 1\n----\n").unwrap_or(&out);
    }
    insta::assert_snapshot!(said, @r"
    error: gone: no such folder
    hint: give the folder that `lift-data build` wrote (its --out), or run the build
    error: ~/shards: no such folder
    hint: `~` was not replaced, because it stands within quotes or behind `=`: write $HOME
    error: empty: no shards: there is no manifest.json in it, nor in train, val or test below it
    hint: give the folder that `lift-data build` wrote (its --out), or run the build
    error: made: no shards: they lie a folder deeper
    hint: give made/shards
    error: photos: holds images, and shards are wanted
    hint: build shards of them first: lift-data build folder --source photos --out OUT
    error: text.txt: a file, where a folder of shards is wanted
    hint: give the folder that `lift-data build` wrote (its --out), or run the build
    error: made/shards/train/train-00000.parquet: a file, where a folder of shards is wanted
    hint: give made/shards/train
    ");
}
