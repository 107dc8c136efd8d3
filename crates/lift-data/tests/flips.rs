//! Every byte of a small dataset is changed once: what opening, loading and verifying find.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use lift_image::decode::Decoder;
use lift_shards::Error;
use lift_shards::ShardReader;
use lift_shards::verify::verify;
use support::Workplace;

/// What was found of how many changes.
#[derive(Debug, Default, PartialEq)]
struct Found {
    flips: usize,
    by_open: usize,
    /// By opening or by loading every image.
    by_load: usize,
    by_verify: usize,
}

/// Three classes with one image each, as small as images can be told apart.
fn dataset(encoding: &str) -> Workplace {
    let place = Workplace::new();
    for (class, width, height) in [("a", 4, 2), ("b", 3, 3), ("c", 2, 5)] {
        place.image(&format!("photos/train/{class}/0.png"), width, height);
    }
    let report = place.run(&format!(
        "build folder --source photos --out shards --split train --encoding {encoding}"
    ));
    assert!(report.starts_with("exit 0"), "{report}");
    place
}

fn load(reader: &ShardReader) -> Result<Vec<Vec<u8>>, Error> {
    let read = |index| {
        let mut decoder = Decoder::default();
        Ok(reader.rgb(index, &mut decoder)?.pixels.to_vec())
    };
    (0..reader.len()).map(read).collect()
}

/// Changes every byte by each of the masks that `masks` gives for its place.
fn flip_all(
    dir: &Path,
    file: &str,
    masks: impl Fn(usize) -> Vec<u8>,
    mut check: impl FnMut(usize, &[String]),
) -> Found {
    let path = dir.join(file);
    let whole = fs::read(&path).unwrap();
    let images = load(&ShardReader::open(dir).unwrap()).unwrap();
    let target = fs::File::options().write(true).open(&path).unwrap();
    let mut found = Found::default();
    for (at, &byte) in whole.iter().enumerate() {
        for mask in masks(at) {
            target.write_all_at(&[byte ^ mask], at as u64).unwrap();
            found.flips += 1;
            let opened = ShardReader::open(dir);
            found.by_open += usize::from(opened.is_err());
            match opened.and_then(|reader| load(&reader)) {
                // Nothing that was handed out may differ.
                Ok(loaded) => assert_eq!(loaded, images, "{file} byte {at}"),
                Err(err) => {
                    found.by_load += 1;
                    assert!(err.to_string().contains(file), "{err}");
                }
            }
            let problems = match verify(&[dir.to_path_buf()]) {
                Ok(verdicts) => verdicts
                    .into_iter()
                    .flat_map(|verdict| verdict.problems)
                    .collect(),
                Err(err) => vec![err.to_string()],
            };
            found.by_verify += usize::from(!problems.is_empty());
            assert!(
                problems.iter().all(|line| line.contains(file)),
                "{problems:?}"
            );
            check(at, &problems);
        }
        target.write_all_at(&[byte], at as u64).unwrap();
    }
    assert_eq!(load(&ShardReader::open(dir).unwrap()).unwrap(), images);
    found
}

/// One bit of each byte, another from byte to byte; with `LIFT_FLIPS` set all bits alone and together.
fn usual_masks(at: usize) -> Vec<u8> {
    match std::env::var_os("LIFT_FLIPS") {
        None => vec![1 << (at % 8)],
        Some(_) => (0..8).map(|bit| 1 << bit).chain([0xFF]).collect(),
    }
}

#[test]
fn every_changed_byte_of_a_shard_is_found_and_named() {
    for encoding in ["rgb8", "jpeg"] {
        let place = dataset(encoding);
        let dir = place.path("shards/train");
        let mut regions = BTreeMap::new();
        let found = flip_all(&dir, "train-00000.parquet", usual_masks, |at, problems| {
            let regions_of = [
                "row 0",
                "row 1",
                "row 2",
                "page header",
                "columns",
                "footer",
            ];
            let [problem] = problems else {
                panic!("byte {at}: {problems:?}");
            };
            let region = regions_of.into_iter().find(|name| problem.contains(name));
            *regions.entry(region.expect(problem)).or_insert(0) += 1;
        });
        eprintln!("{encoding}: {found:?}, {regions:?}");
        assert_eq!(found.by_verify, found.flips);
        assert_eq!(regions.values().sum::<usize>(), found.flips);
        // Loading does not read page headers; all else it refuses.
        assert_eq!(found.by_load + regions["page header"], found.flips);
        assert_eq!(found.by_open, regions["columns"] + regions["footer"]);
        if encoding == "rgb8" {
            let flips = usual_masks(0).len();
            let flips_of_pixels = [4 * 2, 3 * 3, 2 * 5].map(|pixels| pixels * 3 * flips);
            assert_eq!(
                [regions["row 0"], regions["row 1"], regions["row 2"]],
                flips_of_pixels
            );
        }
    }
}

#[test]
fn every_changed_byte_of_a_manifest_is_found() {
    let place = dataset("jpeg");
    let dir = place.path("shards/train");
    let found = flip_all(&dir, "manifest.json", usual_masks, |_, _| {});
    eprintln!("{found:?}");
    let all = found.flips;
    let expected = Found {
        flips: all,
        by_open: all,
        by_load: all,
        by_verify: all,
    };
    assert_eq!(found, expected);
}

#[test]
fn a_bad_shard_is_refused_by_every_reader_and_process() {
    let place = dataset("rgb8");
    let dir = place.path("shards/train");
    let early = ShardReader::open(&dir).unwrap();
    let image = early.bytes(0).unwrap().to_vec();
    // The first pixel of the first image.
    let file = "shards/train/train-00000.parquet";
    let at = place
        .files("shards/train")
        .get(Path::new("train-00000.parquet"))
        .and_then(|bytes| bytes.windows(image.len()).position(|bytes| bytes == image))
        .unwrap();
    place.flip(file, at);
    for _ in 0..3 {
        let late = ShardReader::open(&dir).unwrap();
        for reader in [&early, &late] {
            for _ in 0..3 {
                let err = reader.bytes(0).unwrap_err();
                assert!(matches!(err, Error::Checksum { row: 0, .. }), "{err}");
            }
        }
    }
    let verdict = place.run("verify shards");
    insta::assert_snapshot!(verdict, @r"
    exit 1
    shards/train/train-00000.parquet: row 0 (a/0.png): checksum mismatch
    ----
    error: shards: not whole, problems found: 1
    hint: build it again
    ");
    assert_eq!(place.run("verify shards"), verdict);
}
