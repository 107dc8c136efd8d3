//! The program as its users meet it: exit code, standard output, standard error.

mod damaged;
mod support;

use support::Workplace;

#[test]
fn a_folder_is_built_described_and_verified() {
    let place = Workplace::new();
    place.class_folders("photos");
    insta::assert_snapshot!(place.run("build folder --source photos --out shards --threads 2"), @r"
    exit 0
    ----
    train: 16 images of 3 classes, 11.7 kB in 1 shard, [time] -> shards/train
    test: 6 images of 3 classes, 3.7 kB in 1 shard, [time] -> shards/test
    ");
    insta::assert_snapshot!(place.run("stats shards"), @r"
    exit 0
                                 train   test
    images                          16      6
    classes                          3      3
    largest class                   12      2
    smallest class                   1      2
    imbalance ratio               12.0    1.0
    Gini                         0.458  0.000
    many (> 100): classes            -      -
    many (> 100): images             -      -
    medium (20 to 100): classes      -      -
    medium (20 to 100): images       -      -
    few (< 20): classes              3      3
    few (< 20): images              16      6

    label  class  band  train  test
        2  dog    few      12     2
        0  cat    few       3     2
        1  cow    few       1     2
    ----
    ");
    insta::assert_snapshot!(place.run("verify shards"), @r"
    exit 0
    shards/train: whole: 16 images, 11.7 kB in 1 shard
    shards/test: whole: 6 images, 3.7 kB in 1 shard
    ----
    ");
    // The same distribution is seen before the build.
    let of_folder = place.run("stats photos");
    assert_eq!(of_folder, place.run("stats shards"));
}

#[test]
fn json_is_one_document() {
    let place = Workplace::new();
    place.class_folders("photos");
    insta::assert_snapshot!(place.run("build folder --source photos --out shards --json --split test"), @r#"
    exit 0
    {
      "dataset": "folder",
      "splits": [
        {
          "split": "test",
          "dir": "shards/test",
          "images": 6,
          "classes": 3,
          "quarantined": 0,
          "shards": 1,
          "kept_shards": 0,
          "bytes": 3731,
          "seconds": [time],
          "images_per_second": [time],
          "shares": {
            "read": [time],
            "decode": [time],
            "resize": [time],
            "encode": [time],
            "write": [time]
          }
        }
      ],
      "left_out": {
        "no_split": [],
        "passed_over": {},
        "system": {}
      },
      "peak_memory_bytes": [time]
    }
    ----
    test: 6 images of 3 classes, 3.7 kB in 1 shard, [time] -> shards/test
    "#);
    insta::assert_snapshot!(place.run("stats shards --json"), @r#"
    exit 0
    {
      "band_edges": {
        "many_above": 100,
        "few_below": 20
      },
      "splits": [
        {
          "split": "test",
          "path": "shards/test",
          "images": 6,
          "classes": 3,
          "empty_classes": 0,
          "largest": 2,
          "smallest": 2,
          "imbalance_ratio": 1.0,
          "gini": 0.0,
          "bands": [
            {
              "band": "many",
              "classes": 0,
              "images": 0
            },
            {
              "band": "medium",
              "classes": 0,
              "images": 0
            },
            {
              "band": "few",
              "classes": 3,
              "images": 6
            }
          ]
        }
      ],
      "classes": [
        {
          "label": 0,
          "name": "cat",
          "band": "few",
          "images": [
            2
          ]
        },
        {
          "label": 1,
          "name": "cow",
          "band": "few",
          "images": [
            2
          ]
        },
        {
          "label": 2,
          "name": "dog",
          "band": "few",
          "images": [
            2
          ]
        }
      ]
    }
    ----
    "#);
}

#[test]
fn the_bytes_do_not_depend_on_threads() {
    let place = Workplace::new();
    place.class_folders("photos");
    for (encoding, side) in [("rgb8", 8), ("jpeg", 8), ("original", 0)] {
        for threads in 1..=3 {
            let out = format!("{encoding}-{threads}");
            place.run(&format!(
                "build folder --source photos --out {out} --encoding {encoding} --threads {threads} --short-side {side}"
            ));
            assert_eq!(
                place.files(&out),
                place.files(&format!("{encoding}-1")),
                "{threads} threads"
            );
            assert_eq!(place.files(&out).len(), 4);
        }
    }
    assert_ne!(place.files("rgb8-1"), place.files("jpeg-1"));
}

#[test]
fn a_list_with_blanks_in_paths_is_built() {
    let place = Workplace::new();
    place.image("root/a b.png", 3, 2);
    place.image("root/c.png", 2, 2);
    place.image("root/d.png", 2, 2);
    place.write("lists/train.txt", "a b.png 1\nc.png 0\n");
    place.write("lists/val.txt", "d.png 0\n");
    place.write("names.txt", "cat\ndog\n");
    let build = "build list --source lists --root root --classnames names.txt --out shards";
    insta::assert_snapshot!(place.run(build), @r"
    exit 0
    ----
    train: 2 images of 2 classes, 1.2 kB in 1 shard, [time] -> shards/train
    test: 1 image of 2 classes, 1.1 kB in 1 shard, [time] -> shards/test
    ");
    insta::assert_snapshot!(place.run("stats lists/train.txt"), @r"
    exit 0
                                   all
    images                           2
    classes                          2
    largest class                    1
    smallest class                   1
    imbalance ratio                1.0
    Gini                         0.000
    many (> 100): classes            -
    many (> 100): images             -
    medium (20 to 100): classes      -
    medium (20 to 100): images       -
    few (< 20): classes              2
    few (< 20): images               2

    label  class  band  all
        0  0      few     1
        1  1      few     1
    ----
    ");
}

#[test]
fn messages_that_cannot_be_written_are_lost_and_results_are_an_error() {
    let place = Workplace::new();
    place.class_folders("photos");
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let program = |line: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lift-data"));
        command.args(line.split(' ')).current_dir(place.path(""));
        command
    };
    let build = "build folder --source photos --out shards --short-side 8";
    let ended = program(build).stderr(full()).output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(place.run("verify shards").starts_with("exit 0"));
    for line in [
        "--help",
        "build -h",
        "--version",
        "completions bash",
        "datasets",
        "stats shards",
    ] {
        let mut command = program(line);
        command.stdout(full()).stderr(std::process::Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), said.as_str()),
            (
                Some(1),
                "error: standard output: cannot write: No space left on device (os error 28)\n"
            ),
            "{line}"
        );
    }
}

#[test]
fn bad_input_is_named_with_a_hint() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.write("empty.txt", "");
    place.write("odd.txt", "cat/0.png 0\ncat/1.png\n");
    place.write("far.txt", "cat/0.png 0\ncat/1.png 7\n");
    place.write("gap.txt", "cat/0.png 0\ncat/1.png 2\n");
    place.write("one.txt", "cat/0.png 1\ncat/1.png 2\n");
    place.write("gone.txt", "cat/none.png 0\n");
    place.write("names.txt", "cat\ndog\n");
    let list = |name: &str| {
        place.run(&format!(
            "build list --source {name} --root photos/train --split train --out out"
        ))
    };
    insta::assert_snapshot!(place.run("build folder --source none --out out"), @r"
    exit 1
    ----
    error: none: no such folder
    hint: name the folder that holds the images
    ");
    insta::assert_snapshot!(list("empty.txt"), @r"
    exit 1
    ----
    error: empty.txt: the list is empty
    hint: every line is `relative/path.jpg label`
    ");
    insta::assert_snapshot!(list("odd.txt"), @r"
    exit 1
    ----
    error: odd.txt:2: no label in `cat/1.png`
    hint: every line is `relative/path.jpg label`, the label a whole number from 0
    ");
    insta::assert_snapshot!(
        place.run("build list --source far.txt --classnames names.txt --split test --out out"), @r"
    exit 1
    ----
    error: far.txt:2: label 7 is out of range: there are 2 classes, labels are 0 to 1
    hint: labels count from 0; check the list against the class names
    "
    );
    insta::assert_snapshot!(list("one.txt"), @r"
    exit 1
    ----
    error: one.txt: class 0 (0) has no training image
    hint: every other class has images, as if labels began at 1: they count from 0, so take 1 off each label; or add images of it
    ");
    insta::assert_snapshot!(list("gap.txt"), @r"
    exit 1
    ----
    error: gap.txt: class 1 (1) has no training image
    hint: add images of it, or take it out of the class names; where --where or --exclude left it none for training, leave out its other images too
    ");
    insta::assert_snapshot!(list("gone.txt"), @r"
    exit 1
    ----
    error: photos/train/cat/none.png: cannot read: No such file or directory (os error 2): it is the only training image of class 0 (0)
    hint: check that this is where the images are: a list's paths start at its folder, or at --root, or take the class out of the source and its class names, which makes another build
    ");
    assert_eq!(place.files("out").len(), 0, "failed builds leave nothing");
}

#[test]
fn existing_output_is_kept_and_never_mixed() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.run("build folder --source photos --out shards");
    let before = place.files("shards");
    insta::assert_snapshot!(place.run("build folder --source photos --out shards"), @r"
    exit 0
    ----
    train: 16 images of 3 classes, 11.7 kB in 1 shard (finished before), [time] -> shards/train
    test: 6 images of 3 classes, 3.7 kB in 1 shard (finished before), [time] -> shards/test
    ");
    insta::assert_snapshot!(
        place.run("build folder --source photos --out shards --short-side 8 --seed 3"), @r"
    exit 1
    ----
    error: shards/train: holds a finished dataset with other settings: seed is 0 there and 3 here; short_side is 256 there and 8 here
    hint: give the same settings to go on with it, remove it, or choose another --out
    ");
    place.image("photos/train/dog/99.png", 9, 9);
    insta::assert_snapshot!(place.run("build folder --source photos --out shards"), @r"
    exit 1
    ----
    error: shards/train: holds a finished dataset with other settings: the source differs, or what is taken of it (--holdout, --max-per-class): 16 images there and 17 here
    hint: give the same settings to go on with it, remove it, or choose another --out
    ");
    place.write("left/train/train-00000.parquet.tmp", "half");
    insta::assert_snapshot!(place.run("build folder --source photos --out left"), @r"
    exit 1
    ----
    error: left/train: already exists and is not empty
    hint: remove it, or choose another --out
    ");
    assert_eq!(place.files("shards"), before);
}

#[test]
fn a_corrupt_image_stops_the_build_unless_allowed() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.write("photos/train/cat/0.png", "not an image");
    place.write("photos/train/dog/2.png", "");
    insta::assert_snapshot!(place.run("build folder --source photos --out shards"), @r"
    exit 1
    ----
    error: photos/train/cat/0.png: cannot decode: not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF)
    hint: repair or remove the file, or leave out up to N bad ones with --max-bad N
    ");
    insta::assert_snapshot!(place.run("build folder --source photos --out shards --max-bad 1"), @r"
    exit 1
    ----
    error: photos/train/dog/2.png: cannot decode: the file is empty (bad image number 2, --max-bad is 1)
    hint: repair or remove the bad files, or allow more with --max-bad
    ");
    insta::assert_snapshot!(place.run("build folder --source photos --out shards --max-bad 2"), @r"
    exit 0
    ----
    train: 14 images of 3 classes, 2 bad left out (see quarantine.jsonl), 10.4 kB in 1 shard, [time] -> shards/train
    test: 6 images of 3 classes, 3.7 kB in 1 shard, [time] -> shards/test
    ");
    insta::assert_snapshot!(place.read("shards/train/quarantine.jsonl"), @r#"
    {"id":0,"path":"cat/0.png","label":0,"reason":"cannot decode: not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF)"}
    {"id":8,"path":"dog/2.png","label":2,"reason":"cannot decode: the file is empty"}
    "#);
    insta::assert_snapshot!(place.run("verify shards"), @r"
    exit 0
    shards/train: whole: 14 images, 10.4 kB in 1 shard
    shards/test: whole: 6 images, 3.7 kB in 1 shard
    ----
    ");
}

#[test]
fn damage_is_found() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.run("build folder --source photos --out shards --short-side 0");
    place.flip("shards/train/train-00000.parquet", 5000);
    insta::assert_snapshot!(place.run("verify shards"), @r"
    exit 1
    shards/train/train-00000.parquet: row 7 (dog/11.png): checksum mismatch
    shards/test: whole: 6 images, 3.7 kB in 1 shard
    ----
    error: shards: not whole, problems found: 1
    hint: build it again
    ");
    insta::assert_snapshot!(place.run("verify photos"), @r"
    exit 1
    ----
    error: photos: holds images, and shards are wanted
    hint: build shards of them first: lift-data build folder --source photos --out OUT
    ");
}

#[test]
fn an_unfinished_split_is_not_passed_over() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.run("build folder --source photos --out shards --split train");
    assert!(place.run("verify shards").starts_with("exit 0"));
    // As a build leaves it that was killed in its second split.
    place.write("shards/test/test-00000.parquet.tmp", "half");
    insta::assert_snapshot!(place.run("verify shards"), @r"
    exit 1
    ----
    error: shards/test: no shards: there is no manifest.json, and the split beside it has one
    hint: run the build again, or move this folder away
    ");
}

#[test]
fn images_that_stay_as_they_are_are_looked_at_as_well_as_asked() {
    let place = Workplace::new();
    place.class_folders("photos");
    // A PNG whose header is whole and whose pixels are not.
    let path = place.path("photos/train/cat/0.png");
    let mut file = std::fs::read(&path).unwrap();
    let data = file.windows(4).position(|bytes| bytes == b"IDAT").unwrap();
    file[data + 6..data + 12].fill(0xFF);
    std::fs::write(&path, file).unwrap();
    let build = "build folder --source photos --encoding original --split train";
    let has = |command: &str, parts: &[&str]| {
        let said = place.run(command);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    };
    has(
        &format!("{build} --out quick"),
        &["exit 0", "train: 16 images"],
    );
    let check = format!("{build} --check decode --out thorough");
    let bad = "cat/0.png: cannot decode: PNG: ";
    has(&check, &["exit 1", bad, "hint: repair or remove the file"]);
    has(
        &format!("{check} --max-bad 1"),
        &["exit 0", "15 images of 3 classes, 1 bad left out"],
    );
    // What was not looked at shows when it is loaded, with the way to find all that is like it.
    has(
        "inspect quick/train --row 0 --png row.png",
        &[
            "exit 1",
            bad,
            "hint: build the shards again with --check decode",
        ],
    );
}

#[test]
fn a_bench_prepares_and_writes_nothing() {
    let place = Workplace::new();
    place.class_folders("photos");
    let before = place.files(".");
    let report = place.run("bench folder --source photos --split train --seconds 0 --json");
    assert!(report.starts_with("exit 0"), "{report}");
    assert!(report.contains("\"sampled\": 16"), "{report}");
    assert_eq!(place.files("."), before);
    let usage = place.run("bench folder --source photos --seconds=-1");
    assert!(usage.starts_with("exit 2"), "{usage}");
    let failed = place.run("bench folder --source nowhere --split train");
    assert!(
        failed.starts_with("exit 1") && failed.contains("nowhere"),
        "{failed}"
    );
}

#[test]
fn a_recipe_gives_what_flags_do_not() {
    let place = Workplace::new();
    place.class_folders("photos");
    let recipe = "[data]\ndataset = 'folder'\nsource = 'photos'\nout = 'no'\nshort_side = 4\n[train]\nlr = 1\n";
    place.write("recipe.toml", recipe);
    insta::assert_snapshot!(place.run("build --config recipe.toml --out yes --split test"), @r"
    exit 0
    ----
    test: 6 images of 3 classes, 1.8 kB in 1 shard, [time] -> yes/test
    ");
    assert!(
        place
            .read("yes/test/manifest.json")
            .contains("\"short_side\": 4")
    );
    place.write("typo.toml", "[data]\ndataset = 'folder'\nshortside = 4\n");
    insta::assert_snapshot!(place.run("build --config typo.toml --out no"), @r"
    exit 1
    ----
    error: typo.toml: line 3: unknown field `shortside`, expected one of `dataset`, `dataset_file`, `source`, `out`, `split`, `encoding`, `quality`, `subsampling`, `short_side`, `enlarge`, `orientation`, `damaged`, `max_pixels`, `exact`, `check`, `threads`, `seed`, `imbalance_ratio`, `profile`, `pareto_power`, `max_per_class`, `min_per_class`, `holdout`, `bands`, `path_column`, `label_column`, `split_column`, `keep_columns`, `where`, `join`, `on`, `exclude`, `limit`, `group_by`, `folds`, `fold`, `image_column`, `root`, `lists`, `download`, `list_url`, `any_list`, `taxonomy`, `subset`, `follow_outside`, `allow_repeats`, `classnames`, `max_bad`, `shard_mib`, `order`
    hint: [data] takes the flags of `lift-data build` with underscores, and `dataset`
    ");
    insta::assert_snapshot!(place.run("build --out no"), @r"
    exit 2
    ----
    error: the dataset (imagenet-lt, places-lt, inat2018, cifar100-lt, cifar10-lt, shapes-lt, folder, list, table, hf, webdataset or shards) is missing

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(
        place.run("build folder --source photos --out no --root x"), @r"
    exit 2
    ----
    error: --root is for list and table, not for folder

    For more information, try '--help'.
    "
    );
}

#[test]
fn help_fits_a_screen_and_version_is_short() {
    let place = Workplace::new();
    for command in [
        "",
        "build",
        "split",
        "stats",
        "verify",
        "draw",
        "completions",
    ] {
        let lines = place.run(&format!("{command} -h")).lines().count();
        assert!(lines < 45, "{command}: {lines} lines");
    }
    assert!(place.run("build --help").contains("Examples:"));
    let version = place.run("--version");
    assert!(version.contains("lift-data "));
    let kernel = lift_image::ResizeKernel::available()[0];
    assert!(
        version.contains(&format!("\nresizes with {kernel}\n")),
        "{version}"
    );
    assert!(place.run("completions bash").contains("complete -F"));
}

#[test]
fn a_dry_run_tells_what_a_build_then_does() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.write("photos/test/cow/1.png", "not an image");
    insta::assert_snapshot!(place.run("build folder --source photos --out shards --dry-run"), @r"
    exit 0
    train: 16 images of 3 classes, about 11.5 kB in 1 shard -> shards/train
    test: 6 images of 3 classes, about 3.0 kB in 1 shard, 1 of 6 sampled are bad -> shards/test
    ----
    ");
    assert!(place.files("shards").is_empty(), "a dry run writes nothing");
    let json =
        place.run("build folder --source photos --out shards --dry-run --json --split train");
    assert!(
        json.contains("\"images\": 16,") && json.contains("\"shards\": 1,"),
        "{json}"
    );
}

#[test]
fn small_images_are_enlarged_only_when_asked() {
    let place = Workplace::new();
    place.image("photos/train/a/0.png", 10, 20);
    place.image("photos/train/a/1.png", 60, 40);
    let sizes = |flags: &str| {
        let out = format!("out{flags}").replace(' ', "");
        let build = format!("build folder --source photos --split train --out {out} {flags}");
        assert!(place.run(&build).starts_with("exit 0"));
        let reader = lift_shards::ShardReader::open(&place.path(&out).join("train")).unwrap();
        let sizes = reader.rows().iter().map(|row| (row.width, row.height));
        sizes.collect::<Vec<_>>()
    };
    assert_eq!(sizes("--short-side 30"), [(10, 20), (45, 30)]);
    assert_eq!(sizes("--short-side 30 --enlarge"), [(30, 60), (45, 30)]);
    // 1 x 3,000 at short side 4,000 would be 12 million rows.
    place.image("photos/train/a/2.png", 1, 3000);
    let strip = place
        .run("build folder --source photos --split train --out no --short-side 4000 --enlarge");
    assert!(
        strip.starts_with("exit 1")
            && strip.contains("a/2.png: cannot resize: 4000x12000000 pixels are more than"),
        "{strip}"
    );
}
