//! `export` and `inspect`: what shards hold, seen from outside.

mod support;

use support::Workplace;

#[test]
fn an_export_builds_the_same_shards_again() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.run("build folder --source photos --out shards --short-side 8");
    insta::assert_snapshot!(place.run("export shards --out again"), @r"
    exit 0
    ----
    train: 16 rows -> again/train.csv, again/train
    test: 6 rows -> again/test.csv, again/test
    ");
    place.run("build folder --source again --out twice --short-side 8");
    let verify = place.run("export twice --out thrice");
    assert!(verify.starts_with("exit 0"), "{verify}");
    let images = |root: &str| {
        let mut files = place.files(root);
        files.retain(|path, _| path.extension().is_some_and(|e| e == "png"));
        files
    };
    assert_eq!(images("again").len(), 22);
    assert_eq!(images("again"), images("thrice"));
    insta::assert_snapshot!(place.read("again/test.csv"), @r"
    id,path,label,class,width,height,num_bytes,checksum,file
    0,cat/0.png,0,cat,8,9,216,1168e39ecd063783,test/cat/00000000.png
    1,cat/1.png,0,cat,8,10,240,5ea52da8422c90c2,test/cat/00000001.png
    2,cow/0.png,1,cow,8,9,216,f4f45c52c96f2df2,test/cow/00000002.png
    3,cow/1.png,1,cow,8,10,240,ececd9d1365f42d2,test/cow/00000003.png
    4,dog/0.png,2,dog,8,9,216,fa45c68924db435b,test/dog/00000004.png
    5,dog/1.png,2,dog,8,10,240,11566c1e54616ed4,test/dog/00000005.png
    ");
}

#[test]
fn stored_files_come_out_byte_for_byte() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.run("build folder --source photos --out shards --encoding original --split test");
    place.run("export shards --out out --rows 1..3");
    let (ours, theirs) = (place.files("out"), place.files("photos/test"));
    assert_eq!(ours.len(), 3, "two images and the table");
    let bytes = |name: &str| &ours[std::path::Path::new(name)];
    assert_eq!(
        bytes("test/cat/00000001.png"),
        &theirs[std::path::Path::new("cat/1.png")]
    );
    assert_eq!(
        bytes("test/cow/00000002.png"),
        &theirs[std::path::Path::new("cow/0.png")]
    );
}

#[test]
fn inspect_shows_manifest_schema_and_row() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.run("build folder --source photos --out shards");
    let shown = place.run("inspect shards/train --row 5 --png row.png");
    insta::assert_snapshot!(shown.replace(lift_data::VERSION, "[version]"), @r"
    exit 0
    dataset     folder train
    written by  lift-data [version]
    format      2
    images      16
    classes     3
    encoding    rgb8
    resized     short side at most 256
    left out    0
    shards      1
    bytes       11.7 kB

    train-00000.parquet: 16 rows, 1 row group(s)
    message arrow_schema {
      REQUIRED INT64 id;
      REQUIRED BYTE_ARRAY path (STRING);
      REQUIRED INT32 label;
      REQUIRED INT32 width;
      REQUIRED INT32 height;
      REQUIRED INT32 num_bytes;
      REQUIRED INT64 checksum (INTEGER(64,false));
      REQUIRED BYTE_ARRAY image;
    }

    row       5
    id        5
    path      dog/1.png
    class     2 (dog)
    pixels    10x19
    bytes     570
    checksum  76a8980338c98d09
    shard     train-00000.parquet
    ----
    row 5: 10x19 pixels -> row.png
    ");
    let png = image::load_from_memory(&place.files("")[std::path::Path::new("row.png")]).unwrap();
    let source = &place.files("photos")[std::path::Path::new("train/dog/1.png")];
    assert_eq!(
        png.into_rgb8(),
        image::load_from_memory(source).unwrap().into_rgb8()
    );
    let json = place.run("inspect shards/train --row 5 --json");
    assert!(json.contains("\"path\": \"dog/1.png\""), "{json}");
}

#[test]
fn what_is_not_there_is_named() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.run("build folder --source photos --out shards");
    place.run("export shards --out out --format csv");
    for command in [
        "export shards --out out --format csv",
        "export shards --out other --rows 3..99",
        "export shards --out other --rows 3..3",
        "inspect shards",
        "inspect shards/train --row 16",
        "inspect photos",
    ] {
        let shown = place.run(command);
        assert!(
            !shown.starts_with("exit 0") && shown.contains("error: "),
            "{command}: {shown}"
        );
    }
    insta::assert_snapshot!(place.run("export shards --out out --format csv"), @r"
    exit 1
    ----
    error: out/train.csv: already exists and is not empty
    hint: remove it, or choose another --out
    ");
    insta::assert_snapshot!(place.run("inspect shards"), @r"
    exit 2
    ----
    error: shards has several splits; name one of shards/train, shards/test

    For more information, try '--help'.
    ");
}
