//! Data that comes in another form than usual: read where that is plain, else refused with how to bring it into one that is read.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::{Workplace, rows};
use super::write_tar;

#[test]
fn semicolons_tabs_and_backslashes_are_read() {
    let place = Workplace::new();
    place.class_folders("photos");
    let tables = [
        (
            "commas.csv",
            "path,label\ncat/0.png,tench\n\"dog/1.png\",\"gold; fish\"\n",
        ),
        (
            "semicolons.csv",
            "path;label\ncat/0.png;tench\n\"dog/1.png\";\"gold; fish\"\n",
        ),
        (
            "tabs.tsv",
            "path\tlabel\ncat/0.png\ttench\ndog/1.png\tgold; fish\n",
        ),
        (
            "windows.csv",
            "\u{feff}path;label\r\ncat\\0.png;tench\r\n.\\dog\\1.png;\"gold; fish\"\r\n",
        ),
    ];
    let mut built = Vec::new();
    for (name, text) in tables {
        place.write(name, text);
        let out = place.run(&format!(
            "build list --source {name} --root photos/train --split train --encoding original --out {name}.out"
        ));
        assert!(out.starts_with("exit 0"), "{name}: {out}");
        built.push(rows(&place, &format!("{name}.out/train")));
    }
    assert_eq!(built[0].len(), 2);
    assert_eq!(built[0][1].0, "gold; fish");
    for (other, (name, _)) in built.iter().zip(tables) {
        assert_eq!(*other, built[0], "{name}");
    }
    place.write("train.txt", "cat\\0.png 0\ndog\\1.png 1\n");
    let out = place.run("build list --source train.txt --root photos/train --split train --encoding original --out l");
    assert!(out.starts_with("exit 0"), "{out}");
    let pixels =
        |rows: &[(String, Vec<u8>)]| rows.iter().map(|row| row.1.clone()).collect::<Vec<_>>();
    assert_eq!(pixels(&rows(&place, "l/train")), pixels(&built[0]));
}

#[test]
fn a_backslash_that_is_part_of_a_name_stays() {
    let place = Workplace::new();
    place.image("photos/cat\\0.png", 4, 4);
    place.image("photos/cat/0.png", 8, 8);
    place.write("train.txt", "cat\\0.png 0\n");
    let build =
        "build list --source train.txt --root photos --split train --encoding original --out l";
    assert!(place.run(build).starts_with("exit 0"));
    let image = fs::read(place.path("photos/cat\\0.png")).unwrap();
    assert_eq!(rows(&place, "l/train")[0].1, image);
}

#[test]
fn what_is_compressed_says_how_to_unpack_it() {
    let place = Workplace::new();
    place.image("0.png", 4, 4);
    let image = fs::read(place.path("0.png")).unwrap();
    write_tar(
        &place.path("tars/train-0.tar"),
        &[("0.png", &image), ("0.cls", b"0")],
    );
    let gzip = |path: &Path| assert!(Command::new("gzip").arg(path).status().unwrap().success());
    gzip(&place.path("tars/train-0.tar"));
    insta::assert_snapshot!(place.run("build webdataset --source tars --out out"), @r"
    exit 1
    ----
    error: tars: its tars are compressed (1, such as train-0.tar.gz)
    hint: unpack them, since images are read from where they lie in them: gunzip, unzstd, unxz or bunzip2
    ");
    insta::assert_snapshot!(
        place.run("build webdataset --source tars/train-0.tar.gz --split train --out out"), @r"
    exit 1
    ----
    error: tars/train-0.tar.gz: compressed with gzip
    hint: unpack it, since images are read from where they lie in it: gunzip --keep tars/train-0.tar.gz
    ");
    place.write("t.csv", "path,label\n0.png,0\n");
    gzip(&place.path("t.csv"));
    insta::assert_snapshot!(place.run("build list --source t.csv.gz --split train --out out"), @r"
    exit 1
    ----
    error: t.csv.gz: compressed with gzip
    hint: unpack it, since images are read from where they lie in it: gunzip --keep t.csv.gz
    ");
    insta::assert_snapshot!(place.run("stats t.csv.gz"), @r"
    exit 1
    ----
    error: t.csv.gz: compressed with gzip
    hint: unpack it, since images are read from where they lie in it: gunzip --keep t.csv.gz
    ");
    assert!(!place.path("out").exists());
}

#[test]
fn what_save_to_disk_wrote_says_how_to_write_parquet() {
    let place = Workplace::new();
    place.write("ds/dataset_dict.json", "{\"splits\": [\"train\"]}");
    place.write("ds/train/state.json", "{}");
    place.write("ds/train/dataset_info.json", "{}");
    place.write("ds/train/data-00000-of-00001.arrow", "");
    insta::assert_snapshot!(place.run("build hf --source ds --out out"), @r#"
    exit 1
    ----
    error: ds: splits of a Hugging Face dataset that `save_to_disk` wrote, which is not read as it is
    hint: write it as Parquet and build that with `lift-data build hf --source PARQUET`: python -c "from datasets import load_from_disk; [d.to_parquet(f'PARQUET/{name}.parquet') for name, d in load_from_disk('ds').items()]"
    "#);
    insta::assert_snapshot!(place.run("build folder --source ds/train --split train --out out"), @r#"
    exit 1
    ----
    error: ds/train: a split of a Hugging Face dataset that `save_to_disk` wrote, which is not read as it is
    hint: write it as Parquet and build that with `lift-data build hf --source PARQUET`: python -c "from datasets import load_from_disk; load_from_disk('ds/train').to_parquet('PARQUET/train.parquet')"
    "#);
    assert!(place.run("stats ds").contains("that `save_to_disk` wrote"));
}
