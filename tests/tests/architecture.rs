//! Which crate may use which, and that the map of the house names rooms that are there.

#[path = "architecture/circles.rs"]
mod circles;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use lift_tests::root;

/// Each crate of ours and those that it may use, whatever its tests use; as `ARCHITECTURE.md` says.
const ARROWS: [(&str, &[&str]); 12] = [
    ("lift-files", &[]),
    ("lift-image", &["lift-files"]),
    ("lift-page", &["lift-image"]),
    ("lift-shards", &["lift-files", "lift-image", "lift-page"]),
    (
        "lift-loader",
        &["lift-files", "lift-image", "lift-page", "lift-shards"],
    ),
    ("lift-shapes", &["lift-shards"]),
    (
        "lift-data",
        &[
            "lift-files",
            "lift-image",
            "lift-page",
            "lift-shapes",
            "lift-shards",
        ],
    ),
    ("lift-models", &["lift-files"]),
    (
        "lift-text",
        &[
            "lift-models",
            "lift-data",
            "lift-files",
            "lift-page",
            "lift-shards",
        ],
    ),
    (
        "lift-train",
        &[
            "lift-models",
            "lift-files",
            "lift-image",
            "lift-loader",
            "lift-page",
            "lift-shards",
        ],
    ),
    ("lift", &["lift-files", "lift-page"]),
    ("lift-python", &["lift-image", "lift-loader", "lift-shards"]),
];

/// Libraries that belong to some crates alone.
const KEPT_TO: [(&str, &[&str]); 5] = [
    (
        "clap",
        &["lift-page", "lift-data", "lift-text", "lift-train", "lift"],
    ),
    ("polars-arrow", &["lift-data"]),
    ("tch", &["lift-models", "lift-text", "lift-train"]),
    ("polars", &["lift-data"]),
    ("indicatif", &["lift-page", "lift-models"]),
];

/// What the crates depend on when they are built, not tested.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let found = manifest["dependencies"].as_table().unwrap();
        all.insert(name, found.keys().cloned().collect());
    }
    all
}

#[test]
fn arrows_between_crates_point_one_way() {
    let dependencies = dependencies();
    let known: BTreeSet<_> = ARROWS.iter().map(|(name, _)| name.to_string()).collect();
    let there: BTreeSet<_> = dependencies.keys().cloned().collect();
    assert_eq!(there, known, "a crate is missing here, or gone");
    for (position, (name, allowed)) in ARROWS.iter().enumerate() {
        let ours = dependencies[*name].intersection(&known);
        let allowed: BTreeSet<_> = allowed.iter().map(|name| name.to_string()).collect();
        assert_eq!(ours.cloned().collect::<BTreeSet<_>>(), allowed, "{name}");
        // None uses one that stands below it, so that there is no circle.
        let above: BTreeSet<_> = ARROWS[..position].iter().map(|(name, _)| *name).collect();
        assert!(
            allowed.iter().all(|used| above.contains(used.as_str())),
            "{name}"
        );
    }
    for (library, crates) in KEPT_TO {
        for (name, used) in &dependencies {
            let may = crates.contains(&name.as_str());
            assert!(may || !used.contains(library), "{name} uses {library}");
        }
    }
}

#[test]
fn no_file_uses_one_that_uses_it() {
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let crate_dir = entry.unwrap().path();
        let found = circles::circles(&crate_dir.join("src"));
        assert!(found.is_empty(), "{}: {found:#?}", crate_dir.display());
    }
}

/// `lift-train` reads shards, and neither makes them nor makes the classifier file.
#[test]
fn the_trainer_knows_neither_sources_nor_prompts() {
    let dependencies = dependencies();
    let mut reached = BTreeSet::new();
    let mut open = vec!["lift-train".to_owned()];
    while let Some(name) = open.pop() {
        let used = dependencies.get(&name).into_iter().flatten();
        open.extend(used.filter(|used| reached.insert((*used).clone())).cloned());
    }
    for absent in ["lift-data", "lift-text", "polars"] {
        assert!(!reached.contains(absent), "{absent}");
    }
    assert!(reached.contains("lift-shards"));
}

#[test]
fn every_file_that_the_map_names_is_there() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let words = map.split('`').skip(1).step_by(2);
    let places = ["crates/", "docs/", "tests/", "xtask/", "models/"];
    let mut named = 0;
    for word in words.filter(|word| places.iter().any(|place| word.starts_with(place))) {
        assert!(root().join(Path::new(word)).exists(), "{word}");
        named += 1;
    }
    assert!(named > 40, "{named}");
}
