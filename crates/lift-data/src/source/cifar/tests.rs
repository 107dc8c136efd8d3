//! The same rows in every form, written here as Python 2, the binary archive and Hugging Face do.

use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::profile::Tail;
use crate::source::Content;
use lift_image::decode::{Orientation, decode_rgb};

/// Rows as planes of pixels, and their labels.
struct Drawn {
    labels: Vec<u8>,
    planes: Vec<Vec<u8>>,
}

/// `rows` rows whose bytes all differ a bit; labels go round through `num_classes`.
fn drawn(rows: usize, num_classes: u8, salt: u8) -> Drawn {
    let byte = |row: usize, i: usize| {
        ((row * 131 + i * 7 + i / 97) as u8)
            .wrapping_mul(29)
            .wrapping_add(salt)
    };
    Drawn {
        labels: (0..rows)
            .map(|row| (row * 7 % num_classes as usize) as u8)
            .collect(),
        planes: (0..rows)
            .map(|row| (0..3072).map(|i| byte(row, i)).collect())
            .collect(),
    }
}

impl Drawn {
    fn slice(&self, from: usize, to: usize) -> Self {
        Self {
            labels: self.labels[from..to].to_vec(),
            planes: self.planes[from..to].to_vec(),
        }
    }

    /// Interleaved, as decoding gives them.
    fn pixels(&self, row: usize) -> Vec<u8> {
        (0..1024)
            .flat_map(|i| [0, 1, 2].map(|plane| self.planes[row][plane * 1024 + i]))
            .collect()
    }

    /// As Python 2 pickled CIFAR's files: protocol 2, a numpy array through `_reconstruct`.
    fn pickle(&self, kind: Kind) -> Vec<u8> {
        let string = |text: &str| {
            let mut bytes = vec![b'U', text.len() as u8];
            bytes.extend(text.as_bytes());
            bytes
        };
        let int = |number: usize| {
            let mut bytes = vec![b'J'];
            bytes.extend((number as i32).to_le_bytes());
            bytes
        };
        let mut bytes = b"\x80\x02}q\x01(".to_vec();
        bytes.extend(string("batch_label"));
        bytes.extend(string("a batch of 1"));
        bytes.extend(string(kind.pickle_labels()));
        bytes.extend(b"]q\x02(");
        for &label in &self.labels {
            bytes.extend([b'K', label]);
        }
        bytes.push(b'e');
        bytes.extend(string("data"));
        bytes.extend(b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01");
        bytes.extend(int(self.labels.len()));
        bytes.extend(int(3072));
        bytes.extend(b"\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
        bytes.extend((self.labels.len() as u32 * 3072).to_le_bytes());
        bytes.extend(self.planes.concat());
        bytes.extend(b"tb");
        bytes.extend(string("filenames"));
        bytes.extend(b"]q\x08(");
        for row in 0..self.labels.len() {
            bytes.extend(string(&format!("image_{row}.png")));
        }
        bytes.extend(b"eu.");
        bytes
    }

    fn binary(&self, kind: Kind) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (label, planes) in self.labels.iter().zip(&self.planes) {
            // CIFAR-100 has the coarse label first; it is not ours.
            bytes.extend(match kind {
                Kind::Cifar10 => vec![*label],
                Kind::Cifar100 => vec![label / 5 + 1, *label],
            });
            bytes.extend(planes);
        }
        bytes
    }

    fn parquet(&self, kind: Kind, path: &Path) {
        let pngs: Vec<Vec<u8>> = (0..self.labels.len())
            .map(|row| {
                let image = image::RgbImage::from_raw(32, 32, self.pixels(row)).unwrap();
                let mut png = std::io::Cursor::new(Vec::new());
                image.write_to(&mut png, image::ImageFormat::Png).unwrap();
                png.into_inner()
            })
            .collect();
        let bytes = BinaryArray::from_iter_values(&pngs);
        let names = StringArray::from_iter_values(pngs.iter().map(|_| "x.png"));
        let field = |name, kind| Arc::new(Field::new(name, kind, true));
        let images = StructArray::from(vec![
            (
                field("bytes", DataType::Binary),
                Arc::new(bytes) as ArrayRef,
            ),
            (field("path", DataType::Utf8), Arc::new(names) as ArrayRef),
        ]);
        let labels = Int64Array::from_iter_values(self.labels.iter().map(|&label| label.into()));
        let batch = RecordBatch::try_from_iter([
            ("img", Arc::new(images) as ArrayRef),
            (kind.parquet_label(), Arc::new(labels) as ArrayRef),
        ])
        .unwrap();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

/// Writes the archive's files below `dir`, as unpacking does, and the packed archive beside them.
fn write_archive(dir: &Path, kind: Kind, format: Format, train: &Drawn, test: &Drawn) {
    let folder = dir.join(kind.folder(format));
    fs::create_dir_all(&folder).unwrap();
    let file = File::create(dir.join(kind.archive(format))).unwrap();
    let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
    for (split, rows) in [(Split::Test, test), (Split::Train, train)] {
        let names = kind.files(split, format);
        let each = rows.labels.len() / names.len();
        for (i, name) in names.iter().enumerate() {
            let part = rows.slice(i * each, (i + 1) * each);
            let bytes = match format {
                Format::Python => part.pickle(kind),
                Format::Binary => part.binary(kind),
            };
            fs::write(folder.join(name), &bytes).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            let path = Path::new(kind.folder(format)).join(name);
            tar.append_data(&mut header, path, &bytes[..]).unwrap();
        }
    }
    tar.into_inner().unwrap().finish().unwrap().flush().unwrap();
}

fn class_names(kind: Kind) -> ClassNames {
    let classes = if kind == Kind::Cifar10 { 10 } else { 100 };
    ClassNames::new((0..classes).map(|class| class.to_string()).collect()).unwrap()
}

/// Labels and decoded pixels of both splits, in order.
fn contents(source: &Path, kind: Kind, imbalance_ratio: f64) -> Vec<Vec<(u32, Vec<u8>)>> {
    let long_tail = LongTail {
        tail: Some(Tail::exp(imbalance_ratio)),
        ..LongTail::default()
    };
    let splits = [Split::Train, Split::Test];
    let source = read(source, kind, &splits, class_names(kind), &long_tail, 0).unwrap();
    let decode = |item: &crate::source::Item| {
        let Content::Memory(bytes) = &item.content else {
            panic!("{} is not in memory", item.path);
        };
        let image = decode_rgb(bytes, Orientation::Ignore).unwrap();
        assert_eq!((image.width, image.height), (32, 32));
        (item.label, image.pixels)
    };
    let lists = source.splits.iter();
    lists
        .map(|list| list.items.iter().map(decode).collect())
        .collect()
}

#[test]
fn every_form_gives_the_same_images_in_the_same_order() {
    for (kind, classes) in [(Kind::Cifar10, 10), (Kind::Cifar100, 100)] {
        let (train, test) = (drawn(200, classes, 0), drawn(20, classes, 5));
        let dir = tempfile::tempdir().unwrap();
        let hf = dir.path().join("hf");
        fs::create_dir(&hf).unwrap();
        train
            .slice(0, 70)
            .parquet(kind, &hf.join("train-00000-of-00002.parquet"));
        train
            .slice(70, 200)
            .parquet(kind, &hf.join("train-00001-of-00002.parquet"));
        test.parquet(kind, &hf.join("test-00000-of-00001.parquet"));
        for imbalance_ratio in [1.0, 4.0] {
            let expected = contents(&hf, kind, imbalance_ratio);
            // The reference code's choice, from the labels alone.
            let labels: Vec<u32> = train.labels.iter().map(|&label| label.into()).collect();
            let max = 200 / u64::from(classes);
            let keep = longtail::exponential_counts(max, classes.into(), imbalance_ratio).unwrap();
            let chosen: Vec<_> = longtail::select(&labels, &keep, 0)
                .into_iter()
                .map(|row| (labels[row], train.pixels(row)))
                .collect();
            assert_eq!(expected[0], chosen);
            assert_eq!(expected[1].len(), 20);
            for format in [Format::Python, Format::Binary] {
                let parent = dir.path().join(format!("{kind:?}{format:?}"));
                write_archive(&parent, kind, format, &train, &test);
                let (folder, packed) = (kind.folder(format), kind.archive(format));
                for source in [parent.clone(), parent.join(folder), parent.join(packed)] {
                    assert!(contents(&source, kind, imbalance_ratio) == expected);
                }
                fs::remove_dir_all(parent.join(folder)).unwrap();
                assert!(contents(&parent, kind, imbalance_ratio) == expected);
            }
        }
    }
}

#[test]
fn what_is_not_cifar_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rows = drawn(10, 100, 0);
    let read_from = |path: &Path, kind| {
        let long_tail = LongTail::default();
        read(path, kind, &[Split::Test], class_names(kind), &long_tail, 0)
            .unwrap_err()
            .to_string()
    };
    let err = read_from(dir.path(), Kind::Cifar10);
    assert!(
        err.contains("there is no CIFAR-10 in it\nhint: name cifar-10-python.tar.gz"),
        "{err}"
    );

    let file = dir.path().join("test");
    let pickle = rows.pickle(Kind::Cifar100);
    let swap = |from: &[u8], to: &[u8]| {
        let at = pickle
            .windows(from.len())
            .position(|bytes| bytes == from)
            .unwrap();
        [&pickle[..at], to, &pickle[at + from.len()..]].concat()
    };
    for (bytes, message) in [
        (
            pickle[..3000].to_vec(),
            "python archive: byte 2999: the file ends too early",
        ),
        (
            swap(b"fine_labels", b"lost_labels"),
            "there is no `fine_labels`",
        ),
        (
            swap(b"K\x00K\x07", b"K\xffK\x07"),
            "test: row 0: label 255 is out of range",
        ),
        (swap(b"K\x07K\x0e", b"K\x0e"), "9 labels for 10 images"),
        (
            swap(b"J\x00\x0c\x00\x00", b"J\x00\x0b\x00\x00"),
            "another shape than rows of 3072 bytes",
        ),
        (
            swap(b"cnumpy\ndtype\n", b"cposix\nsystem\n"),
            "`posix.system` is not one of CIFAR's classes",
        ),
    ] {
        fs::write(&file, bytes).unwrap();
        let err = read_from(dir.path(), Kind::Cifar100);
        assert!(err.contains(message), "{err}");
    }
    fs::remove_file(&file).unwrap();
    fs::write(
        dir.path().join("test.bin"),
        &rows.binary(Kind::Cifar100)[1..],
    )
    .unwrap();
    let err = read_from(dir.path(), Kind::Cifar100);
    assert!(
        err.contains("its 30739 bytes are no multiple of 3074"),
        "{err}"
    );

    // An archive that was cut, and something that is none.
    write_archive(dir.path(), Kind::Cifar10, Format::Python, &rows, &rows);
    let packed = dir.path().join("cifar-10-python.tar.gz");
    let bytes = fs::read(&packed).unwrap();
    fs::write(&packed, &bytes[..bytes.len() / 20]).unwrap();
    let err = read_from(&packed, Kind::Cifar10);
    assert!(err.contains("cannot read as .tar.gz"), "{err}");
    fs::write(&packed, "no archive").unwrap();
    let err = read_from(&packed, Kind::Cifar10);
    assert!(err.contains("there is no CIFAR-10 in it"), "{err}");
}
