//! Damaged and huge images, as users meet them in a build and in its shards.

use std::fs;

use lift_image::decode::Decoder;
use lift_shards::ShardReader;

use crate::support::Workplace;

/// Two whole photos and one whose second half is gone, with an end marker all the same.
fn photos() -> Workplace {
    let place = Workplace::new();
    let images = concat!(env!("CARGO_MANIFEST_DIR"), "/../lift-image/tests/images");
    let whole = fs::read(format!("{images}/rgb-2x2.jpg")).unwrap();
    let data = whole
        .windows(2)
        .position(|pair| pair == [0xFF, 0xDA])
        .unwrap();
    let half = [&whole[..(data + whole.len()) / 2], &[0xFF, 0xD9]].concat();
    fs::create_dir_all(place.path("photos/train/a")).unwrap();
    for (name, bytes) in [("0.jpg", &whole), ("1.jpg", &half), ("2.jpg", &whole)] {
        fs::write(place.path(&format!("photos/train/a/{name}")), bytes).unwrap();
    }
    place
}

#[cfg(feature = "turbojpeg")]
#[test]
fn a_damaged_photo_is_refused_or_left_out_or_kept_and_marked() {
    let place = photos();
    insta::assert_snapshot!(place.run("build folder --source photos --out out"), @r"
    exit 1
    ----
    error: photos/train/a/1.jpg: cannot decode: JPEG: damaged: premature end of data segment
    hint: repair or remove the file, or leave out up to N bad ones with --max-bad N
    ");
    insta::assert_snapshot!(place.run("build folder --source photos --out without --max-bad 1"), @r"
    exit 0
    ----
    train: 2 images of 1 class, 1 bad left out (see quarantine.jsonl), 9.0 kB in 1 shard, [time] -> without/train
    ");
    insta::assert_snapshot!(place.read("without/train/quarantine.jsonl"), @r#"{"id":1,"path":"a/1.jpg","label":0,"reason":"cannot decode: JPEG: damaged: premature end of data segment"}"#);
    insta::assert_snapshot!(place.run("build folder --source photos --out with --damaged keep"), @r"
    exit 0
    ----
    train: 3 images of 1 class, 1 damaged kept (see damaged.jsonl), 13.0 kB in 1 shard, [time] -> with/train
    ");
    insta::assert_snapshot!(place.read("with/train/damaged.jsonl"), @r#"{"id":1,"path":"a/1.jpg","label":0,"reason":"JPEG: damaged: premature end of data segment"}"#);
    let manifest = place.read("with/train/manifest.json");
    assert!(manifest.contains(r#""damaged": "keep""#) && manifest.contains(r#""kept_damaged": 1"#));
    assert!(place.run("verify with").starts_with("exit 0"));
    // It stays marked whatever is made of it.
    for encoding in ["", "--encoding png", "--encoding jpeg"] {
        let out = format!("again{}", encoding.len());
        let said = place.run(&format!(
            "build shards --source with {encoding} --out {out}"
        ));
        assert!(
            said.contains("1 damaged kept (see damaged.jsonl)"),
            "{encoding}: {said}"
        );
        let listing = |dir: &str| place.read(&format!("{dir}/train/damaged.jsonl"));
        assert_eq!(listing(&out), listing("with"));
    }
    let json = place.run("build folder --source photos --out with --damaged keep --json");
    assert!(json.contains(r#""damaged": 1"#), "{json}");
    insta::assert_snapshot!(place.run("build folder --source photos --out with"), @r#"
    exit 1
    ----
    error: with/train: holds a finished dataset with other settings: damaged is "keep" there and "refuse" here
    hint: give the same settings to go on with it, remove it, or choose another --out
    "#);
}

#[test]
fn good_images_are_the_same_bytes_whatever_becomes_of_damaged_ones() {
    let place = photos();
    place.remove("photos/train/a/1.jpg");
    place.run("build folder --source photos --out refuse");
    place.run("build folder --source photos --out keep --damaged keep");
    let shard = |dir: &str| {
        place
            .files(dir)
            .into_iter()
            .find(|(path, _)| path.ends_with("train-00000.parquet"))
    };
    assert!(shard("refuse/train").is_some());
    assert_eq!(shard("refuse/train"), shard("keep/train"));
    assert!(
        !place
            .files("keep")
            .keys()
            .any(|path| path.ends_with("damaged.jsonl"))
    );
    assert!(!place.read("refuse/train/manifest.json").contains("damaged"));
}

#[test]
fn shards_of_files_are_read_by_the_rules_they_were_built_by() {
    let place = photos();
    let build = "build folder --source photos --encoding original";
    // The header and the end are there: who loads it finds the damage, unless the build looked.
    let checked = place.run(&format!("{build} --out checked --check decode"));
    assert!(
        checked.contains("photos/train/a/1.jpg: cannot decode: JPEG: damaged"),
        "{checked}"
    );
    place.run(&format!("{build} --out unchecked"));
    place.run(&format!("{build} --out kept --damaged keep --check decode"));
    let pixels = |dir: &str, row: usize| {
        let reader = ShardReader::open(&place.path(dir)).unwrap();
        let mut decoder = Decoder::default();
        let pixels = reader.rgb(row, &mut decoder).map(|view| view.pixels.len());
        pixels.map_err(|err| err.to_string())
    };
    let whole = Ok(45 * 29 * 3);
    assert_eq!(pixels("unchecked/train", 0), whole);
    let err = pixels("unchecked/train", 1).unwrap_err();
    assert!(
        err.starts_with("a/1.jpg: cannot decode: JPEG: damaged"),
        "{err}"
    );
    assert_eq!(pixels("kept/train", 1), whole);
    assert!(place.read("kept/train/damaged.jsonl").contains("a/1.jpg"));
}

#[test]
fn more_pixels_than_allowed_are_refused() {
    let place = photos();
    place.remove("photos/train/a/1.jpg");
    insta::assert_snapshot!(place.run("build folder --source photos --out out --max-pixels 1304"), @r"
    exit 1
    ----
    error: photos/train/a/2.jpg: cannot decode: 45x29 pixels, allowed are 1 to 1304 (--max-pixels): it is the last training image of class 0 (a), all 2 are bad
    hint: mend the file, or take the class out of the source and its class names, which makes another build
    ");
    assert!(
        place
            .run("build folder --source photos --out out --max-pixels 1305")
            .starts_with("exit 0")
    );
    assert!(
        place
            .read("out/train/manifest.json")
            .contains(r#""max_pixels": 1305"#)
    );
}
