//! Small files that unpack to gigabytes, under a limit of memory.

use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{Field, Int32Type};
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::support::{Workplace, rows};

/// Writes the columns some times, one below the other.
fn write(
    place: &Workplace,
    file: &str,
    columns: Vec<(&str, ArrayRef)>,
    times: usize,
    has_dictionary: bool,
) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(has_dictionary)
        .set_dictionary_page_size_limit(1 << 30)
        .build();
    let out = File::create(place.path(file)).unwrap();
    let mut writer = ArrowWriter::try_new(out, batch.schema(), Some(properties)).unwrap();
    for _ in 0..times {
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
    let size = fs::metadata(place.path(file)).unwrap().len();
    assert!(size < 100_000, "{file} has {size} bytes");
}

/// Standard error of a command that may take 1 GB.
fn refusal(place: &Workplace, arguments: &str) -> String {
    let output = place.run_limited("-v 1000000", arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// One text for each of so many rows.
fn repeated(text: &str, rows: usize) -> ArrayRef {
    let keys = Int32Array::from_value(0, rows);
    Arc::new(DictionaryArray::<Int32Type>::new(keys, texts(&[text])))
}

#[test]
fn a_page_that_unpacks_to_far_more_than_it_takes_is_refused() {
    let place = Workplace::new();
    let long = "a".repeat(300 << 20);
    let label: ArrayRef = Arc::new(Int64Array::from(vec![0]));
    for (file, has_dictionary) in [("plain.parquet", false), ("dictionary.parquet", true)] {
        write(
            &place,
            file,
            vec![("path", texts(&[&long])), ("label", Arc::clone(&label))],
            1,
            has_dictionary,
        );
        insta::allow_duplicates! {
            insta::assert_snapshot!(refusal(&place, &format!("stats {file}")).replace(file, "FILE"), @r"
            error: FILE: cannot read as Parquet: Parquet argument error: Parquet error: a page of 314.6 MB is packed into 9.6 kB: no table of images is like that
            hint: the file is damaged or not Parquet; download or write it again
            ");
        }
    }
}

/// Each of the rows would be a copy of the text, 2 GB in all.
#[test]
fn a_long_text_that_all_rows_share_is_held_once() {
    let place = Workplace::new();
    let long = "a".repeat(10 << 20);
    let path = || repeated("a.png", 200);
    write(
        &place,
        "label.parquet",
        vec![("path", path()), ("label", repeated(&long, 200))],
        1,
        true,
    );
    let output = place.run_limited("-v 1000000", "stats label.parquet --json");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("\"images\": 200")
    );
}

#[test]
fn a_long_path_that_all_rows_share_is_refused() {
    let place = Workplace::new();
    let long = "a".repeat(10 << 20);
    let label: ArrayRef = Arc::new(Int64Array::from_value(0, 200));
    let columns = vec![("path", repeated(&long, 200)), ("label", label)];
    write(&place, "path.parquet", columns, 1, true);
    insta::assert_snapshot!(refusal(&place, "stats path.parquet"), @r"
    error: path.parquet: row 0: a path of 10485760 bytes
    hint: no system takes more than 4096; check the column of paths
    ");
}

#[test]
fn more_rows_than_a_files_size_allows_are_refused() {
    let place = Workplace::new();
    let rows = 1 << 20;
    let label: ArrayRef = Arc::new(Int64Array::from_value(0, rows));
    write(
        &place,
        "long.parquet",
        vec![("path", repeated("a.png", rows)), ("label", label)],
        3,
        true,
    );
    insta::assert_snapshot!(refusal(&place, "stats long.parquet"), @r"
    error: long.parquet: cannot read as Parquet: 3,145,728 rows in 20.3 kB: no table of images is like that
    hint: the file is damaged or not Parquet; download or write it again
    ");
}

#[test]
fn columns_that_are_nested_too_deep_are_refused() {
    let place = Workplace::new();
    let mut column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    for _ in 0..70 {
        let field = Field::new("group", column.data_type().clone(), true);
        column = Arc::new(StructArray::from(vec![(Arc::new(field), column)]));
    }
    fs::create_dir(place.path("hf")).unwrap();
    write(&place, "hf/train.parquet", vec![("image", column)], 1, true);
    insta::assert_snapshot!(refusal(&place, "build hf --source hf --out out"), @r"
    error: hf/train.parquet: cannot read as Parquet: its columns are nested more than 64 deep, which no dataset needs
    hint: the file is damaged or not Parquet; download or write it again
    ");
    insta::assert_snapshot!(refusal(&place, "stats hf/train.parquet"), @r"
    error: hf/train.parquet: cannot read as Parquet: its columns are nested more than 64 deep, which no dataset needs
    hint: the file is damaged or not Parquet; download or write it again
    ");
}

/// The header of a member that is the name of the next, as GNU's tar writes long names; `size` is that name's.
fn long_name(size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("././@LongLink").unwrap();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn a_name_of_gigabytes_in_a_tar_is_not_read() {
    let place = Workplace::new();
    // Without its bytes on the disk.
    fs::create_dir(place.path("tars")).unwrap();
    let tar = place.path("tars/train-0.tar");
    fs::write(&tar, long_name(6 << 30)).unwrap();
    let file = File::options().write(true).open(&tar).unwrap();
    file.set_len(7 << 30).unwrap();
    insta::assert_snapshot!(refusal(&place, "build webdataset --source tars --out out"), @r"
    error: tars/train-0.tar: cannot read as tar: a name or header of more than 2 MiB
    hint: tars must be whole
    ");
    // Packed.
    let file = File::create(place.path("cifar-10-python.tar.gz")).unwrap();
    let mut packed = GzEncoder::new(file, flate2::Compression::fast());
    packed.write_all(&long_name(3 << 29)).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..3 << 9 {
        packed.write_all(&zeros).unwrap();
    }
    packed.finish().unwrap();
    insta::assert_snapshot!(refusal(&place, "build cifar10-lt --source cifar-10-python.tar.gz --imbalance-ratio 10 --out out"), @r"
    error: cifar-10-python.tar.gz: there is no CIFAR-10 in it
    hint: name cifar-10-python.tar.gz, cifar-10-binary.tar.gz, a folder that holds one of them or what it unpacks to, or the folder with train-*.parquet and test-*.parquet from Hugging Face (uoft-cs/cifar10)
    ");
}

/// Of 8 threads, each of which the C library would reserve 64 MiB for.
#[test]
fn an_image_that_memory_does_not_suffice_for_is_a_bad_image() {
    let place = Workplace::new();
    for (i, class) in ["ant", "bee"].iter().cycle().take(12).enumerate() {
        place.image(&format!("photos/{class}/{i}.png"), 300, 200);
    }
    let large = image::GrayImage::new(9000, 9000);
    large.save(place.path("photos/ant/large.png")).unwrap();
    let build = "build folder --source photos --split train --threads 8 --max-bad 1 --out out";
    let output = place.run_limited("-v 300000", build);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(rows(&place, "out/train").len(), 12);
    insta::assert_snapshot!(place.read("out/train/quarantine.jsonl"), @r#"{"id":6,"path":"ant/large.png","label":0,"reason":"cannot decode: decoding it takes 0.4 GiB, more than there is for images"}"#);
}
