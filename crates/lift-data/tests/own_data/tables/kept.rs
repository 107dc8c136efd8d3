//! Columns that go with the images, and shards as a source.

use lift_shards::ShardReader;
use lift_shards::manifest::Manifest;

use super::{META, build, listed, meta, paths};
use crate::support::Workplace;
use crate::{rows, texts, write_parquet};

#[test]
fn kept_columns_come_back() {
    let place = Workplace::new();
    meta(&place);
    insta::assert_snapshot!(build(&place, "--keep-columns site,width --out a"), @r"
    exit 0
    ----
    train: 8 images of 3 classes, 4.1 kB in 1 shard, [time] -> a/train
    test: 4 images of 3 classes, 3.0 kB in 1 shard, [time] -> a/test
    ");
    insta::assert_snapshot!(build(&place, "--keep-columns site,colour --out b"), @r"
    exit 1
    ----
    error: --keep-columns: there is no column `colour` in the train split
    hint: columns come from the source's table or from --join
    ");
    // Another table is another build.
    place.write("meta.csv", &META.replace("north,40", "south,40"));
    insta::assert_snapshot!(build(&place, "--keep-columns site,width --out a"), @r"
    exit 1
    ----
    error: a/train: holds a finished dataset with other settings: the kept columns or their values differ (--keep-columns)
    hint: give the same settings to go on with it, remove it, or choose another --out
    ");
    insta::assert_snapshot!(place.run("export a/test --out e --format csv"), @r"
    exit 0
    ----
    test: 4 rows -> e/test.csv
    ");
    insta::assert_snapshot!(place.read("e/test.csv").replace('\r', ""), @r"
    id,path,label,class,width,height,num_bytes,checksum,file,site,table_width
    0,8.png,0,ant,14,5,161,cd4b5c7592c7175f,,west,64
    1,9.png,1,bee,15,5,166,d174b893ffba162a,,west,64
    2,10.png,1,bee,16,5,163,cd79a2abca9f103e,,north,12
    3,11.png,0,ant,17,5,167,0cc7fb43e47c118d,,west,64
    ");
    assert!(place.run("verify a").starts_with("exit 0"));
    insta::assert_snapshot!(place.run("inspect a/test --row 2"), @r"
    exit 0
    dataset       table test
    written by    lift-data 0.1.0 (libjpeg-turbo)
    format        3
    images        4
    classes       3
    encoding      original
    resized       sizes kept
    left out      0
    shards        1
    bytes         3.0 kB
    kept columns  site, table_width

    test-00000.parquet: 4 rows, 1 row group(s)
    message arrow_schema {
      REQUIRED INT64 id;
      REQUIRED BYTE_ARRAY path (STRING);
      OPTIONAL INT64 label;
      REQUIRED INT32 width;
      REQUIRED INT32 height;
      REQUIRED INT32 num_bytes;
      REQUIRED INT64 checksum (INTEGER(64,false));
      OPTIONAL BYTE_ARRAY site (STRING);
      OPTIONAL INT64 table_width;
      OPTIONAL group image {
        OPTIONAL BYTE_ARRAY bytes;
        OPTIONAL BYTE_ARRAY path (STRING);
      }
    }

    row          2
    id           2
    path         10.png
    class        1 (bee)
    pixels       16x5
    bytes        163
    checksum     cd79a2abca9f103e
    shard        test-00000.parquet
    site         north
    table_width  12
    ----
    ");
}

#[test]
fn shards_are_a_source() {
    let place = Workplace::new();
    meta(&place);
    for encoding in ["original", "rgb8"] {
        let said = place.run(&format!("build table --source meta.csv --root img --encoding {encoding} --keep-columns all --out {encoding}"));
        assert!(said.starts_with("exit 0"), "{said}");
    }
    // Taken as they are, whatever they are: the bytes, the columns, the settings.
    for encoding in ["original", "rgb8"] {
        let out = format!("again-{encoding}");
        let said = place.run(&format!(
            "build shards --source {encoding} --keep-columns all --shard-mib 1 --out {out}"
        ));
        assert!(said.starts_with("exit 0"), "{said}");
        for split in ["train", "test"] {
            let (old, new) = (format!("{encoding}/{split}"), format!("{out}/{split}"));
            assert_eq!(rows(&place, &old), rows(&place, &new));
            let [before, after] = [&old, &new].map(|dir| Manifest::load(&place.path(dir)).unwrap());
            assert_eq!(
                (before.encoding, before.short_side, &before.columns),
                (after.encoding, after.short_side, &after.columns)
            );
            let kept = |dir: &str| {
                ShardReader::open(&place.path(dir))
                    .unwrap()
                    .kept_columns()
                    .unwrap()
            };
            assert_eq!(kept(&old), kept(&new));
        }
    }
    insta::assert_snapshot!(place.run_words(&["build", "shards", "--source", "rgb8", "--where", "site = 'north' and width > 6", "--split", "train", "--encoding", "png", "--out", "north"]), @r"
    exit 0
    ----
    note: rgb8: 3 of 12 images chosen; without images, and left out: 1 class (`cow`)
    train: 2 images of 2 classes, 2.8 kB in 1 shard, [time] -> north/train
    ");
    assert_eq!(paths(&place, "north/train"), ["1.png", "4.png"]);
    // Pixels are the same as those of the files.
    let mut decoder = lift_image::decode::Decoder::default();
    let [pixels, png] =
        ["rgb8/train", "north/train"].map(|dir| ShardReader::open(&place.path(dir)).unwrap());
    let first = pixels.rgb(1, &mut decoder).unwrap().pixels.to_vec();
    assert_eq!(png.rgb(0, &mut decoder).unwrap().pixels, first);
    // Merged by the classes' names.
    place.class_folders("photos");
    place.run("build folder --source photos --encoding original --out more");
    insta::assert_snapshot!(place.run("build shards --source original --source more --out merged"), @r"
    exit 0
    ----
    train: 24 images of 5 classes, 9.8 kB in 1 shard, [time] -> merged/train
    test: 10 images of 5 classes, 5.3 kB in 1 shard, [time] -> merged/test
    ");
    let merged = listed(&place, "merged/train");
    assert_eq!(merged.len(), 8 + 16);
    assert!(merged.contains(&("cat/0.png".to_owned(), "cat".to_owned())));
    assert!(merged.contains(&("7.png".to_owned(), "cow".to_owned())));
    insta::assert_snapshot!(place.run("build shards --source original --source rgb8 --out no"), @r"
    exit 2
    ----
    error: the shards to be merged are stored by different settings; say with --encoding (and --short-side) how all of them are to be stored

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(place.run("build shards --source original --source original --out no"), @r"
    exit 1
    ----
    error: original: listed more than once, images: 12
      0.png: in train (image 0), in train (image 8)
      1.png: in train (image 1), in train (image 9)
      2.png: in train (image 2), in train (image 10)
      3.png: in train (image 3), in train (image 11)
      4.png: in train (image 4), in train (image 12)
      and 7 more
    hint: take out all but one line of each, or take them as they are with --allow-repeats
    ");
    insta::assert_snapshot!(place.run("build shards --source photos --out no"), @r"
    exit 1
    ----
    error: photos: holds images, and shards are wanted
    hint: build shards of them first: lift-data build folder --source photos --out OUT
    ");
    insta::assert_snapshot!(place.run("build shards --source rgb8 --encoding original --out no"), @r"
    exit 2
    ----
    error: --encoding original keeps files, and the shards hold pixels; choose png, which loses nothing

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(place.run("build folder --source photos --source img --out no"), @r"
    exit 2
    ----
    error: more than one --source is for shards, not for folder

    For more information, try '--help'.
    ");
    // A validation split of the training split.
    let said = place.run("build shards --source original --holdout val=0.3 --out val");
    assert!(said.starts_with("exit 0"), "{said}");
    assert_eq!(
        paths(&place, "val/train").len() + paths(&place, "val/val").len(),
        8
    );
}

/// Names that stand in the way: dots, our own, twice, none.
#[test]
fn columns_may_be_called_anything() {
    let place = Workplace::new();
    place.image("img/0.png", 4, 4);
    place.image("img/1.png", 4, 4);
    let heading =
        "path,label,gps.lat,row,width,table_width,class,table_class,file,split,confidence";
    place.write(
        "m.csv",
        &format!("{heading}\n0.png,ant,1.5,7,8,9,x,y,f,0,1\n1.png,bee,2.5,8,9,10,x,z,g,1,2\n"),
    );
    let build = |arguments: &[&str]| {
        let fixed = [
            "build", "table", "--source", "m.csv", "--root", "img", "--split", "test", "--out",
        ];
        place.run_words(&[&fixed[..], arguments].concat())
    };
    insta::assert_snapshot!(build(&["all", "--keep-columns", "all"]), @r"
    exit 0
    ----
    note: m.csv: column `split` names no splits, and is a column as others are
    test: 2 images of 2 classes, 2.6 kB in 1 shard, [time] -> all/test
    ");
    let names = |dir: &str| -> Vec<String> {
        let manifest = Manifest::load(&place.path(dir)).unwrap();
        manifest
            .columns
            .into_iter()
            .map(|column| column.name)
            .collect()
    };
    assert_eq!(
        names("all/test"),
        [
            "gps.lat",
            "row",
            "table_width",
            "table_table_width",
            "table_class",
            "table_table_class",
            "file",
            "table_split",
            "confidence"
        ]
    );
    insta::assert_snapshot!(place.run_words(&["query", "all", "select \"gps.lat\" as lat, \"row\", table_table_width as w from test"]), @r"
    exit 0
    lat  row   w
    1.5    7   9
    2.5    8  10
    ----
    ");
    place.run("export all --out e --format csv");
    assert!(
        place
            .read("e/test.csv")
            .starts_with("id,path,label,class,width,height,num_bytes,checksum,file,gps.lat,row,")
    );
    assert!(place.read("e/test.csv").contains(",table_file,"));
    let said = build(&["some", "--where", "\"row\" = 8 and table_class = 'x'"]);
    assert!(said.contains("1 of 2 images chosen"), "{said}");
    let said = place.run("build shards --source all --out again");
    assert!(said.starts_with("exit 0"), "{said}");
    assert_eq!(names("again/test"), names("all/test"));
    let said = place.run("build shards --source all --keep-columns none --out bare");
    assert!(said.starts_with("exit 0"), "{said}");
    assert!(names("bare/test").is_empty());
    write_parquet(
        &place.path("m.parquet"),
        vec![
            ("path", texts(["0.png", "1.png"])),
            ("a.b", texts(["p", "q"])),
        ],
        None,
    );
    let said = build(&["joined", "--join", "m.parquet", "--keep-columns", "a.b"]);
    assert!(said.starts_with("exit 0"), "{said}");
    place.write("m.csv", ",path,label\n0,0.png,ant\n1,1.png,bee\n");
    insta::assert_snapshot!(build(&["no", "--keep-columns", "all"]), @r"
    exit 1
    ----
    error: --keep-columns: a column of the table has no name
    hint: name the columns that are wanted instead of `all` (pandas writes its index so)
    ");
    place.image("flat/ant/0.png", 4, 4);
    let said = place.run("build folder --source flat --split test --keep-columns all --out no");
    assert!(
        said.contains("error: --keep-columns: the test split has no columns"),
        "{said}"
    );
}
