//! CIFAR-100-LT from the real dataset, where it is at hand.

mod support;

use std::num::NonZeroUsize;

use lift_data::build::{BYTES_PER_SHARD, BuildOptions, Dataset, Preprocess, build};
use lift_data::choice::Choice;
use lift_data::profile::{LongTail, Tail};
use lift_data::sampling::Holdout;
use lift_data::source::Columns;
use lift_image::decode::Decoder;
use lift_page::progress::Reporting;
use lift_shards::order::Order;
use lift_shards::{Band, BandEdges, ShardReader, Split};
use support::shared;

#[test]
fn cifar100_lt_has_its_published_counts() {
    let Some(source) = shared("data/cifar100") else {
        return;
    };
    for (imbalance_ratio, images, smallest) in
        [(100.0, 10_847, 5), (50.0, 12_608, 10), (10.0, 19_573, 50)]
    {
        let out = tempfile::tempdir().unwrap();
        let options = BuildOptions {
            dataset: Dataset::named("cifar100-lt").unwrap(),
            source: source.clone(),
            merged: Vec::new(),
            root: None,
            subset: None,
            reach: lift_data::source::Reach::Below,
            repeats: lift_data::build::Repeats::Refused,
            class_names: None,
            out: out.path().to_owned(),
            splits: vec![Split::Train, Split::Test],
            preprocess: Preprocess::default(),
            threads: NonZeroUsize::new(2).unwrap(),
            seed: 0,
            long_tail: LongTail {
                tail: Some(Tail::exp(imbalance_ratio)),
                ..LongTail::default()
            },
            columns: Columns::default(),
            choice: Choice::default(),
            holdout: Holdout::default(),
            bands: BandEdges::default(),
            max_bad: 0,
            bytes_per_shard: BYTES_PER_SHARD,
            order: Order::List,
            part: None,
        };
        build(&options, Reporting::Silent).unwrap();
        let train = ShardReader::open(&out.path().join("train")).unwrap();
        let test = ShardReader::open(&out.path().join("test")).unwrap();
        assert_eq!((train.len(), test.len()), (images, 10_000));
        let manifest = train.manifest();
        assert_eq!(
            (manifest.class_counts[0], manifest.class_counts[99]),
            (500, smallest)
        );
        assert_eq!(manifest.class_hash, test.manifest().class_hash);
        assert_eq!(manifest.class_names.name(99), Some("worm"));
        if imbalance_ratio == 100.0 {
            let bands = Band::ALL.map(|band| {
                let edges = BandEdges::default();
                manifest
                    .class_counts
                    .iter()
                    .filter(|&&count| edges.band(count) == band)
                    .count()
            });
            assert_eq!(bands, [35, 35, 30]);
        }
        let mut decoder = Decoder::default();
        for index in [0, images / 2, images - 1] {
            let image = train.rgb(index, &mut decoder).unwrap();
            assert_eq!((image.width, image.height), (32, 32));
            assert_eq!(image.pixels.len(), 32 * 32 * 3);
        }
    }
}
