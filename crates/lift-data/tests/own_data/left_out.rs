//! What a source has and a build does not take is counted and said; what is an image is told by its content.

use std::fs;

use super::support::{Workplace, rows};
use super::write_tar;

#[test]
fn images_are_told_by_content_and_others_counted() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.image("drawn/a.png", 5, 5);
    place.image("drawn/b.bmp", 5, 5);
    place.image("drawn/c.tif", 5, 5);
    let bytes = |name: &str| fs::read(place.path(&format!("drawn/{name}"))).unwrap();
    let put = |path: &str, bytes: &[u8]| fs::write(place.path(path), bytes).unwrap();
    for i in 0..3 {
        put(&format!("photos/train/cat/saved{i}.jfif"), &bytes("a.png"));
    }
    put("photos/train/dog/old.jpe", &bytes("a.png"));
    put("photos/train/dog/noext", &bytes("b.bmp"));
    put("photos/train/dog/odd.dat", &bytes("a.png"));
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0\0\0\0\0";
    put("photos/train/dog/phone.heic", heic);
    put("photos/train/dog/phone2.HEIC", heic);
    // A raw file of a camera begins as TIFF and has a thumbnail in it.
    put("photos/train/dog/camera.nef", &bytes("c.tif"));
    place.write("photos/train/cow/about.txt", "BM is not a bitmap");
    place.image("photos/train/stray.png", 5, 5);
    place.write("photos/readme.md", "about");
    let said = place.run("build folder --source photos --encoding original --out out --json");
    let note =
        "note: photos: 6 files passed over: 2 .heic, 1 .md, 1 .nef, 1 .txt, 1 in no class folder\n";
    assert!(said.contains(note), "{said}");
    let json = said["exit 0\n".len()..].split("----").next().unwrap();
    let json: serde_json::Value = serde_json::from_str(&json.replace("[time]", "0")).unwrap();
    let expected = serde_json::json!({
        "no_split": [],
        "passed_over": {".heic": 2, ".md": 1, ".nef": 1, ".txt": 1, "in no class folder": 1},
        "system": {},
    });
    assert_eq!(json["left_out"], expected);
    assert_eq!(json["splits"][0]["images"], 16 + 6);
    let stored = rows(&place, "out/train");
    let of = |name: &str| {
        stored
            .iter()
            .filter(|(_, stored)| *stored == bytes(name))
            .count()
    };
    assert_eq!((of("a.png"), of("b.bmp"), of("c.tif")), (5, 1, 0));
    let counted = place.run("stats photos");
    assert!(counted.contains(note), "{counted}");
}

#[test]
fn what_systems_leave_in_folders_is_no_class() {
    let place = Workplace::new();
    place.class_folders("nas");
    for path in [
        "train/cat/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.png",
        "train/@eaDir/cat/SYNOPHOTO_THUMB_M.png",
        "train/__MACOSX/cat/x.png",
        "train/lost+found/1.png",
        "train/dog/.ipynb_checkpoints/0-checkpoint.png",
        "train/dog/._0.png",
        "@eaDir/train/x/1.png",
    ] {
        place.image(&format!("nas/{path}"), 3, 3);
    }
    place.write("nas/train/.DS_Store", "x");
    place.write("nas/train/dog/Thumbs.db", "x");
    insta::assert_snapshot!(place.run("build folder --source nas --short-side 0 --out out"), @r"
    exit 0
    ----
    note: nas: 9 system files and folders left out: 3 @eaDir, 1 .DS_Store, 1 ._*, 1 .ipynb_checkpoints, 1 Thumbs.db, 1 __MACOSX, 1 lost+found
    train: 16 images of 3 classes, 11.7 kB in 1 shard, [time] -> out/train
    test: 6 images of 3 classes, 3.7 kB in 1 shard, [time] -> out/test
    ");
}

fn png(place: &Workplace) -> Vec<u8> {
    place.image("drawn/tar.png", 4, 4);
    fs::read(place.path("drawn/tar.png")).unwrap()
}

fn build_tar(place: &Workplace, name: &str, members: &[(&str, &[u8])]) -> String {
    write_tar(&place.path(&format!("{name}/train-0.tar")), members);
    place.run(&format!(
        "build webdataset --source {name} --split train --encoding original --out out-{name}"
    ))
}

#[test]
fn samples_have_one_image_under_any_name() {
    let place = Workplace::new();
    let png = png(&place);
    for (name, image) in [
        ("input", "0.input.jpg"),
        ("jfif", "0.jfif"),
        ("other", "0.data"),
    ] {
        let said = build_tar(&place, name, &[(image, &png), ("0.cls", b"0")]);
        assert!(said.contains("train: 1 image"), "{said}");
        assert_eq!(rows(&place, &format!("out-{name}/train"))[0].1, png);
    }
    let both = [
        ("0.input.png", png.as_slice()),
        ("0.target.png", &png),
        ("0.cls", b"0"),
    ];
    insta::assert_snapshot!(build_tar(&place, "both", &both), @r"
    exit 1
    ----
    error: both/train-0.tar: sample `0` has two images, 0.input.png and 0.target.png
    hint: a sample has one image, best called KEY.jpg, and one label
    ");
    // The plain name is the image, and masks are not.
    let masked = [
        ("0.png", png.as_slice()),
        ("0.mask.png", b"not that"),
        ("0.cls", b"0"),
    ];
    let said = build_tar(&place, "masked", &masked);
    assert!(said.contains("train: 1 image"), "{said}");
    let heic = [
        ("0.heic", &b"\0\0\0\x18ftypheic"[..]),
        ("0.cls", b"0"),
        ("0.npy", b"x"),
    ];
    insta::assert_snapshot!(build_tar(&place, "heic", &heic), @r"
    exit 1
    ----
    error: heic/train-0.tar: sample `0` has no image; it holds 0.heic, 0.cls, 0.npy
    hint: every sample has one image, such as KEY.jpg, beside KEY.cls
    ");
    let info = [
        ("dataset.json", &br#"{"name": "x"}"#[..]),
        ("__MACOSX/._0.png", b"x"),
        ("0.png", &png),
        ("0.cls", b"0"),
        ("README", b"x"),
    ];
    insta::assert_snapshot!(build_tar(&place, "info", &info), @r"
    exit 0
    ----
    note: info: 2 files passed over: 1 .json, 1 without an extension
    note: info: 1 system file or folder left out: 1 __MACOSX
    train: 1 image of 1 class, 1.8 kB in 1 shard, [time] -> out-info/train
    ");
}

#[test]
fn captions_are_no_classes() {
    let place = Workplace::new();
    let png = png(&place);
    // As img2dataset writes it.
    let json = br#"{"caption": "a cat on a mat", "url": "https://example.org/1.jpg", "status": "success"}"#;
    let sample = [
        ("0.png", png.as_slice()),
        ("0.txt", b"a cat on a mat"),
        ("0.json", json),
    ];
    insta::assert_snapshot!(build_tar(&place, "img2dataset", &sample), @r"
    exit 1
    ----
    error: img2dataset/train-0.tar: sample `0` has no label; it holds 0.png, 0.txt, 0.json
    hint: the label is a .cls or .txt file or the field `label` of a .json file (--label-column names another)
    ");
    let texts = [
        ("0.png", png.as_slice()),
        ("0.txt", b"a cat on a mat in the sun"),
        ("1.png", &png),
        ("1.txt", b"two dogs that run along a beach"),
    ];
    let said = build_tar(&place, "texts", &texts);
    assert!(
        said.contains("texts/train-0.tar: the .txt files of 2 samples have 2 different texts, which are captions and no classes"),
        "{said}"
    );
    let classes = [
        ("0.png", png.as_slice()),
        ("0.txt", b"red fox"),
        ("0.json", br#"{"width": 4}"#),
        ("1.png", &png),
        ("1.txt", b"hare"),
    ];
    let said = build_tar(&place, "classes", &classes);
    assert!(said.contains("train: 2 images of 2 classes"), "{said}");
}
