//! A training class, or a split, whose last image is bad ends the build there and then.

use super::names;
use super::support::Workplace;

const BUILD: &str = "build folder --source photos --shard-mib 1 --threads 2";

/// `train/` with classes a, b and c of so many images, 97 a shard, of which 64 are looked at before.
fn three_classes(counts: [u32; 3]) -> Workplace {
    let place = Workplace::new();
    for (class, count) in ["a", "b", "c"].into_iter().zip(counts) {
        for i in 0..count {
            place.image(&format!("photos/train/{class}/{i:03}.png"), 60, 60);
        }
        place.image(&format!("photos/test/{class}/0.png"), 60, 60);
    }
    place
}

#[test]
fn it_is_known_before_the_shards_after_it() {
    // 210 images, of which every third or fourth is looked at before: the one after the first 100 is not among them.
    let place = three_classes([100, 1, 109]);
    place.run(&format!("{BUILD} --out whole"));
    place.write("photos/train/b/000.png", "no image");
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards --max-bad 9")), @r"
    exit 1
    ----
    error: photos/train/b/000.png: cannot decode: not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF): it is the only training image of class 1 (b)
    hint: mend the file and run the same command again, which keeps the finished shards, or take the class out of the source and its class names, which makes another build
    ");
    assert_eq!(
        names(&place.files("shards")),
        [
            "train/.lift-building/lock",
            "train/.lift-building/plan.json",
            "train/.lift-building/shard-00000.json",
            "train/.lift-building/train-00001.parquet.tmp",
            "train/train-00000.parquet",
        ]
    );
    // Mended, it goes on.
    place.image("photos/train/b/000.png", 60, 60);
    let built = place.run(&format!("{BUILD} --out shards --max-bad 9"));
    assert!(built.contains("in 3 shards (1 finished before)"), "{built}");
    assert_eq!(place.files("shards"), place.files("whole"));
}

#[test]
fn of_few_images_it_is_known_before_the_first_shard() {
    let place = three_classes([3, 1, 3]);
    place.write("photos/train/b/000.png", "no image");
    for dry in ["", " --dry-run"] {
        let said = place.run(&format!("{BUILD} --out shards --max-bad 9{dry}"));
        insta::allow_duplicates!(insta::assert_snapshot!(said, @r"
        exit 1
        ----
        error: photos/train/b/000.png: cannot decode: not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF): it is the only training image of class 1 (b)
        hint: mend the file, or take the class out of the source and its class names, which makes another build
        "));
    }
    // Without --max-bad it is said at once as well.
    let said = place.run(&format!("{BUILD} --out shards"));
    assert!(
        said.contains("it is the only training image of class 1 (b)"),
        "{said}"
    );
    place.image("photos/train/b/000.png", 60, 60);
    for i in 0..3 {
        place.write(&format!("photos/train/c/00{i}.png"), "no image");
    }
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards --max-bad 9")), @r"
    exit 1
    ----
    error: photos/train/c/002.png: cannot decode: not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF): it is the last training image of class 2 (c), all 3 are bad
    hint: mend the file, or take the class out of the source and its class names, which makes another build
    ");
    assert_eq!(names(&place.files("shards")), [""; 0]);
    // Two of three are not all.
    place.image("photos/train/c/001.png", 60, 60);
    let built = place.run(&format!("{BUILD} --out shards --max-bad 9"));
    assert!(
        built.contains("train: 5 images of 3 classes, 2 bad left out"),
        "{built}"
    );
}

#[test]
fn a_split_without_an_image_is_refused() {
    let place = three_classes([3, 1, 3]);
    for class in ["a", "c"] {
        place.write(&format!("photos/test/{class}/0.png"), "<html>");
    }
    // A test class may be without images.
    let built = place.run(&format!("{BUILD} --out two --max-bad 9"));
    assert!(
        built.contains("test: 1 image of 3 classes, 2 bad left out"),
        "{built}"
    );
    place.write("photos/test/b/0.png", "<html>");
    insta::assert_snapshot!(place.run(&format!("{BUILD} --out shards --max-bad 9")), @r"
    exit 1
    ----
    error: photos/test/c/0.png: cannot decode: not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF): it is the last image of the test split, all 3 are bad
    hint: mend the file, or build without this split (--split)
    ");
    assert!(
        names(&place.files("shards"))
            .iter()
            .all(|name| name.starts_with("train/"))
    );
    assert!(place.run("verify shards").starts_with("exit 0"));
}

#[test]
fn parts_find_it_when_they_are_joined() {
    // Both images of b are not among those that are looked at before, and lie in two shards.
    let place = three_classes([96, 2, 112]);
    place.write("photos/train/b/000.png", "no image");
    place.write("photos/train/b/001.png", "no image");
    for part in ["1/3", "2/3", "3/3"] {
        let said = place.run(&format!("{BUILD} --out shards --max-bad 9 --part {part}"));
        assert!(said.starts_with("exit 0"), "{said}");
    }
    for _ in 0..2 {
        insta::allow_duplicates!(insta::assert_snapshot!(place.run("commit shards"), @r"
        exit 1
        ----
        error: b/001.png: cannot decode: not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF): it is the last training image of class 1 (b), all 2 are bad
        hint: mend the file and run the build without --part, which keeps the finished shards, or take the class out of the source and its class names, which makes another build
        "));
    }
    let whole = format!("{BUILD} --out shards --max-bad 9");
    let again = place.run(&whole);
    assert!(
        again.contains("photos/train/b/001.png: cannot decode"),
        "{again}"
    );
    place.image("photos/train/b/001.png", 60, 60);
    let built = place.run(&whole);
    assert!(
        built.contains("train: 209 images of 3 classes, 1 bad left out"),
        "{built}"
    );
    assert!(built.contains("in 3 shards (2 finished before)"), "{built}");
    place.run(&format!("{BUILD} --out one --max-bad 1"));
    assert_eq!(place.files("shards"), place.files("one"));
}
