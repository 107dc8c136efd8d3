//! `report`: planted flaws and duplicates are found, and nothing else; lists, conditions, files.

mod support;

use std::collections::HashSet;
use std::fs;

use image::RgbImage;
use image::imageops::{self, FilterType};
use support::{Workplace, picture, save, shared};

/// Two classes; a flaw of each kind, two equal images, one of them across splits and classes.
fn flawed(place: &Workplace) {
    for i in 0..6 {
        save(place, &format!("photos/train/cat/{i}.png"), &picture(i));
        save(
            place,
            &format!("photos/train/dog/{i}.png"),
            &picture(100 + i),
        );
    }
    save(place, "photos/train/dog/equal.png", &picture(100));
    save(place, "photos/test/cat/leaked.png", &picture(101));
    save(place, "photos/test/dog/fine.png", &picture(200));
    let pixel = |value: u8| RgbImage::from_pixel(64, 64, image::Rgb([value; 3]));
    save(place, "photos/train/cat/flat.png", &pixel(128));
    let grain = |x: u32, y: u32| (x * 7 + y * 13) % 32;
    let dark = RgbImage::from_fn(64, 64, |x, y| image::Rgb([grain(x, y) as u8, 9, 9]));
    save(place, "photos/train/cat/dark.png", &dark);
    let bright = RgbImage::from_fn(64, 64, |x, y| {
        image::Rgb([223 + grain(x, y) as u8, 250, 240])
    });
    save(place, "photos/train/cat/bright.png", &bright);
    let grey = RgbImage::from_fn(64, 64, |x, y| image::Rgb([(x * 3 + (y * y) % 60) as u8; 3]));
    save(place, "photos/train/dog/grey.png", &grey);
    save(
        place,
        "photos/train/dog/blurry.png",
        &imageops::blur(&picture(300), 12.0),
    );
    let long = imageops::resize(&picture(301), 240, 60, FilterType::Triangle);
    save(place, "photos/train/dog/long.png", &long);
    place.write("photos/train/dog/broken.png", "no image");
    place.run("build folder --source photos --out shards --max-bad 1");
}

#[test]
fn planted_flaws_are_found_and_nothing_else() {
    let place = Workplace::new();
    flawed(&place);
    let run = place.run("report shards --json r.json --md r.md --flags flags --threads 1");
    assert!(run.starts_with("exit 0"), "{run}");
    insta::assert_snapshot!("terminal", run);
    // The version says which JPEG decoder is in; these are PNGs.
    // The day is that of the shards' manifest, which was written now.
    let day = fs::metadata(place.path("shards/train/manifest.json")).unwrap();
    let day = lift_page::day::utc(day.modified().unwrap()).unwrap();
    let read = |file: &str| {
        let text = place.read(file).replace(lift_data::VERSION, "[version]");
        text.replace(&day, "[day]")
    };
    insta::assert_snapshot!("json", read("r.json"));
    insta::assert_snapshot!("markdown", read("r.md"));
    insta::assert_snapshot!("flags", place.read("flags/flags.csv"));
    insta::assert_snapshot!("duplicates", place.read("flags/duplicates.csv"));
    // Independent of the snapshots: which file has which flag.
    let flags = place.read("flags/flags.csv");
    let found: HashSet<(&str, &str)> = flags
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<_> = line.split(',').collect();
            (fields[0], fields[4])
        })
        .collect();
    let planted = [
        ("blurry", "cat/flat.png"),
        ("blurry", "dog/blurry.png"),
        ("bright", "cat/bright.png"),
        ("corrupt", "dog/broken.png"),
        ("dark", "cat/dark.png"),
        ("greyscale", "cat/flat.png"),
        ("greyscale", "dog/grey.png"),
        ("low_information", "cat/flat.png"),
        ("odd_aspect", "dog/long.png"),
    ];
    assert_eq!(found, HashSet::from(planted));
}

#[test]
fn a_report_does_not_depend_on_the_threads() {
    let place = Workplace::new();
    flawed(&place);
    for threads in [1, 4] {
        place.run(&format!(
            "report shards --threads {threads} --json {threads}.json --html {threads}.html"
        ));
    }
    assert_eq!(place.read("1.json"), place.read("4.json"));
    assert_eq!(place.read("1.html"), place.read("4.html"));
    assert!(place.read("1.html").len() < 2 << 20);
}

#[test]
fn files_are_looked_at_before_the_work_and_the_table_is_printed_without_them() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.run("build folder --source photos --out shards --short-side 8");
    std::fs::create_dir(place.path("folder")).unwrap();
    insta::assert_snapshot!(place.run("report shards --html folder"), @r"
    exit 1
    ----
    error: folder: cannot write: there is a folder of that name
    ");
    insta::assert_snapshot!(place.run("report shards --flags shards/train/manifest.json"), @r"
    exit 1
    ----
    error: shards/train/manifest.json/flags.csv: cannot write: what should be its folder is a file
    ");
    insta::assert_snapshot!(place.run("report shards --json new/r --md ./new/r"), @r"
    exit 2
    ----
    error: ./new/r: --json and --md both name this file
    hint: give each a file of its own

    For more information, try '--help'.
    ");
    assert!(!place.path("new").exists());
    let run = place.run("report shards --json new/r.json");
    assert!(run.starts_with("exit 0"), "{run}");

    // The page is larger than files may be here, the JSON is not.
    let output = place.run_limited("-f 40", "report shards --html full.html --json after.json");
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("\nleaked "), "{table}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("full.html: cannot write: File too large"),
        "{said}"
    );
    assert!(!place.path("full.html").exists(), "no half of a page");
    assert!(
        place.path("after.json").exists(),
        "the other file is written"
    );
}

#[test]
fn tail_and_quality_are_repeated_by_a_column() {
    let place = Workplace::new();
    let mut table = "path,label,split,camera\n".to_owned();
    for i in 0..12 {
        save(&place, &format!("img/{i}.png"), &picture(i));
        let camera = ["old", "new", "new"][i as usize % 3];
        let class = ["ant", "bee"][i as usize / 7];
        let split = if i == 11 { "test" } else { "train" };
        table += &format!("{i}.png,{class},{split},{camera}\n");
    }
    let black = RgbImage::from_fn(64, 64, |x, y| image::Rgb([(x * y % 20) as u8; 3]));
    save(&place, "img/12.png", &black);
    table += "12.png,bee,train,\n";
    place.write("meta.csv", &table);
    let said =
        place.run("build table --source meta.csv --root img --keep-columns camera --out shards");
    assert!(said.starts_with("exit 0"), "{said}");
    let run = place.run("report shards --group-by camera --json r.json --html r.html --flags f");
    let table = &run[run.find("camera").unwrap()..];
    insta::assert_snapshot!(table, @r"
    camera  split  images  classes  imbalance ratio   luma  sharpness
    new     train       7        2              1.3  100.4     2267.4
    old     train       4        2              3.0   95.3     2900.8
            train       1        1              1.0    8.0      615.5
    new     test        1        1              1.0  125.7     1453.1
    ----
    ");
    let json: serde_json::Value = serde_json::from_str(&place.read("r.json")).unwrap();
    let rows = json["groups"]["rows"].as_array().unwrap();
    let dark: Vec<_> = rows
        .iter()
        .map(|row| (row["value"].as_str(), row["flags"]["dark"].as_u64()))
        .collect();
    assert_eq!(
        dark,
        [
            (Some("new"), Some(0)),
            (Some("old"), Some(0)),
            (None, Some(1)),
            (Some("new"), Some(0))
        ]
    );
    assert!(place.read("r.html").contains("By camera"));
    // Every image's values are a table.
    let asked = place.run_words(&["query", "f", "select split, count(*) as n, sum(cast(dark as int)) as dark from measures group by split order by split"]);
    insta::assert_snapshot!(asked, @r"
    exit 0
    split   n  dark
    test    1     0
    train  12     1
    ----
    ");
    insta::assert_snapshot!(place.run_words(&["query", "f", "select path, camera, luma_p95 from measures where dark"]), @r"
    exit 0
    path    camera  luma_p95
    12.png                18
    ----
    ");
    // Of a list only the tail is known.
    let lists = place.run("report meta.csv --group-by camera");
    insta::assert_snapshot!(&lists[lists.find("camera").unwrap()..], @r"
    camera  split  images  classes  imbalance ratio  luma  sharpness
    new     train       7        2              1.3     -          -
    old     train       4        2              3.0     -          -
            train       1        1              1.0     -          -
    new     test        1        1              1.0     -          -
    ----
    ");
    let wrong = place.run("report shards --group-by site");
    assert!(
        wrong.contains("--group-by: the images have no column `site`"),
        "{wrong}"
    );
}

#[test]
fn a_condition_decides_the_exit_code() {
    let place = Workplace::new();
    flawed(&place);
    let run = |condition: &str| place.run_words(&["report", "shards", "--fail-if", condition]);
    assert!(run("leaked > 5 or corrupt > 0.5").starts_with("exit 0"));
    let failed = run("leaked > 0 or corrupt > 0.001 or dark > 0.9");
    assert!(failed.starts_with("exit 1"), "{failed}");
    let message = failed.split_once("----\n").unwrap().1;
    // One of 22 images was corrupt.
    assert_eq!(
        message,
        "error: shards: --fail-if holds: leaked > 0 or corrupt > 0.001 or dark > 0.9 (leaked is 1, corrupt is 0.045454545454545456, dark is 0.047619047619047616)\n"
    );
    for wrong in ["leakd > 0", "leaked >", "leaked"] {
        let run = run(wrong);
        assert!(
            run.starts_with("exit 2") && run.contains("--fail-if"),
            "{run}"
        );
    }
    // A list has no pixels.
    place.write("lists/train.txt", "a/1.jpg 0\nb/1.jpg 1\n");
    let run = place.run_words(&["report", "lists", "--fail-if", "blurry > 0"]);
    assert!(
        run.starts_with("exit 2")
            && run.contains("blurry")
            && run.contains("known are images, classes"),
        "{run}"
    );
}

#[test]
fn lists_are_compared_by_path() {
    let place = Workplace::new();
    place.write(
        "lists/train.txt",
        "a/1.jpg 0\na/2.jpg 0\nb/1.jpg 1\nb/1.jpg 0\n",
    );
    place.write("lists/test.txt", "a/2.jpg 0\nb/9.jpg 1\n");
    place.write("lists/classnames.txt", "ant\nbee\ncow\n");
    place.run("report lists --json r.json");
    let report: serde_json::Value = serde_json::from_str(&place.read("r.json")).unwrap();
    let leakage = &report["leakage"];
    assert_eq!(leakage["leaked"], 1);
    assert_eq!(leakage["duplicates"], 2);
    assert_eq!(leakage["label_conflicts"], 1);
    assert_eq!(report["splits"][0]["lacking"], serde_json::json!([2]));
    assert_eq!(report["classes"][1]["name"], "bee");
    assert_eq!(report["classes"][0]["images"], serde_json::json!([3, 1]));
}

#[test]
fn names_that_are_markup_do_no_harm() {
    let place = Workplace::new();
    let name = "<script>window.harmed=1</script>\"'><img src=x onerror=alert(1)>\u{202e}";
    place.write(
        "lists/train.txt",
        &format!("{}/1.jpg 0\nplain/2.jpg 1\n", name.replace('/', "|")),
    );
    place.write("lists/classnames.txt", &format!("{name}\nplain\n"));
    place.run("report lists --html r.html --md r.md");
    let html = place.read("r.html");
    assert_eq!(html.matches("<script").count(), 1);
    assert!(!html.contains("<img src=x") && !html.contains('\u{202e}'));
    assert!(html.contains("&lt;script&gt;window.harmed=1"));
    assert!(!place.read("r.md").contains("<script"));
}

/// Copies, encoded again, resized and brightened, of pictures among as many others; counts how many pairs
/// are found, and found wrongly.
fn planted(
    place: &Workplace,
    originals: &[RgbImage],
    others: &[RgbImage],
) -> (usize, usize, usize) {
    for (i, original) in originals.iter().enumerate() {
        let (width, height) = original.dimensions();
        save(place, &format!("p/train/a/{i}-original.png"), original);
        save(place, &format!("p/test/a/{i}-copy.png"), original);
        let mut jpeg = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 60)
            .encode_image(original)
            .unwrap();
        std::fs::write(place.path(&format!("p/test/a/{i}-jpeg.jpg")), jpeg).unwrap();
        let small = imageops::resize(
            original,
            width * 3 / 5,
            height * 3 / 5,
            FilterType::Lanczos3,
        );
        save(place, &format!("p/test/a/{i}-small.png"), &small);
        save(
            place,
            &format!("p/test/a/{i}-bright.png"),
            &imageops::brighten(original, 20),
        );
    }
    for (i, other) in others.iter().enumerate() {
        save(place, &format!("p/train/a/other-{i}.png"), other);
    }
    place.run("build folder --source p --out p-shards");
    place.run("report p-shards --flags p-flags");
    let mut found = HashSet::new();
    let mut wrong = 0;
    let table = place.read("p-flags/duplicates.csv");
    for line in table.lines().skip(1) {
        let fields: Vec<_> = line.split(',').collect();
        let number = |path: &str| {
            path.trim_start_matches("a/")
                .split('-')
                .next()
                .unwrap()
                .to_owned()
        };
        let (a, b) = (fields[5], fields[10]);
        if number(a) != number(b) || number(a) == "other" {
            wrong += 1;
        } else if a.ends_with("-original.png") {
            found.insert(b.to_owned());
        }
    }
    (found.len(), originals.len() * 4, wrong)
}

#[test]
fn planted_duplicates_of_drawings_are_found() {
    let place = Workplace::new();
    let originals: Vec<_> = (0..100).map(picture).collect();
    let others: Vec<_> = (1_000..1_400).map(picture).collect();
    let (found, planted, wrong) = planted(&place, &originals, &others);
    eprintln!("drawings: {found} of {planted} found, {wrong} wrong pairs");
    assert!(
        found * 100 >= planted * 95 && wrong == 0,
        "{found} of {planted}, {wrong} wrong"
    );
}

#[test]
fn planted_duplicates_of_photographs_are_found() {
    let Some(folder) = shared("data/imagenet-samples") else {
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let open = |path: &std::path::PathBuf| {
        let photo = image::open(path).unwrap().into_rgb8();
        imageops::thumbnail(&photo, photo.width() / 2, photo.height() / 2)
    };
    let photos: Vec<_> = files.iter().map(open).collect();
    let place = Workplace::new();
    let (found, planted, wrong) = planted(&place, &photos[..40], &photos[40..]);
    eprintln!("photographs: {found} of {planted} found, {wrong} wrong pairs");
    assert!(
        found * 100 >= planted * 97 && wrong == 0,
        "{found} of {planted}, {wrong} wrong"
    );
}

#[test]
fn flat_images_are_counted_and_not_compared() {
    let place = Workplace::new();
    for i in 0..600_u32 {
        let grey = 100 + (i % 3) as u8;
        let side = 4 + i % 5;
        save(
            &place,
            &format!("f/train/a/{i}.png"),
            &RgbImage::from_pixel(side, 4, image::Rgb([grey; 3])),
        );
    }
    save(&place, "f/test/a/0.png", &picture(1));
    place.run("build folder --source f --out f-shards");
    place.run("report f-shards --json f.json");
    let report: serde_json::Value = serde_json::from_str(&place.read("f.json")).unwrap();
    // Fifteen kinds of flat images, forty of each.
    assert_eq!(report["leakage"]["flat"], 600);
    assert_eq!(report["leakage"]["duplicates"], 600 - 15);
    assert_eq!(report["leakage"]["near_duplicates"], 0);
    assert_eq!(report["leakage"]["clusters"], 15);
    assert_eq!(report["leakage"]["largest_cluster"], 40);
}

#[test]
fn help_fits_a_screen() {
    let place = Workplace::new();
    let lines = place.run("report -h").lines().count();
    assert!(lines <= 42, "{lines} lines");
    assert!(place.run("report --help").contains("Examples:"));
}

/// A JPEG whose EXIF tag says that it is to be turned by a quarter.
fn turned(picture: &RgbImage) -> Vec<u8> {
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 90)
        .encode_image(picture)
        .unwrap();
    // Little-endian TIFF: one entry, tag 0x0112 (orientation), type SHORT, one value, 6.
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let payload = [&b"Exif\0\0"[..], tiff].concat();
    let length = (payload.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &payload, &jpeg[2..]].concat()
}

#[test]
fn stored_files_tell_cmyk_and_exif() {
    let place = Workplace::new();
    let pictures: Vec<_> = (0..3).map(picture).collect();
    save(&place, "photos/train/a/plain.png", &pictures[0]);
    std::fs::write(
        place.path("photos/train/a/turned.jpg"),
        turned(&pictures[1]),
    )
    .unwrap();
    let mut cmyk = Vec::new();
    let inks: Vec<u8> = pictures[2]
        .pixels()
        .flat_map(|p| [p[0], p[1], p[2], 200])
        .collect();
    let (width, height) = pictures[2].dimensions();
    jpeg_encoder::Encoder::new(&mut cmyk, 90)
        .encode(
            &inks,
            width as u16,
            height as u16,
            jpeg_encoder::ColorType::Cmyk,
        )
        .unwrap();
    std::fs::write(place.path("photos/train/a/cmyk.jpg"), cmyk).unwrap();
    save(&place, "photos/test/a/0.png", &picture(9));
    let flagged = |encoding: &str| {
        place.run(&format!(
            "build folder --source photos --out {encoding} --encoding {encoding}"
        ));
        let run = place.run(&format!("report {encoding} --flags {encoding}-flags"));
        let flags = place.read(&format!("{encoding}-flags/flags.csv"));
        let named = |flag: &str| -> Vec<String> {
            let lines = flags
                .lines()
                .filter(|line| line.starts_with(&format!("{flag},")));
            lines
                .map(|line| line.split(',').nth(4).unwrap().to_owned())
                .collect()
        };
        (run, named("cmyk"), named("exif_rotated"))
    };
    let (_, cmyk, rotated) = flagged("original");
    assert_eq!(
        (cmyk, rotated),
        (
            vec!["a/cmyk.jpg".to_owned()],
            vec!["a/turned.jpg".to_owned()]
        )
    );
    // Other shards do not hold the files, and the report does not guess.
    let (run, cmyk, rotated) = flagged("png");
    assert!(run.contains("CMYK             not recorded"), "{run}");
    assert!(cmyk.is_empty() && rotated.is_empty());
}

#[test]
fn another_data_set_is_searched_for_the_same_images() {
    let place = Workplace::new();
    flawed(&place);
    save(&place, "other/train/x/0.png", &picture(200));
    save(&place, "other/train/x/1.png", &picture(900));
    save(&place, "other/test/x/2.png", &picture(901));
    place.run("build folder --source other --out other-shards");
    place.run("report shards --compare other-shards --json r.json");
    let report: serde_json::Value = serde_json::from_str(&place.read("r.json")).unwrap();
    // test/dog/fine.png is in the other's training split, test/cat/leaked.png in its own.
    assert_eq!(report["leakage"]["leaked"], 2);
    let between = report["leakage"]["between"].as_array().unwrap();
    let crossing = between
        .iter()
        .find(|row| row["found_in"] == "other train")
        .unwrap();
    assert_eq!(
        (&crossing["images_of"], &crossing["exact"]),
        (&"test".into(), &1.into())
    );
    assert_eq!(report["compared"][0]["images"], 2);
    let refused = place.run("report photos --compare other-shards");
    assert!(
        refused.starts_with("exit 1") && refused.contains("hint: report on shards"),
        "{refused}"
    );
}
