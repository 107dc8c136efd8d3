//! The real lists of the paper's datasets, where they are at hand.

mod support;

use std::path::PathBuf;

use lift_data::dataset::{DatasetSpec, Taxonomy};
use lift_data::profile::LongTail;
use lift_data::source::Source;
use lift_data::source::named::{Named, Request};
use lift_page::progress::Reporting;
use lift_shards::{ClassNames, Split};
use support::shared;

/// Reads the lists of a dataset whose images are not there, which is allowed here.
fn read(
    named: &Named,
    splits: &[Split],
    class_names: Option<&ClassNames>,
) -> lift_data::Result<Source> {
    let no_images = tempfile::tempdir().unwrap();
    let request = Request {
        source: no_images.path(),
        splits,
        class_names,
        long_tail: &LongTail::default(),
        seed: 0,
        max_bad: u64::MAX,
        reach: lift_data::source::Reach::Below,
    };
    named.read(request, Reporting::Silent)
}

fn with_lists(name: &str, lists: PathBuf) -> Named {
    let mut named = Named::new(DatasetSpec::find(name).unwrap());
    named.lists = Some(lists);
    named
}

#[test]
fn imagenet_lt_has_its_published_counts() {
    let Some(lists) = shared("data/splits/imagenet-lt") else {
        return;
    };
    let counts = std::fs::read_to_string(lists.join("train-class-counts.txt")).unwrap();
    let counts: Vec<u64> = counts.lines().map(|line| line.parse().unwrap()).collect();
    let named = with_lists("imagenet-lt", lists.clone());
    let expected = named.spec.expected(Split::Train, None).unwrap();
    assert_eq!(expected.band_classes, Some([385, 479, 136]));
    assert_eq!(expected.check(&counts, named.spec.bands), Ok(()));

    let source = read(&named, &[Split::Test], None).unwrap();
    assert_eq!(source.splits[0].items.len(), 50_000);
    assert!(source.splits[0].class_counts(1000).iter().all(|&n| n == 50));
    assert_eq!(source.class_names.name(0), Some("tench"));
    assert_eq!(source.class_names.name(999), Some("toilet paper"));
    // Two classes of ImageNet have the same usual name, twice.
    assert_eq!(source.class_names.repeated(), Some("missile"));

    // The validation list is no stand-in for the test list.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(lists.join("val.txt"), dir.path().join("test.txt")).unwrap();
    let wrong = with_lists("imagenet-lt", dir.path().to_owned());
    let err = read(&wrong, &[Split::Test], None).unwrap_err().to_string();
    assert!(err.contains("test.txt: not the official test list of imagenet-lt: its git blob id is 3ed3188b2f44829ce2dec1cc27040d8d40984088"), "{err}");
    assert!(
        err.contains("the official one's is 76a2fb9749d6cd29e765cc4f8c270f2504131e2f"),
        "{err}"
    );
}

#[test]
fn places_lt_has_its_published_counts_and_bands() {
    let Some(lists) = shared("data/splits/places-lt") else {
        return;
    };
    let named = with_lists("places-lt", lists.clone());
    let source = read(&named, &[Split::Train, Split::Test], None).unwrap();
    let rows = source.splits.iter().map(|list| list.items.len());
    assert_eq!(rows.collect::<Vec<_>>(), [62_500, 36_500]);
    let counts = source.splits[0].class_counts(365);
    let bands = [
        counts.iter().filter(|&&n| n > 100).count(),
        counts.iter().filter(|&&n| (20..=100).contains(&n)).count(),
        counts.iter().filter(|&&n| n < 20).count(),
    ];
    assert_eq!(bands, [131, 163, 71]);
    for list in &source.splits {
        for item in &list.items {
            let folder = item.path.split('/').nth(1);
            assert_eq!(source.class_names.name(item.label), folder);
        }
    }
    // The file of names that goes around is in another order; its names reach their own labels.
    let names = ClassNames::from_file(&lists.join("classnames.txt")).unwrap();
    assert_ne!(names, source.class_names);
    let given = read(&named, &[Split::Test], Some(&names)).unwrap();
    assert_eq!(given.class_names, source.class_names);
}

#[test]
fn inat2018_has_the_classes_of_every_level() {
    let Some(lists) = shared("data/splits/inat2018") else {
        return;
    };
    let categories = std::fs::read(lists.join("categories.json")).unwrap();
    let categories: Vec<serde_json::Value> = serde_json::from_slice(&categories).unwrap();
    let mut named = with_lists("inat2018", lists);
    for (level, key, classes) in [
        (Taxonomy::Kingdom, "kingdom", 6),
        (Taxonomy::Phylum, "phylum", 25),
        (Taxonomy::Class, "class", 57),
        (Taxonomy::Order, "order", 272),
        (Taxonomy::Family, "family", 1118),
        (Taxonomy::Genus, "genus", 4401),
        (Taxonomy::Species, "name", 8142),
    ] {
        named.taxonomy = Some(level);
        let source = read(&named, &[Split::Test], None).unwrap();
        assert_eq!(source.class_names.len(), classes, "{key}");
        let items = &source.splits[0].items;
        assert_eq!(items.len(), 24_426);
        for item in items {
            // train_val2018/<supercategory>/<species>/<file>
            let species: usize = item.path.split('/').nth(2).unwrap().parse().unwrap();
            let name = source.class_names.name(item.label).unwrap();
            assert_eq!(categories[species][key], name);
        }
        match level {
            Taxonomy::Species => assert_eq!(items[0].label, 7291),
            _ => assert!(source.class_names.as_slice().is_sorted()),
        }
        if level == Taxonomy::Kingdom {
            let counts = source.splits[0].class_counts(6);
            // Counted from the folders of the list: all but 9,804 are animals.
            assert_eq!(counts, [14_622, 3, 75, 963, 8_751, 12]);
        }
    }
    assert_eq!(named.name(), "inat2018");
}
