//! Which images a build has: lists, hold-outs, long tails, and the splits that a source has.

mod support;

use std::collections::BTreeSet;
use std::fs;

use lift_shards::Split;
use support::{Workplace, flat, rows};

#[test]
fn a_flat_folder_is_split_into_lists_and_built_from_them() {
    let place = Workplace::new();
    flat(&place);
    let chosen =
        "--source flat --holdout val=0.1,test=0.2 --imbalance-ratio 7 --bands 20,5 --seed 3";
    insta::assert_snapshot!(place.run(&format!("split folder {chosen} --out lists")), @r"
    exit 0
                               train    val   test
    images                        46      6     13
    classes                        4      4      4
    largest class                 28      4      8
    smallest class                 1      0      0
    imbalance ratio             28.0      -      -
    Gini                       0.500  0.583  0.519
    many (> 20): classes           1      1      1
    many (> 20): images           28      4      8
    medium (5 to 20): classes      1      1      1
    medium (5 to 20): images      14      2      4
    few (< 5): classes             2      2      2
    few (< 5): images              4      0      1
    ----
    val: classes without an image: 2; their accuracy cannot be measured on it
    test: classes without an image: 1; their accuracy cannot be measured on it
    written to lists; build with: lift-data build list --source lists --root flat --out SHARDS
    ");
    place.run(&format!("build folder {chosen} --out direct"));
    let said =
        place.run("build list --source lists --root flat --bands 20,5 --seed 3 --out listed");
    assert!(said.starts_with("exit 0"), "{said}");
    for split in Split::ALL {
        let (direct, listed) = (format!("direct/{split}"), format!("listed/{split}"));
        assert_eq!(rows(&place, &direct), rows(&place, &listed), "{split}");
    }
    // What the shards say is what the lists said.
    let table = |path: &str| place.run(&format!("stats {path}"));
    assert_eq!(table("direct"), table("listed"));
    let split = place.run(&format!("split folder {chosen} --out again"));
    let split = split.split("----").next().unwrap();
    assert!(table("direct").starts_with(split), "{split}");
    assert_eq!(place.files("lists"), place.files("again"));
    // Another choice of bands needs no other build.
    assert!(
        place
            .run("stats direct --bands 1000,999")
            .contains("4      4      4\nfew (< 999): images")
    );
    insta::assert_snapshot!(place.run(&format!("split folder {chosen} --out lists")), @r"
    exit 1
    ----
    error: lists: already exists and is not empty
    hint: remove it, or choose another --out
    ");
}

#[test]
fn splits_part_the_images() {
    let place = Workplace::new();
    flat(&place);
    place.run("split folder --source flat --holdout val=0.3,test=0.3 --out lists");
    let lines = |name: &str| -> Vec<String> {
        let text = place.read(&format!("lists/{name}.txt"));
        text.lines().map(str::to_owned).collect()
    };
    let all: Vec<String> = ["train", "val", "test"]
        .iter()
        .flat_map(|name| lines(name))
        .collect();
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (65, 65));
    // Lists may go into the source's folder.
    place.run("split folder --source flat --holdout val=0.3,test=0.3 --out flat/lists");
    assert_eq!(place.files("lists"), place.files("flat/lists"));
    // Dog has one image; it stays for training.
    assert!(lines("train").contains(&"dog/0.png 3".to_owned()));
    assert!(
        lines("train")
            .is_sorted_by_key(|line| line.split_once('/').map(|(class, _)| class.to_owned()))
    );
    assert_eq!(place.read("lists/classnames.txt"), "ant\nbee\ncow\ndog\n");
}

#[test]
fn profiles_are_cut_from_a_source() {
    let place = Workplace::new();
    for class in ["a", "b", "c", "d"] {
        for i in 0..16 {
            place.image(&format!("even/train/{class}/{i}.png"), 2, 2);
        }
        place.image(&format!("even/test/{class}/0.png"), 2, 2);
    }
    let counts = |flags: &str| {
        let out = format!("lists{}", flags.len());
        let said = place.run(&format!(
            "split folder --source even {flags} --out {out} --json"
        ));
        assert!(said.starts_with("exit 0"), "{said}");
        assert_eq!(
            place.read(&format!("{out}/test.txt")).lines().count(),
            4,
            "test is left alone"
        );
        let text = place.read(&format!("{out}/train.txt"));
        ["a", "b", "c", "d"].map(|class| {
            text.lines()
                .filter(|line| line.starts_with(&format!("train/{class}/")))
                .count()
        })
    };
    assert_eq!(counts("--imbalance-ratio 8"), [16, 8, 4, 2]);
    assert_eq!(counts("--imbalance-ratio 8 --profile step"), [16, 16, 2, 2]);
    // q = (4/(i+1))^(1/6) - 1: 0.2599, 0.1225, 0.0491, 0; 2 + 14 q/q(0) = 16, 8.6, 4.6, 2
    assert_eq!(
        counts("--imbalance-ratio 8 --profile pareto"),
        [16, 9, 5, 2]
    );
    // q = 4/(i+1) - 1: 3, 1, 1/3, 0; 2 + 14 q/3 = 16, 6.7, 3.6, 2
    assert_eq!(
        counts("--imbalance-ratio 8 --profile pareto --pareto-power 1"),
        [16, 7, 4, 2]
    );
    assert_eq!(counts("--max-per-class 5"), [5, 5, 5, 5]);
    assert_eq!(
        counts("--imbalance-ratio 8 --min-per-class 6  --max-per-class 8"),
        [8, 6, 6, 6]
    );
}

/// 49 images at ratio 49 leave one for the smallest class, 98 leave two; a larger ratio leaves none.
#[test]
fn the_smallest_class_gets_what_the_ratio_says() {
    let place = Workplace::new();
    for (images, root) in [(49, "one"), (98, "two")] {
        for class in ["a", "b", "c"] {
            for i in 0..images {
                place.write(&format!("{root}/train/{class}/{i}.png"), "not opened");
            }
        }
    }
    let split = |root: &str, ratio: &str, out: &str| {
        place.run(&format!(
            "split folder --source {root} --imbalance-ratio {ratio} --out {out}"
        ))
    };
    let counts = |out: &str| {
        let list = place.read(&format!("{out}/train.txt"));
        ["train/a/", "train/b/", "train/c/"]
            .map(|class| list.lines().filter(|l| l.starts_with(class)).count())
    };
    for (root, out, expected) in [("one", "1", [49, 7, 1]), ("two", "2", [98, 14, 2])] {
        let said = split(root, "49", out);
        assert!(said.starts_with("exit 0"), "{said}");
        assert_eq!(counts(out), expected);
    }
    insta::assert_snapshot!(split("one", "50", "3"), @r"
    exit 1
    ----
    error: one/train: imbalance ratio 50 leaves class 2 without an image: the largest class has 49
    hint: use a ratio of at most 49, or --min-per-class 1
    ");
}

/// CIFAR's training split is cut while it is read; what is held out of it afterwards does not make it
/// another long tail.
#[test]
fn cifar_keeps_its_imbalance_ratio_beside_a_holdout() {
    let place = Workplace::new();
    let rows = |per_class: usize| -> Vec<u8> {
        let row = |i: usize| {
            let mut row = vec![(i % 10) as u8];
            row.extend((0..3072).map(|at| (at * 7 + i * 31) as u8));
            row
        };
        (0..10 * per_class).flat_map(row).collect()
    };
    fs::create_dir(place.path("cifar")).unwrap();
    for batch in 1..=5 {
        fs::write(
            place.path(&format!("cifar/data_batch_{batch}.bin")),
            rows(4),
        )
        .unwrap();
    }
    fs::write(place.path("cifar/test_batch.bin"), rows(1)).unwrap();
    // Choices for which no counts are published.
    let said = place.run(
        "build cifar10-lt --source cifar --imbalance-ratio 4 --max-per-class 20 --holdout val=0.2 --out shards",
    );
    assert!(said.starts_with("exit 0"), "{said}");
    let manifest = |split: &str| -> serde_json::Value {
        serde_json::from_str(&place.read(&format!("shards/{split}/manifest.json"))).unwrap()
    };
    assert_eq!(manifest("train")["imbalance_ratio"], 4.0);
    assert_eq!(manifest("val")["imbalance_ratio"], serde_json::Value::Null);
    // int(20 * (1/4)^(c/9)): 20 17 14 12 10 9 7 6 5 5, of which a fifth is held out.
    assert_eq!(
        manifest("train")["class_counts"],
        serde_json::json!([16, 14, 11, 10, 8, 7, 6, 5, 4, 4])
    );
    assert!(
        place
            .run("inspect shards/train")
            .contains("imbalance ratio  4\n")
    );
}

#[test]
fn validation_is_a_split_of_its_own_beside_test() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.image("photos/val/cat/0.png", 5, 5);
    place.image("photos/val/dog/0.png", 5, 5);
    insta::assert_snapshot!(place.run("build folder --source photos --out shards --bands 5,2"), @r"
    exit 0
    ----
    train: 16 images of 3 classes, 11.7 kB in 1 shard, [time] -> shards/train
    val: 2 images of 3 classes, 1.3 kB in 1 shard, [time] -> shards/val
    test: 6 images of 3 classes, 3.7 kB in 1 shard, [time] -> shards/test
    ");
    insta::assert_snapshot!(place.run("stats shards"), @r"
    exit 0
                              train    val   test
    images                       16      2      6
    classes                       3      3      3
    largest class                12      1      2
    smallest class                1      0      2
    imbalance ratio            12.0      -    1.0
    Gini                      0.458  0.333  0.000
    many (> 5): classes           1      1      1
    many (> 5): images           12      1      2
    medium (2 to 5): classes      1      1      1
    medium (2 to 5): images       3      1      2
    few (< 2): classes            1      1      1
    few (< 2): images             1      0      2

    label  class  band    train  val  test
        2  dog    many       12    1     2
        0  cat    medium      3    1     2
        1  cow    few         1    0     2
    ----
    ");
    // An unfinished validation split is not passed over.
    fs::remove_file(place.path("shards/val/manifest.json")).unwrap();
    assert!(
        place
            .run("verify shards")
            .contains("shards/val: not complete")
    );
    let recipe = "[data]\ndataset = 'folder'\nsource = 'photos'\nout = 'one'\nsplit = 'val'\nbands = '7,3'\nholdout = '0.1'\n";
    place.write("recipe.toml", recipe);
    insta::assert_snapshot!(place.run("build --config recipe.toml --holdout test=0.1"), @r"
    exit 1
    ----
    error: photos: it has a test split already
    hint: hold out the other one (--holdout val=F or test=F), or build the training split first and hold out of it with build shards
    ");
    place.write("recipe.toml", &recipe.replace("holdout = '0.1'\n", ""));
    assert!(
        place
            .run("build --config recipe.toml")
            .starts_with("exit 0")
    );
    assert!(
        place
            .read("one/val/manifest.json")
            .contains("\"many_above\": 7")
    );
}
