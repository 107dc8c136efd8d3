//! The loader's promises: the same bytes in the same order whatever works on them, errors in their place, buffers that
//! go round.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use lift_data::build::{Dataset, build};
use lift_loader::{Bare, Draws, Loader, View};
use lift_page::progress::Reporting;
use lift_shapes::{ShapesOptions, write_dataset};
use lift_shards::{Encoding, shard::ShardReader};
use lift_tests::build_options;

const SIDE: u32 = 24;

/// The training shards of a small dataset, 200 rows or so.
fn shards(dir: &Path, encoding: Encoding) -> Arc<ShardReader> {
    let shapes = ShapesOptions {
        seed: 1,
        max_per_class: 3,
        imbalance_ratio: 3.0,
        test_per_class: 1,
    };
    write_dataset(&dir.join("images"), &shapes).unwrap();
    let dataset = Dataset::named("shapes-lt").unwrap();
    let mut options = build_options(dataset, &dir.join("images"), &dir.join("shards"));
    options.preprocess.encoding = encoding;
    build(&options, Reporting::Silent).unwrap();
    Arc::new(ShardReader::open(&dir.join("shards/train")).unwrap())
}

fn loader(reader: &Arc<ShardReader>, threads: usize, depth: usize) -> Loader {
    let mut loader = Loader::new(Arc::clone(reader), SIDE, 16, threads).unwrap();
    loader.set_depth(depth);
    loader
}

fn all(reader: &ShardReader) -> Draws {
    Draws::in_order(reader.len())
}

const RANDOM: View = View::Random {
    smallest_area: 0.1,
    seed: 3,
    epoch: 1,
};

#[test]
fn threads_and_depth_change_no_byte() {
    for encoding in [Encoding::Rgb8, Encoding::Jpeg] {
        let dir = tempfile::tempdir().unwrap();
        let reader = shards(dir.path(), encoding);
        for view in [RANDOM, View::Center, View::FiveCrop { expand: 3 }] {
            let load = |threads, depth| -> Vec<(Vec<u8>, Vec<i64>)> {
                let loader = loader(&reader, threads, depth);
                let batches = loader.batches(all(&reader), view).map(Result::unwrap);
                batches.map(|b| (b.pixels.to_vec(), b.labels)).collect()
            };
            let one = load(1, 1);
            assert_eq!(one.len(), reader.len().div_ceil(16));
            let labels = one.iter().flat_map(|(_, labels)| labels.iter().copied());
            assert!(labels.eq(reader.rows().iter().map(|row| i64::from(row.label))));
            for (threads, depth) in [(1, 3), (2, 1), (3, 2), (4, 7)] {
                assert!(
                    load(threads, depth) == one,
                    "{threads} threads, {depth} ahead"
                );
            }
        }
    }
}

#[test]
fn the_bare_loop_makes_the_same_bytes() {
    for encoding in [Encoding::Rgb8, Encoding::Jpeg] {
        let dir = tempfile::tempdir().unwrap();
        let reader = shards(dir.path(), encoding);
        let first = loader(&reader, 1, 1).batches(all(&reader), RANDOM).next();
        let first = first.unwrap().unwrap();
        let mut bare = Bare::sample(&reader, 1, usize::MAX).unwrap();
        let image = (SIDE * SIDE * 3) as usize;
        assert!(bare.pass(RANDOM, SIDE).unwrap() == &first.pixels[..image]);
        let rows = reader.len();
        for (most_images, most_bytes, images) in
            [(rows + 1, usize::MAX, rows), (7, usize::MAX, 7), (7, 1, 1)]
        {
            let bare = Bare::sample(&reader, most_images, most_bytes).unwrap();
            assert_eq!(bare.images(), images);
        }
    }
}

#[test]
fn memory_readahead_and_exactness_change_no_byte_of_small_images() {
    let dir = tempfile::tempdir().unwrap();
    for encoding in [Encoding::Rgb8, Encoding::Jpeg] {
        let dir = dir.path().join(format!("{encoding:?}"));
        let reader = shards(&dir, encoding);
        let load = |loader: Loader| -> Vec<Vec<u8>> {
            let order = Draws::windowed(loader.images().len(), 64, 2, 1);
            let batches = loader.batches(order, RANDOM).map(Result::unwrap);
            batches.map(|batch| batch.pixels.to_vec()).collect()
        };
        let usual = load(loader(&reader, 2, 2));
        let mut ahead = loader(&reader, 2, 3);
        ahead.set_reads_ahead(true);
        assert!(load(ahead) == usual);
        let mut exact = loader(&reader, 2, 3);
        exact.set_exact(true);
        // Crops of 24 pixels may be decoded at a fraction from 96 on; these drawings have 64.
        assert!(load(exact) == usual);
        let mut in_memory = ShardReader::open(&dir.join("shards/train")).unwrap();
        let mut done = 0;
        in_memory.read_into_memory(|bytes| done += bytes).unwrap();
        assert_eq!(done, in_memory.num_bytes());
        // Another process may do what it likes with the files now.
        fs::remove_dir_all(dir.join("shards")).unwrap();
        assert!(load(loader(&Arc::new(in_memory), 1, 1)) == usual);
    }
}

#[test]
fn only_large_jpegs_are_decoded_at_a_fraction_and_not_when_exact() {
    let dir = tempfile::tempdir().unwrap();
    for encoding in [Encoding::Rgb8, Encoding::Jpeg] {
        let reader = shards(&dir.path().join(format!("{encoding:?}")), encoding);
        // 64 pixels for crops of 8: eight times as many.
        let load = |exact| -> Vec<Vec<u8>> {
            let mut loader = Loader::new(Arc::clone(&reader), 8, 16, 1).unwrap();
            loader.set_exact(exact);
            let batches = loader.batches(all(&reader), View::Center);
            batches
                .map(|batch| batch.unwrap().pixels.to_vec())
                .collect()
        };
        let (exact, usual) = (load(true).concat(), load(false).concat());
        assert_eq!(exact == usual, encoding == Encoding::Rgb8);
        let apart = exact.iter().zip(&usual).map(|(a, b)| a.abs_diff(*b));
        let mean = apart.map(f64::from).sum::<f64>() / exact.len() as f64;
        assert!(mean < 4.0, "{mean}");
    }
}

#[test]
fn buffers_go_round() {
    let dir = tempfile::tempdir().unwrap();
    let reader = shards(dir.path(), Encoding::Rgb8);
    let loader = loader(&reader, 2, 2);
    let mut places = BTreeSet::new();
    for _ in 0..4 {
        for batch in loader.batches(all(&reader), RANDOM) {
            places.insert(batch.unwrap().pixels.as_ptr() as usize);
        }
    }
    // Two ahead, one in use, and one on its way back.
    assert!(places.len() <= 4, "{}", places.len());
}

#[test]
fn a_bad_row_is_named_after_all_that_come_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let reader = shards(dir.path(), Encoding::Rgb8);
    let path = dir.path().join("shards/train").join(reader.shard_file(0));
    let mut file = fs::read(&path).unwrap();
    // Two in the fourth batch: the first is told, whichever thread is faster.
    for row in [57, 50] {
        let image = reader.bytes(row).unwrap();
        let at = file.windows(image.len()).position(|bytes| bytes == image);
        file[at.unwrap()] ^= 1;
    }
    drop(reader);
    fs::write(&path, file).unwrap();
    let reader = Arc::new(ShardReader::open(&dir.path().join("shards/train")).unwrap());
    for (threads, depth) in [(1, 1), (3, 2), (4, 6)] {
        let loader = loader(&reader, threads, depth);
        let mut batches = loader.batches(all(&reader), RANDOM);
        for _ in 0..3 {
            batches.next().unwrap().unwrap();
        }
        let message = batches.next().unwrap().unwrap_err().to_string();
        assert!(
            message.contains("row 50 ") && message.contains("checksum mismatch"),
            "{message}"
        );
        assert!(batches.next().is_none() && batches.next().is_none());
    }
}

#[test]
fn a_loader_goes_on_after_batches_were_left() {
    let dir = tempfile::tempdir().unwrap();
    let reader = shards(dir.path(), Encoding::Rgb8);
    let loader = loader(&reader, 2, 3);
    let first = || {
        loader
            .batches(all(&reader), RANDOM)
            .next()
            .unwrap()
            .unwrap()
    };
    let pixels = first().pixels.to_vec();
    for _ in 0..20 {
        assert!(*first().pixels == *pixels);
    }
    assert!(loader.batches(Draws::in_order(0), RANDOM).next().is_none());
}
