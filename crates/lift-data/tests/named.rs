//! Named datasets as their users meet them: lists, trees, class names, downloads.

mod server;
mod support;

use lift_data::git_blob::GitBlob;
use support::{Workplace, shared};

const TRAIN: &str = "train/cat/0.png 0\ntrain/cat/1.png 0\ntrain/cat/2.png 0\n\
train/dog/0.png 1\ntrain/dog/1.png 1\ntrain/dog/2.png 1\ntrain/dog/3.png 1\n";
const TEST: &str = "test/cat/0.png 0\ntest/dog/0.png 1\n";

/// `pets.toml`, whose lists are pinned to [`TRAIN`] and [`TEST`], with `more` before the first list.
fn pets(place: &Workplace, more: &str) {
    let pin = |text: &str| GitBlob::of(text.as_bytes());
    let toml = format!(
        r#"name = "pets"
about = "cats and dogs"
source = "lists"
orientation = "ignore"
get = "pets.zip of 2020"
{more}
[[list]]
split = "train"
files = ["pets_train.txt", "train.txt"]
git_blob = "{}"

[[list]]
split = "test"
files = ["pets_test.txt", "test.txt"]
git_blob = "{}"

[[expected]]
split = "train"
images = 7
largest = 4
smallest = 3
band_classes = [0, 0, 2]
"#,
        pin(TRAIN),
        pin(TEST)
    );
    place.write("pets.toml", &toml);
}

fn images(place: &Workplace, root: &str) {
    for list in [TRAIN, TEST] {
        for line in list.lines() {
            let path = line.split_once(' ').unwrap().0;
            place.image(&format!("{root}/{path}"), 8, 9);
        }
    }
}

fn build(place: &Workplace, more: &str) -> String {
    place.run(&format!(
        "build --dataset-file pets.toml --source photos --out shards {more}"
    ))
}

#[test]
fn datasets_are_listed() {
    let place = Workplace::new();
    insta::assert_snapshot!(place.run("datasets"), @r"
    exit 0
    dataset      classes    train  largest  smallest  many  medium    few    test
    imagenet-lt    1,000  115,846    1,280         5   385     479    136  50,000
    places-lt        365   62,500    4,980         5   131     163     71  36,500
    inat2018       8,142  437,513    1,000         2   842   4,076  3,224  24,426
    cifar100-lt      100   10,847      500         5    35      35     30  10,000
    cifar10-lt        10   12,406    5,000        50     8       2      0  10,000
    shapes-lt        100        -        -         -     -       -      -       -

    what to download:
    imagenet-lt  ILSVRC2012 (train and val) from image-net.org, with val/ sorted into class folders (the script valprep.sh does it)
    places-lt    Places365-Standard, small images (256 x 256) with easy directory structure: places365standard_easyformat.tar
    inat2018     the 2018 challenge's train_val2018.tar.gz (github.com/visipedia/inat_comp, folder 2018)
    cifar100-lt  CIFAR-100 python version (cifar-100-python.tar.gz), binary version (cifar-100-binary.tar.gz), or Hugging Face's uoft-cs/cifar100
    cifar10-lt   CIFAR-10 python version (cifar-10-python.tar.gz), binary version (cifar-10-binary.tar.gz), or Hugging Face's uoft-cs/cifar10
    shapes-lt    nothing to download: lift-data draw shapes-lt draws it
    ----
    ");
    let json = place.run("datasets --json");
    let json = json
        .strip_prefix("exit 0\n")
        .and_then(|text| text.split_once("----"))
        .unwrap()
        .0;
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let first = &json["datasets"][0];
    assert_eq!(first["name"], "imagenet-lt");
    assert_eq!(
        first["expected"][0]["band_classes"],
        serde_json::json!([385, 479, 136])
    );
}

#[test]
fn a_users_own_file_describes_a_dataset() {
    let place = Workplace::new();
    pets(&place, "num_classes = 2");
    images(&place, "photos");
    place.write("lists/train.txt", TRAIN);
    place.write("photos/pets_test.txt", TEST);
    insta::assert_snapshot!(build(&place, "--lists lists"), @r"
    exit 0
    ----
    train: 7 images of 2 classes, 3.1 kB in 1 shard, [time] -> shards/train
    test: 2 images of 2 classes, 1.6 kB in 1 shard, [time] -> shards/test
    ");
    let manifest: serde_json::Value =
        serde_json::from_str(&place.read("shards/train/manifest.json")).unwrap();
    assert_eq!(manifest["dataset"], "pets");
    assert_eq!(manifest["orientation"], "ignore");
    assert_eq!(manifest["class_names"], serde_json::json!(["cat", "dog"]));
    place.write(
        "typo.toml",
        "name = 'pets'\nabout = 'cats'\nsauce = 'lists'\n",
    );
    insta::assert_snapshot!(place.run("build --dataset-file typo.toml --source photos --out no"), @r"
    exit 1
    ----
    error: typo.toml: line 3: unknown field `sauce`, expected one of `name`, `about`, `source`, `get`, `orientation`, `num_classes`, `bands`, `image_dir`, `class_names`, `class_names_from`, `class_file`, `class_file_git_blob`, `taxonomy`, `list_url`, `list`, `expected`, `wrong_version`
    hint: docs/datasets.md explains the keys of a dataset's file
    ");
}

#[test]
fn a_list_with_another_hash_is_refused() {
    let place = Workplace::new();
    pets(&place, "");
    images(&place, "photos");
    insta::assert_snapshot!(build(&place, "--lists lists --split test"), @r"
    exit 1
    ----
    error: lists: the test list of pets is not there (looked for pets_test.txt and test.txt, also in photos)
    hint: name the folder with the lists by --lists DIR, or fetch them with --download
    ");
    place.write("lists/pets_test.txt", "test/cat/0.png 0\n");
    place.write("lists/train.txt", TRAIN);
    insta::assert_snapshot!(build(&place, "--lists lists"), @r"
    exit 1
    ----
    error: lists/pets_test.txt: not the official test list of pets: its git blob id is 2abeee7759c15fd7656de8ddccef9d7e63500c3d, the official one's is fd6cdc29b9f0f98324c4a3bd1a41e3c4e83cf55f
    hint: remove it and fetch the official one with --download, or use this one with --any-list
    ");
    assert!(place.files("shards").is_empty());
    place.write("windows/pets_test.txt", &TEST.replace('\n', "\r\n"));
    let windows = build(&place, "--lists windows --split test");
    assert!(
        windows.contains("hint: only its line ends differ (Windows')"),
        "{windows}"
    );
    insta::assert_snapshot!(build(&place, "--lists lists --any-list"), @r"
    exit 0
    ----
    note: lists/pets_test.txt: not the official test list of pets; its counts are not checked (--any-list)
    train: 7 images of 2 classes, 3.1 kB in 1 shard, [time] -> shards/train
    test: 1 image of 2 classes, 1.3 kB in 1 shard, [time] -> shards/test
    ");
}

#[test]
fn missing_files_are_counted_before_anything_is_decoded() {
    let place = Workplace::new();
    pets(
        &place,
        "[[wrong_version]]\nhas = ['flat_*', 'pets2019']\nis = 'this is the flat version'\nhint = 'get the deep one'\n",
    );
    place.write("lists/train.txt", TRAIN);
    place.write("lists/test.txt", TEST);
    let build = |more: &str| build(&place, &format!("--lists lists {more}"));
    insta::assert_snapshot!(build(""), @r"
    exit 1
    ----
    error: photos: no such folder
    hint: name the folder that holds the images as --source
    ");
    place.image("photos/train/cat/1.png", 8, 8);
    insta::assert_snapshot!(build(""), @r"
    exit 1
    ----
    error: photos: missing are 6 of 7 files of the train list and 2 of 2 files of the test list:
      train/cat/0.png
      train/cat/2.png
      train/dog/0.png
      train/dog/1.png
      train/dog/2.png
      and 3 more
    hint: the version to download is pets.zip of 2020
    ");
    place.image("photos/flat_0.png", 8, 8);
    let err = build("");
    assert!(
        err.contains("\nthis is the flat version\nhint: get the deep one\n"),
        "{err}"
    );
    // The right folder is one up or one down.
    images(&place, "all/inner");
    let one_down = place.run("build --dataset-file pets.toml --source all --lists lists --out out");
    insta::assert_snapshot!(one_down, @r"
    exit 1
    ----
    error: all: missing are 7 of 7 files of the train list and 2 of 2 files of the test list:
      train/cat/0.png
      train/cat/1.png
      train/cat/2.png
      train/dog/0.png
      train/dog/1.png
      and 4 more
    it is in the folder inner
    hint: name all/inner as --source
    ");
    let one_up = place.run(
        "build --dataset-file pets.toml --source all/inner/test --split test --lists lists --out out",
    );
    insta::assert_snapshot!(one_up, @r"
    exit 1
    ----
    error: all/inner/test: missing are 2 of 2 files of the test list:
      test/cat/0.png
      test/dog/0.png
    this is the inside of the folder test
    hint: name the folder that holds test as --source
    ");
    // Bad images that the user allows may be missing ones.
    images(&place, "few");
    place.remove("few/train/dog/2.png");
    let allowed = "build --dataset-file pets.toml --source few --lists lists --out out --max-bad 1";
    insta::assert_snapshot!(place.run(allowed), @r"
    exit 0
    ----
    note: few: 1 file of the lists is missing; it counts as a bad image
    train: 6 images of 2 classes, 1 bad left out (see quarantine.jsonl), 2.8 kB in 1 shard, [time] -> out/train
    test: 2 images of 2 classes, 1.6 kB in 1 shard, [time] -> out/test
    ");
}

/// What people have on their disks, and what they are told.
#[test]
fn the_usual_wrong_versions_are_recognised() {
    for (dataset, tree, told) in [
        (
            "places-lt",
            &[
                "data_256/a/airfield/00000001.jpg",
                "val_256/Places365_val_00000001.jpg",
            ][..],
            "places365standard_easyformat.tar",
        ),
        (
            "imagenet-lt",
            &["val/ILSVRC2012_val_00000001.JPEG"],
            "valprep.sh",
        ),
        (
            "imagenet-lt",
            &["ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_18.JPEG"],
            "CLS-LOC",
        ),
        (
            "inat2018",
            &["train_val2019/Plants/0/a.jpg"],
            "this is iNaturalist 2019",
        ),
        (
            "inat2018",
            &["train/00000_Animalia_Annelida_Clitellata/a.jpg"],
            "this is iNaturalist 2021",
        ),
    ] {
        let place = Workplace::new();
        for path in tree {
            place.write(&format!("photos/{path}"), "");
        }
        // A list of the right shape stands in for the official one.
        let path = "none/n01440764/none.jpg";
        for name in ["test.txt", "val.txt"] {
            place.write(&format!("lists/{name}"), &format!("{path} 0\n"));
        }
        let names: String = (0..8142).map(|i| format!("class {i}\n")).collect();
        let count = match dataset {
            "places-lt" => 365,
            "imagenet-lt" => 1000,
            _ => 8142,
        };
        let names: Vec<_> = names.lines().take(count).collect();
        place.write("names.txt", &names.join("\n"));
        let out = place.run(&format!(
            "build {dataset} --source photos --lists lists --any-list --split test --classnames names.txt --out out"
        ));
        assert!(out.starts_with("exit 1"), "{out}");
        assert!(
            out.contains("missing are 1 of 1 files of the test list:"),
            "{out}"
        );
        assert!(out.contains(told), "{dataset}: {out}");
    }
}

#[test]
fn class_names_come_from_a_file_or_the_folders() {
    let place = Workplace::new();
    pets(
        &place,
        "num_classes = 2\nclass_names_from = 'file'\nclass_file = 'names.txt'",
    );
    images(&place, "photos");
    place.write("photos/train.txt", TRAIN);
    place.write("photos/test.txt", TEST);
    let names = |out: &str| {
        let manifest = place.read(&format!("{out}/test/manifest.json"));
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        manifest["class_names"].to_string()
    };
    let build = |out: &str, more: &str| {
        place.run(&format!(
            "build --dataset-file pets.toml --source photos --split test --out {out} {more}"
        ))
    };
    insta::assert_snapshot!(build("a", ""), @r"
    exit 0
    ----
    note: classes are named by their folders (cat, ..), which says nothing to a text model: give --classnames, or put names.txt beside the lists
    test: 2 images of 2 classes, 1.6 kB in 1 shard, [time] -> a/test
    ");
    assert_eq!(names("a"), r#"["cat","dog"]"#);
    // Names that are the folders belong to the folders' labels, whatever their order.
    place.write("photos/names.txt", "dog\ncat\n");
    insta::assert_snapshot!(build("b", ""), @r"
    exit 0
    ----
    note: photos/names.txt: names are in another order than the list's labels; each was given to the label of its folder
    test: 2 images of 2 classes, 1.6 kB in 1 shard, [time] -> b/test
    ");
    assert_eq!(names("b"), r#"["cat","dog"]"#);
    // Others are taken as they stand, and a name that begins with a folder stays whole.
    place.write("photos/names.txt", "dog rose\ncat fish\n");
    insta::assert_snapshot!(build("whole", ""), @r"
    exit 0
    ----
    note: photos/names.txt: names begin with folders in another order than the list's labels; they are taken as they stand, in label order
    test: 2 images of 2 classes, 1.6 kB in 1 shard, [time] -> whole/test
    ");
    assert_eq!(names("whole"), r#"["dog rose","cat fish"]"#);
    place.write("own.txt", "animal\nanimal\n");
    insta::assert_snapshot!(build("c", "--classnames own.txt"), @r"
    exit 0
    ----
    test: 2 images of 2 classes, 1.6 kB in 1 shard, [time] -> c/test
    ");
    assert_eq!(names("c"), r#"["animal","animal"]"#);
    place.write("photos/names.txt", "cat\ndog\ncow\n");
    insta::assert_snapshot!(build("d", ""), @r"
    exit 1
    ----
    error: photos/names.txt: 3 classes, pets has 2
    hint: one name a class, in label order
    ");
}

#[test]
fn flags_that_do_not_fit_are_refused() {
    let place = Workplace::new();
    pets(&place, "");
    let error = |arguments: &str| {
        let out = place.run(&format!("build {arguments} --source photos --out out"));
        assert!(out.starts_with("exit 2"), "{out}");
        out.lines().nth(2).unwrap().to_owned()
    };
    let errors: Vec<_> = [
        "folder --lists lists",
        "cifar10-lt --download",
        "imagenet-lt --taxonomy genus",
        "imagenet-lt --list-url http://127.0.0.1",
        "imagenet-lt --dataset-file pets.toml",
        "--dataset-file pets.toml --download",
    ]
    .map(error)
    .to_vec();
    insta::assert_snapshot!(errors.join("\n"), @r"
    error: --lists is for datasets with official lists, not for folder
    error: --download is for datasets with official lists, not for cifar10-lt
    error: --taxonomy is for inat2018, not for imagenet-lt
    error: --list-url does nothing without --download
    error: pets.toml describes pets; leave out the dataset's name, or give that one
    error: pets has no list_url; say where its lists are with --list-url
    ");
}

#[test]
fn lists_are_fetched_when_the_user_asks() {
    let place = Workplace::new();
    pets(&place, "");
    images(&place, "photos");
    let files = [
        ("/lists/pets_train.txt", TRAIN),
        ("/lists/pets_test.txt", TEST),
    ];
    let server = server::start(&files, server::Manner::Whole);
    let url = format!("--list-url http://{}/lists/", server.address);
    assert!(build(&place, "").contains(
        "hint: name the folder with the lists by --lists DIR, or fetch them with --download"
    ));
    let out = build(&place, &format!("--lists lists --download {url}"));
    insta::assert_snapshot!(out, @r"
    exit 0
    ----
    train: 7 images of 2 classes, 3.1 kB in 1 shard, [time] -> shards/train
    test: 2 images of 2 classes, 1.6 kB in 1 shard, [time] -> shards/test
    ");
    assert_eq!(place.read("lists/pets_train.txt"), TRAIN);
    assert_eq!(place.files("lists").len(), 2);
    // What is there is not fetched again.
    drop(server);
    let again =
        "build --dataset-file pets.toml --source photos --lists lists --out again --download";
    let out = place.run(&format!("{again} {url}"));
    assert!(out.starts_with("exit 0"), "{out}");
}

#[test]
fn a_download_that_goes_wrong_leaves_nothing() {
    let place = Workplace::new();
    pets(&place, "");
    images(&place, "photos");
    let errors: Vec<_> = [
        (TEST, server::Manner::Whole),
        (TRAIN, server::Manner::NotFound),
        (TRAIN, server::Manner::Cut),
    ]
    .map(|(text, manner)| {
        let server = server::start(&[("/pets_train.txt", text)], manner);
        let url = format!("http://{}", server.address);
        let out = build(
            &place,
            &format!("--lists lists --download --list-url {url}"),
        );
        assert!(place.files("lists").is_empty(), "{manner:?}");
        out.replace(&server.address, "[server]")
    })
    .to_vec();
    insta::assert_snapshot!(errors.join("\n"), @r"
    exit 1
    ----
    error: http://[server]/pets_train.txt: what is there is not the official train list of pets: its git blob id is fd6cdc29b9f0f98324c4a3bd1a41e3c4e83cf55f, the official one's is 453c66b2e644c368cbf6de24b17b1a02201b564e
    hint: check the address (--list-url), or get the file by hand and name its folder with --lists

    exit 1
    ----
    error: http://[server]/pets_train.txt: cannot fetch: http status: 404
    hint: check the address (--list-url), or get the file by hand and name its folder with --lists

    exit 1
    ----
    error: http://[server]/pets_train.txt: cannot fetch: the answer broke off: Peer disconnected
    hint: check the address (--list-url), or get the file by hand and name its folder with --lists
    ");
    assert!(place.files("shards").is_empty());
}

#[test]
fn the_program_says_which_files_of_the_real_list_are_missing() {
    let Some(lists) = shared("data/splits/places-lt") else {
        return;
    };
    let place = Workplace::new();
    place.write("places/train/airfield/00004851.jpg", "");
    let lists = lists.display();
    let out = place.run(&format!(
        "build places-lt --source places --lists {lists} --out out"
    ));
    insta::assert_snapshot!(out, @r"
    exit 1
    ----
    error: places: missing are 62499 of 62500 files of the train list and 36500 of 36500 files of the test list:
      train/airfield/00004596.jpg
      train/airfield/00001417.jpg
      train/airfield/00000230.jpg
      train/airfield/00001576.jpg
      train/airfield/00000835.jpg
      and 98994 more
    hint: the version to download is Places365-Standard, small images (256 x 256) with easy directory structure: places365standard_easyformat.tar
    ");
}
