//! Reports on images that cannot be decoded, on another data set's classes, and on very many duplicates.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Workplace, picture, save};

fn report(place: &Workplace, arguments: &str) -> Value {
    let said = place.run(&format!("report {arguments} --json r.json"));
    assert!(said.starts_with("exit 0"), "{said}");
    serde_json::from_str(&place.read("r.json")).unwrap()
}

/// A build that keeps files may look at headers alone, so that a damaged file is stored.
#[test]
fn an_image_that_cannot_be_decoded_is_counted_and_named() {
    let place = Workplace::new();
    for i in 0..4 {
        save(&place, &format!("p/train/cat/{i}.png"), &picture(i));
        save(&place, &format!("p/train/dog/{i}.png"), &picture(10 + i));
    }
    for path in ["p/train/cat/1.png", "p/train/dog/2.png"] {
        let mut bytes = fs::read(place.path(path)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 40].fill(0);
        fs::write(place.path(path), bytes).unwrap();
    }
    place.write("p/train/dog/9.png", "no image");
    let said =
        place.run("build folder --source p --split train --encoding original --check header --max-bad 1 --out s");
    assert!(said.starts_with("exit 0"), "{said}");
    let said = place.run("report s --md r.md --flags f");
    assert!(said.starts_with("exit 0"), "{said}");
    assert!(
        said.contains("note: s/train: row 1 (cat/1.png): cannot decode: PNG: ")
            && said.contains("note: s/train: row 6 (dog/2.png): cannot decode: PNG: "),
        "{said}"
    );
    let report = report(&place, "s");
    let quality = &report["quality"][0];
    assert_eq!(quality["images"], 6);
    assert_eq!(quality["corrupt"], 3);
    assert_eq!(quality["quarantine"].as_array().unwrap().len(), 1);
    let reason = |i: usize| quality["undecodable"][i]["reason"].as_str().unwrap();
    let (cat, dog) = (reason(0), reason(1));
    assert!(
        cat.starts_with("PNG: ") && dog.starts_with("PNG: "),
        "{cat} {dog}"
    );
    assert_eq!(
        quality["undecodable"],
        json!([
            {"row": 1, "id": 1, "path": "cat/1.png", "label": 0, "reason": cat},
            {"row": 6, "id": 6, "path": "dog/2.png", "label": 1, "reason": dog},
        ])
    );
    let markdown = place.read("r.md");
    let line = format!("| train | dog/2.png | dog | stored as row 6: {dog} |");
    assert!(markdown.contains(&line), "{markdown}");
    let flags = place.read("f/flags.csv");
    assert!(
        flags.contains(&format!("corrupt,train,1,1,cat/1.png,0,cat,,{cat}\n"))
            && flags.contains("corrupt,train,-1,8,dog/9.png,1,dog,,"),
        "{flags}"
    );
    // Three of nine source images.
    let failed = place.run_words(&[
        "report",
        "s",
        "--fail-if",
        "corrupt > 0.33 and corrupt < 0.34",
    ]);
    assert!(
        failed.starts_with("exit 1") && failed.contains("corrupt is 0.333"),
        "{failed}"
    );
}

/// Label 0 is "cat" here and "ant" there: each data set's labels are its own.
#[test]
fn another_data_set_has_its_own_classes_and_its_leaks_count() {
    let place = Workplace::new();
    for i in 0..3 {
        save(&place, &format!("own/train/cat/{i}.png"), &picture(i));
        save(&place, &format!("own/train/dog/{i}.png"), &picture(20 + i));
        save(
            &place,
            &format!("other/train/ant/{i}.png"),
            &picture(40 + i),
        );
        save(
            &place,
            &format!("other/train/dog/{i}.png"),
            &picture(60 + i),
        );
        save(&place, &format!("other/test/ant/{i}.png"), &picture(80 + i));
    }
    // Of its test images two are training images here: a cat there called ant, and a dog.
    save(&place, "other/test/ant/leak.png", &picture(1));
    save(&place, "other/test/dog/leak.png", &picture(21));
    for set in ["own", "other"] {
        let said = place.run(&format!("build folder --source {set} --out {set}-s"));
        assert!(said.starts_with("exit 0"), "{said}");
    }
    let with = report(&place, "own-s --compare other-s");
    let leakage = &with["leakage"];
    assert_eq!(leakage["leaked"], 2);
    assert_eq!(leakage["leaked_exact"], 2);
    assert_eq!(leakage["leaked_compared"], 2);
    assert_eq!(
        leakage["between"],
        json!([
            {"images_of": "train", "found_in": "other test", "exact": 2, "near": 0},
            {"images_of": "other test", "found_in": "train", "exact": 2, "near": 0},
        ])
    );
    let pairs = leakage["pairs"].as_array().unwrap();
    let classes = |pair: &Value| {
        let image = |i: usize| {
            let image = &pair["images"][i];
            (image["split"].clone(), image["class"].clone())
        };
        [image(0), image(1)]
    };
    let text = |split: &str, class: &str| (json!(split), json!(class));
    // Across classes first: by their names, not by their numbers.
    assert_eq!(
        classes(&pairs[0]),
        [text("train", "cat"), text("other test", "ant")]
    );
    assert_eq!(
        classes(&pairs[1]),
        [text("train", "dog"), text("other test", "dog")]
    );
    assert_eq!(pairs.len(), 2);
    place.run("report own-s --compare other-s --md r.md --flags f");
    let markdown = place.read("r.md");
    assert!(
        markdown
            .contains("| equal | 0 | train | cat/1.png | cat | other test | ant/leak.png | ant |"),
        "{markdown}"
    );
    let table = place.read("f/duplicates.csv");
    assert!(
        table.contains("train,1,cat/1.png,0,cat,other test,3,ant/leak.png,0,ant\n"),
        "{table}"
    );
    // The other way round they are this data set's own.
    let back = report(&place, "other-s --compare own-s");
    assert_eq!(back["leakage"]["leaked"], 2);
    assert_eq!(back["leakage"]["leaked_compared"], 0);
    // Alone, neither leaks.
    assert_eq!(report(&place, "own-s")["leakage"]["leaked"], 0);
    let failed = place.run_words(&[
        "report",
        "own-s",
        "--compare",
        "other-s",
        "--fail-if",
        "leaked > 1",
    ]);
    assert!(failed.starts_with("exit 1"), "{failed}");
}

#[test]
fn two_classes_of_one_name_are_told_apart_in_a_report() {
    let place = Workplace::new();
    let mut list = String::new();
    for label in 0..3_u64 {
        for i in 0..2 {
            let path = format!("img/{label}-{i}.png");
            save(&place, &path, &picture(label * 20 + i));
            list += &format!("{path} {label}\n");
        }
    }
    save(&place, "img/2-2.png", &picture(1));
    list += "img/2-2.png 2\n";
    place.write("train.txt", &list);
    place.write("classnames.txt", "crane\ncat\ncrane\n");
    place.run("build list --source train.txt --split train --out s");
    place.run("report s --md r.md");
    let markdown = place.read("r.md");
    for line in [
        "| crane (2) | 2 | few | 3 |",
        "| crane (0) | 0 | few | 2 |",
        "| cat | 1 | few | 2 |",
        "| equal | 0 | train | img/0-1.png | crane (0) | train | img/2-2.png | crane (2) |",
    ] {
        assert!(markdown.contains(line), "{line}\n{markdown}");
    }
    let report = report(&place, "s");
    assert_eq!(report["leakage"]["label_conflicts"], 2);
    assert_eq!(report["classes"][2]["name"], "crane");
}

/// Frames of one scene: each is near to each other. All are counted, some are kept.
#[test]
fn a_scene_of_many_frames_is_one_group() {
    const FRAMES: u64 = 600;
    let place = Workplace::new();
    let scene = picture(5);
    for i in 0..FRAMES {
        let mut frame = scene.clone();
        // Different pixels, the same picture.
        let pixel = frame.get_pixel_mut((i % 48) as u32, (i / 48) as u32);
        pixel.0[0] = pixel.0[0].wrapping_add(9);
        let class = ["a", "b"][(i % 2) as usize];
        save(&place, &format!("p/train/{class}/{i:04}.png"), &frame);
    }
    save(&place, "p/train/a/other.png", &picture(77));
    save(&place, "p/test/a/frame.png", &scene);
    let said = place.run("build folder --source p --out s");
    assert!(said.starts_with("exit 0"), "{said}");
    let report = report(&place, "s --flags f");
    let leakage = &report["leakage"];
    assert_eq!(leakage["clusters"], 1);
    assert_eq!(leakage["largest_cluster"], FRAMES + 1);
    assert_eq!(leakage["near_duplicates"], FRAMES + 1);
    assert_eq!(leakage["leaked"], 1);
    // An image is compared with at most 64 of the same hash.
    let pairs = leakage["pairs_in_all"].as_u64().unwrap();
    assert!(pairs >= FRAMES * 60, "{pairs}");
    assert_eq!(leakage["pairs"].as_array().unwrap().len(), 200);
    let lines = place.read("f/duplicates.csv").lines().count() as u64;
    assert_eq!(lines, 1 + pairs.min(100_000));
    // The pairs across splits come first.
    assert_eq!(leakage["pairs"][0]["images"][1]["split"], "test");
}
