//! What the tests of this package share: places, the usual settings, and how far tensors lie apart.
//!
//! The reference data lie beside the checkout (`../shared`, or `LIFT_SHARED`) where development happens. Users do
//! not have them: a test that needs them asks [`shared`] and returns, with the reason printed, when it says `None`.

pub mod kernels;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use lift_data::{
    build::{BYTES_PER_SHARD, BuildOptions, Dataset, Preprocess, build},
    choice::Choice,
    dataset::DatasetSpec,
    profile::{LongTail, Tail},
    sampling::Holdout,
    source::Columns,
};
use lift_image::decode::Orientation;
use lift_image::encode::Subsampling;
use lift_models::Head;
use lift_page::progress::Reporting;
use lift_shapes::{ShapesOptions, write_dataset};
use lift_shards::{BandEdges, ClassNames, Encoding, Split, manifest::Check, order::Order};
use lift_text::{ClassifierOptions, Prompts, build_head};
use lift_train::config::{TrainArgs, TrainConfig};
use tch::{Device, Kind, Tensor};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the repository")
        .to_path_buf()
}

/// The numbers of a JSON list.
///
/// # Panics
/// When it is something else.
pub fn numbers(value: &serde_json::Value) -> Vec<f64> {
    let list = value.as_array().expect("a list");
    let numbers = list.iter().map(|one| one.as_f64().expect("a number"));
    numbers.collect()
}

/// A file or folder of the reference data, or `None` and a printed reason when the data are not here at all.
pub fn shared(relative: &str) -> Option<PathBuf> {
    let base =
        std::env::var_os("LIFT_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    if base.is_dir() {
        let path = base.join(relative);
        assert!(path.exists(), "{relative} is not among the reference data");
        return Some(path);
    }
    eprintln!(
        "skipped: the reference data {relative} are not on this machine (set LIFT_SHARED to their folder)"
    );
    None
}

/// The largest absolute difference of two tensors of the same shape.
pub fn largest_difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size(), "shapes differ");
    (ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

/// The model of this repository.
pub fn demo_model() -> PathBuf {
    root().join("models/shapes-clip")
}

/// A classifier made with the model of this repository.
pub fn demo_head(classes: &ClassNames) -> Head {
    let options = ClassifierOptions {
        prompts: Prompts::default(),
        batch_size: 32,
        max_memory: None,
        // Its few words do not tell the classes of real data apart.
        allow_identical: true,
        device: Device::Cpu,
    };
    build_head(&demo_model(), classes, &options).expect("the demo's model makes a head")
}

/// A build of both splits with two threads: pixels, short side at most 64.
pub fn build_options(dataset: Dataset, source: &Path, out: &Path) -> BuildOptions {
    let tail = (dataset.name() == "cifar100-lt").then(|| Tail::exp(100.0));
    BuildOptions {
        dataset,
        source: source.into(),
        merged: Vec::new(),
        root: None,
        subset: None,
        reach: lift_data::source::Reach::Below,
        repeats: lift_data::build::Repeats::Refused,
        class_names: None,
        out: out.into(),
        splits: vec![Split::Train, Split::Test],
        preprocess: Preprocess {
            encoding: Encoding::Rgb8,
            jpeg_quality: 95,
            jpeg_subsampling: Subsampling::default(),
            short_side: Some(64),
            enlarge: false,
            orientation: Orientation::Exif,
            exact: false,
            check: Check::Header,
            ..Preprocess::default()
        },
        threads: NonZeroUsize::new(2).expect("two is not zero"),
        seed: 0,
        long_tail: LongTail {
            tail,
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
    }
}

/// About 460 training images, largest class over smallest 4, and 200 test images, a head for them, and the settings of
/// a run on them.
pub fn shapes_run(dir: &Path) -> TrainConfig {
    let images = dir.join("images");
    let shapes = ShapesOptions {
        seed: 3,
        max_per_class: 8,
        imbalance_ratio: 4.0,
        test_per_class: 2,
    };
    write_dataset(&images, &shapes).unwrap();
    build(
        &build_options(
            Dataset::named("shapes-lt").unwrap(),
            &images,
            &dir.join("shards"),
        ),
        Reporting::Silent,
    )
    .unwrap();
    let classes = DatasetSpec::find("shapes-lt")
        .unwrap()
        .known_class_names()
        .unwrap();
    demo_head(&classes)
        .write(&dir.join("head.safetensors"))
        .unwrap();
    let args = TrainArgs {
        shards: Some(dir.join("shards")),
        model: Some(demo_model()),
        head: Some(dir.join("head.safetensors")),
        out: Some(dir.join("run")),
        epochs: Some(1),
        batch_size: Some(64),
        expand: Some(5),
        device: Some("cpu".into()),
        log_every: Some(2),
        ..Default::default()
    };
    args.resolve().unwrap()
}
