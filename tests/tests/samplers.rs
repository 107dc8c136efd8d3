//! Sampled draws through the loader: the same bytes for any number of threads, and no crop twice.

use std::sync::Arc;

use lift_data::build::{Dataset, build};
use lift_loader::{Batch, Draw, Draws, Loader, Sampler, View};
use lift_page::progress::Reporting;
use lift_shapes::{ShapesOptions, write_dataset};
use lift_shards::shard::ShardReader;
use lift_tests::build_options;

#[test]
fn repeats_are_cropped_differently_and_threads_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let shapes = ShapesOptions {
        seed: 1,
        max_per_class: 3,
        imbalance_ratio: 3.0,
        test_per_class: 1,
    };
    write_dataset(&dir.path().join("images"), &shapes).unwrap();
    let dataset = Dataset::named("shapes-lt").unwrap();
    let options = build_options(
        dataset,
        &dir.path().join("images"),
        &dir.path().join("shards"),
    );
    build(&options, Reporting::Silent).unwrap();
    let reader = Arc::new(ShardReader::open(&dir.path().join("shards/train")).unwrap());
    let labels: Vec<u32> = reader.rows().iter().map(|row| row.label).collect();
    let draws = Sampler::ClassBalanced.draws(&labels, 0, 0, 1);
    let draws: Vec<Draw> = draws.iter().collect();
    let repeated = draws.iter().find(|draw| draw.repeat > 0).unwrap().row;

    let view = View::Random {
        smallest_area: 0.08,
        seed: 0,
        epoch: 0,
    };
    let batches = |threads: usize, draws: Vec<Draw>| -> Vec<Batch> {
        let loader = Loader::new(Arc::clone(&reader), 32, 16, threads).unwrap();
        loader
            .batches(Draws::listed(draws), view)
            .map(Result::unwrap)
            .collect()
    };
    let (one, three) = (batches(1, draws.clone()), batches(3, draws.clone()));
    assert_eq!(one.len(), draws.len().div_ceil(16));
    for (a, b) in one.iter().zip(&three) {
        assert!(*a.pixels == *b.pixels && a.labels == b.labels);
    }
    let seen: Vec<i64> = one.iter().flat_map(|batch| batch.labels.clone()).collect();
    let drawn: Vec<i64> = draws
        .iter()
        .map(|draw| i64::from(labels[draw.row]))
        .collect();
    assert_eq!(seen, drawn);

    // Crops of one image in one epoch, wherever they stand in it, follow the number of the repeat alone.
    let crop = |repeat| {
        let draw = Draw {
            row: repeated,
            repeat,
        };
        batches(1, vec![draw]).remove(0).pixels.to_vec()
    };
    assert!(crop(0) != crop(1) && crop(1) != crop(2));
    let place = draws
        .iter()
        .position(|draw| draw.row == repeated && draw.repeat == 1);
    let (batch, image) = (place.unwrap() / 16, place.unwrap() % 16);
    let square = 32 * 32 * 3;
    assert!(one[batch].pixels[image * square..][..square] == crop(1));
}
