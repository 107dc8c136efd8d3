use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use proptest::prelude::*;

use super::*;
use crate::classes::ClassNames;
use crate::error::Error;
use crate::manifest::{Encoding, Manifest, PLAIN_VERSION};
use crate::order::Order;
use crate::split::Split;
use lift_image::decode::{Damaged, Decoder, MAX_PIXELS, Orientation};

#[derive(Debug, Clone)]
struct Image {
    path: String,
    label: u32,
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

const CLASSES: u32 = 5;

fn write(dir: &Path, images: &[Image], encoding: Encoding, rows_per_shard: usize) -> Manifest {
    let class_names =
        ClassNames::new((0..CLASSES).map(|class| format!("class {class}")).collect()).unwrap();
    let schema = ShardSchema::new(encoding, &class_names, &[]);
    let no_columns = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let mut class_counts = vec![0; CLASSES as usize];
    let mut shards = Vec::new();
    for (shard, images) in images.chunks(rows_per_shard).enumerate() {
        let path = dir.join(format!("train-{shard:05}.parquet"));
        let mut writer =
            ShardWriter::create(path, dir.join("unfinished"), &schema, &no_columns).unwrap();
        for (nth, image) in images.iter().enumerate() {
            let row = NewRow {
                id: (shard * rows_per_shard + nth) as u64,
                path: &image.path,
                label: image.label,
                width: image.width,
                height: image.height,
            };
            writer.push(row, image.bytes.clone()).unwrap();
            class_counts[image.label as usize] += 1;
        }
        shards.push(writer.finish().unwrap());
    }
    let manifest = Manifest {
        format_version: PLAIN_VERSION,
        tool_version: "test".to_owned(),
        dataset: "test".to_owned(),
        split: Split::Train,
        class_hash: class_names.hash(),
        class_names,
        class_counts,
        rows: images.len() as u64,
        encoding,
        jpeg_quality: None,
        jpeg_subsampling: None,
        short_side: None,
        enlarge: false,
        filter: None,
        orientation: Orientation::Ignore,
        exact: false,
        check: None,
        order: Order::List,
        rows_per_shard: rows_per_shard as u64,
        list_hash: "0".repeat(64),
        sample_xxh3: "0".repeat(16),
        seed: 0,
        chosen: None,
        columns: Vec::new(),
        imbalance_ratio: None,
        bands: crate::split::BandEdges::default(),
        damaged: Damaged::Refuse,
        max_pixels: MAX_PIXELS,
        kept_damaged: 0,
        quarantined: 0,
        quarantine_file: None,
        damaged_file: None,
        shards,
    };
    manifest.save(dir).unwrap();
    manifest
}

fn any_pixels() -> impl Strategy<Value = Image> {
    let size = (1_u32..40, 1_u32..40);
    let bytes = size.prop_flat_map(|(width, height)| {
        let len = (width * height * 3) as usize;
        (
            Just((width, height)),
            prop::collection::vec(any::<u8>(), len),
        )
    });
    (bytes, 0..CLASSES, "[ -~äß/]{0,20}").prop_map(|(((width, height), bytes), label, path)| {
        Image {
            path,
            label,
            width,
            height,
            bytes,
        }
    })
}

fn any_bytes() -> impl Strategy<Value = Image> {
    let bytes = prop::collection::vec(any::<u8>(), 0..2000);
    (bytes, 0..CLASSES, 1_u32..70_000, 1_u32..70_000).prop_map(|(bytes, label, width, height)| {
        Image {
            path: "a".to_owned(),
            label,
            width,
            height,
            bytes,
        }
    })
}

fn assert_reads_back(dir: &Path, images: &[Image]) {
    let reader = ShardReader::open(dir).unwrap();
    assert_eq!(reader.len(), images.len());
    for (i, image) in images.iter().enumerate() {
        let row = reader.row(i);
        assert_eq!(
            (row.id, row.label, row.width, row.height),
            (i as u64, image.label, image.width, image.height)
        );
        assert_eq!(reader.path(i), image.path);
        reader.will_need(i);
        assert_eq!(reader.bytes(i).unwrap(), image.bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn pixels_of_any_size_round_trip(
        images in prop::collection::vec(any_pixels(), 1..30),
        rows_per_shard in 1_usize..30,
    ) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &images, Encoding::Rgb8, rows_per_shard);
        assert_reads_back(dir.path(), &images);
        let reader = ShardReader::open(dir.path()).unwrap();
        let mut decoder = Decoder::default();
        let view = reader.rgb(0, &mut decoder).unwrap();
        prop_assert_eq!((view.width, view.height), (images[0].width, images[0].height));
        prop_assert_eq!(view.pixels, &images[0].bytes);
    }

    #[test]
    fn any_bytes_round_trip(images in prop::collection::vec(any_bytes(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &images, Encoding::Original, 100);
        assert_reads_back(dir.path(), &images);
    }
}

fn three_images() -> Vec<Image> {
    let image = |i: u32| Image {
        path: format!("{i}.png"),
        label: i,
        width: 4,
        height: 2 + i,
        bytes: (0..4 * (2 + i) * 3)
            .map(|byte| (byte * 7 + i) as u8)
            .collect(),
    };
    (0..3).map(image).collect()
}

#[test]
fn row_groups_end_and_images_stay_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let large = |i: u32| Image {
        path: format!("{i}"),
        label: i % CLASSES,
        width: 1000,
        height: 1000,
        bytes: vec![i as u8; 3_000_000],
    };
    let images: Vec<_> = (0..14).map(large).collect();
    for encoding in [Encoding::Rgb8, Encoding::Png] {
        write(dir.path(), &images, encoding, 100);
        assert_reads_back(dir.path(), &images);
    }
}

#[test]
fn every_flipped_byte_of_an_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let images = three_images();
    let manifest = write(dir.path(), &images, Encoding::Rgb8, 100);
    let file = dir.path().join(&manifest.shards[0].file);
    let whole = fs::read(&file).unwrap();
    let row = ShardReader::open(dir.path()).unwrap().row(1).clone();
    for at in row.offset..row.offset + u64::from(row.num_bytes) {
        let mut damaged = whole.clone();
        damaged[at as usize] ^= 0x10;
        fs::write(&file, damaged).unwrap();
        let reader = ShardReader::open(dir.path()).unwrap();
        let err = reader.bytes(1).unwrap_err();
        assert!(matches!(err, Error::Checksum { row: 1, .. }), "{err}");
        reader.bytes(0).unwrap();
        reader.bytes(2).unwrap();
    }
}

#[test]
fn a_changed_label_or_size_fails_the_checksum() {
    let base = row_checksum(b"pixels", 1, 2, 3, 4);
    for other in [
        row_checksum(b"pixelt", 1, 2, 3, 4),
        row_checksum(b"pixels", 0, 2, 3, 4),
        row_checksum(b"pixels", 1, 3, 3, 4),
        row_checksum(b"pixels", 1, 2, 4, 3),
    ] {
        assert_ne!(base, other);
    }
    // python: xxhash.xxh3_64_hexdigest(b"pixels" + struct.pack("<QIII", 1, 2, 3, 4))
    assert_eq!(format!("{base:016x}"), "6ae23c7085c43984");
}

#[test]
fn a_shard_of_the_wrong_length_is_refused_at_open() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = write(dir.path(), &three_images(), Encoding::Rgb8, 100);
    let file = dir.path().join(&manifest.shards[0].file);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let err = ShardReader::open(dir.path()).unwrap_err();
    assert!(matches!(err, Error::Shard { .. }), "{err}");
    fs::remove_file(&file).unwrap();
    assert!(matches!(
        ShardReader::open(dir.path()).unwrap_err(),
        Error::Read { .. }
    ));
}

#[test]
fn a_file_cut_while_it_is_mapped_is_an_error_and_no_signal() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = write(dir.path(), &three_images(), Encoding::Rgb8, 100);
    let reader = ShardReader::open(dir.path()).unwrap();
    let path = dir.path().join(&manifest.shards[0].file);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(reader.row(1).offset + 5).unwrap();
    reader.bytes(0).unwrap();
    let err = reader.bytes(1).unwrap_err();
    assert!(matches!(err, Error::Read { .. }), "{err}");
    assert!(err.to_string().starts_with(path.to_str().unwrap()), "{err}");
}

#[test]
fn threads_share_a_reader() {
    fn assert_shared<T: Send + Sync>() {}
    assert_shared::<ShardReader>();
}
