//! The loader and what it is made of, on shards of 341x256 pixels: `cargo bench --bench loader`.
//!
//! The photos are drawn here, so the numbers compare machines and versions, not datasets. `rayon` splits the work, so the
//! wall time that is shown is that of all cores.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use divan::{Bencher, black_box, counter::ItemsCount};
use lift_data::{
    build::{BYTES_PER_SHARD, BuildOptions, Dataset, Preprocess, build},
    choice::Choice,
    profile::LongTail,
    sampling::Holdout,
    source::Columns,
};
use lift_image::encode::Subsampling;
use lift_image::{
    CropBox, ResizeKernel, Resizer, RgbView,
    decode::{Decoder, Orientation},
};
use lift_loader::{Draws, Loader, View, image_rng, mda_crop};
use lift_page::progress::Reporting;
use lift_shards::{
    Encoding, ShardReader,
    manifest::Check,
    order::Order,
    shard::row_checksum,
    split::{BandEdges, Split},
};
use tempfile::TempDir;

const PHOTOS: usize = 512;
const WIDTH: u32 = 341;
const HEIGHT: u32 = 256;
const SIDE: u32 = 224;

static PIXELS: LazyLock<Shards> = LazyLock::new(|| Shards::new(Encoding::Rgb8));
static JPEGS: LazyLock<Shards> = LazyLock::new(|| Shards::new(Encoding::Jpeg));

fn main() {
    divan::main();
}

/// The largest square, and one of the size that crops have on average, by each kernel that the CPU has.
#[divan::bench(args = kernels_and_sides())]
fn crop_resize(bencher: Bencher, case: &Case) {
    let &Case(kernel, side) = case;
    let photo = photo(0);
    let source = RgbView {
        width: WIDTH,
        height: HEIGHT,
        pixels: &photo,
    };
    let crop = CropBox {
        left: 40,
        top: 0,
        width: side,
        height: side,
    };
    let mut resizer = Resizer::with_kernel(kernel);
    let mut out = vec![0; (SIDE * SIDE * 3) as usize];
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        resizer
            .crop_resize(source, crop, SIDE, SIDE, &mut out)
            .expect("it fits");
        black_box(&out);
    });
}

struct Case(ResizeKernel, u32);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.0, self.1)
    }
}

fn kernels_and_sides() -> Vec<Case> {
    let kernels = ResizeKernel::available().into_iter();
    kernels
        .flat_map(|kernel| [256, 190].map(|side| Case(kernel, side)))
        .collect()
}

#[divan::bench]
fn decode_jpeg(bencher: Bencher) {
    let bytes = JPEGS.reader.bytes(0).expect("it is whole");
    let mut decoder = Decoder::default();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let image = decoder.decode(bytes, Orientation::Ignore);
        black_box(image.expect("it is a JPEG").pixels.len())
    });
}

#[divan::bench]
fn checksum(bencher: Bencher) {
    let photo = photo(0);
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| row_checksum(black_box(&photo), 1, 2, WIDTH, HEIGHT));
}

/// Finding a row's page in the mapped file and verifying it; all rows in turn.
#[divan::bench]
fn row(bencher: Bencher) {
    let reader = &PIXELS.reader;
    let mut next = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        next = (next + 193) % reader.len();
        black_box(reader.bytes(next).expect("it is whole").len())
    });
}

/// What no loader can beat: the crops of an epoch from memory, on one thread, unverified.
#[divan::bench(sample_count = 10)]
fn bare_crops(bencher: Bencher) {
    let photos: Vec<_> = (0..PHOTOS).map(photo).collect();
    let mut resizer = Resizer::new();
    let mut out = vec![0; (SIDE * SIDE * 3) as usize];
    bencher.counter(ItemsCount::new(PHOTOS)).bench_local(|| {
        for (id, pixels) in photos.iter().enumerate() {
            let source = RgbView {
                width: WIDTH,
                height: HEIGHT,
                pixels,
            };
            let crop = mda_crop(WIDTH, HEIGHT, 0.08, &mut image_rng(0, 0, id as u64));
            resizer
                .crop_resize(source, crop, SIDE, SIDE, &mut out)
                .expect("it fits");
            black_box(&out);
        }
    });
}

/// The same crops through the loader, batches of 64.
#[divan::bench(args = [1, 2, 4], sample_count = 10)]
fn load_pixels(bencher: Bencher, threads: usize) {
    load(bencher, &PIXELS, threads);
}

#[divan::bench(args = [1, 2, 4], sample_count = 10)]
fn load_jpegs(bencher: Bencher, threads: usize) {
    load(bencher, &JPEGS, threads);
}

fn load(bencher: Bencher, shards: &Shards, threads: usize) {
    let reader = Arc::clone(&shards.reader);
    let loader = Loader::new(reader, SIDE, 64, threads).expect("threads start");
    let view = View::Random {
        smallest_area: 0.08,
        seed: 0,
        epoch: 0,
    };
    bencher.counter(ItemsCount::new(PHOTOS)).bench_local(|| {
        for batch in loader.batches(Draws::shuffled(PHOTOS, 0, 0), view) {
            black_box(batch.expect("all rows are whole").pixels.len());
        }
    });
}

/// Shards in a folder that goes with them.
struct Shards {
    reader: Arc<ShardReader>,
    _dir: TempDir,
}

impl Shards {
    fn new(encoding: Encoding) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let images = dir.path().join("images/train/drawn");
        fs::create_dir_all(&images).expect("a folder");
        for nth in 0..PHOTOS {
            fs::write(images.join(format!("{nth:03}.bmp")), bmp(nth)).expect("a file");
        }
        let options = options(encoding, dir.path().join("images"), dir.path());
        build(&options, Reporting::Silent).expect("a build");
        let reader = ShardReader::open(&dir.path().join("shards/train"));
        Self {
            reader: Arc::new(reader.expect("whole shards")),
            _dir: dir,
        }
    }
}

fn options(encoding: Encoding, source: PathBuf, out: &Path) -> BuildOptions {
    BuildOptions {
        dataset: Dataset::Folder,
        source,
        merged: Vec::new(),
        root: None,
        subset: None,
        reach: lift_data::source::Reach::Below,
        repeats: lift_data::build::Repeats::Refused,
        class_names: None,
        out: out.join("shards"),
        splits: vec![Split::Train],
        preprocess: Preprocess {
            encoding,
            jpeg_quality: 90,
            jpeg_subsampling: Subsampling::default(),
            short_side: None,
            enlarge: false,
            orientation: Orientation::Ignore,
            exact: false,
            check: Check::Header,
            ..Preprocess::default()
        },
        threads: std::thread::available_parallelism().expect("cores"),
        seed: 0,
        long_tail: LongTail::default(),
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

/// RGB8 pixels: waves of several lengths and a little noise, other ones for each number.
fn photo(nth: usize) -> Vec<u8> {
    let mut noise = nth as u64 + 1;
    let mut pixels = Vec::new();
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            for channel in 0..3 {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let (x, y) = (f64::from(x), f64::from(y));
                let phase = nth as f64 + f64::from(channel);
                let wave = (x / 37.0 + phase).sin() + (y / 11.0 - phase).sin() / 2.0;
                let fine = ((x + 2.0 * y) / 3.0 + phase).sin() / 4.0;
                let grain = (noise >> 59) as f64;
                pixels.push((120.0 + 50.0 * (wave + fine) + grain) as u8);
            }
        }
    }
    pixels
}

/// The photo as a file: 24 bits, rows from the bottom, padded to 4 bytes, blue first.
fn bmp(nth: usize) -> Vec<u8> {
    let row_bytes = (WIDTH as usize * 3).next_multiple_of(4);
    let image_bytes = (row_bytes * HEIGHT as usize) as u32;
    let mut file = b"BM".to_vec();
    for field in [54 + image_bytes, 0, 54, 40, WIDTH, HEIGHT, 24 << 16 | 1, 0] {
        file.extend(field.to_le_bytes());
    }
    for field in [image_bytes, 0, 0, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    for row in photo(nth).chunks(WIDTH as usize * 3).rev() {
        let end = file.len() + row_bytes;
        file.extend(
            row.chunks(3)
                .flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]),
        );
        file.resize(end, 0);
    }
    file
}
