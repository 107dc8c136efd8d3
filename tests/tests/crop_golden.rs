//! The loader's crops against Pillow and torchvision: centre crop and five crops of real pixels.

use std::{fs, sync::Arc};

use lift_data::build::{BuildOptions, Dataset, build};
use lift_loader::{Draws, Loader, View};
use lift_page::progress::Reporting;
use lift_shards::{Split, shard::ShardReader};
use lift_tests::{build_options, shared};

/// At most 1 grey level on 99 % of the values, never above 3 (from the goldens' page).
fn assert_pixels_close(what: &str, ours: &[u8], theirs: &[u8]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let differences = || ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
    let far = differences().filter(|&d| d > 1).count();
    let largest = differences().max().unwrap_or(0);
    println!(
        "{what}: {far} of {} values differ by more than 1, largest {largest}",
        ours.len()
    );
    assert!(
        far * 100 <= ours.len() && largest <= 3,
        "{what}: {far} far, largest {largest}"
    );
}

#[test]
fn center_and_five_crops_equal_torchvisions() {
    let Some(golden) = shared("golden/preprocess") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let class = dir.path().join("images/test/photo");
    fs::create_dir_all(&class).unwrap();
    for source in 0..3 {
        let name = format!("src{source}.png");
        fs::copy(golden.join(&name), class.join(&name)).unwrap();
    }
    let shards = dir.path().join("shards");
    let mut options = BuildOptions {
        splits: vec![Split::Test],
        ..build_options(Dataset::Folder, &dir.path().join("images"), &shards)
    };
    options.preprocess.short_side = None;
    build(&options, Reporting::Silent).unwrap();

    let side = 112;
    let reader = Arc::new(ShardReader::open(&shards.join("test")).unwrap());
    let loader = Loader::new(reader, side, 3, 1).unwrap();
    let pixels = |name: String| {
        image::open(golden.join(name))
            .unwrap()
            .into_rgb8()
            .into_raw()
    };
    let bytes = (side * side * 3) as usize;
    // 112 + 112 / 7 = 128 for the centre, 112 + 12 = 124 for the five.
    let batch = loader
        .batches(Draws::in_order(3), View::Center)
        .next()
        .unwrap()
        .unwrap();
    for (source, ours) in batch.pixels.chunks(bytes).enumerate() {
        let name = format!("src{source}-center.png");
        assert_pixels_close(&name, ours, &pixels(name.clone()));
    }
    let batch = loader
        .batches(Draws::in_order(3), View::FiveCrop { expand: 12 })
        .next()
        .unwrap()
        .unwrap();
    for (i, ours) in batch.pixels.chunks(bytes).enumerate() {
        let name = format!("src{}-five{}.png", i / 5, i % 5);
        assert_pixels_close(&name, ours, &pixels(name.clone()));
    }
}
