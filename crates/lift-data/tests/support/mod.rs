//! A folder of its own to run the program in, and small images to run it on.

#![allow(dead_code, reason = "each test file uses a part of it")]

#[path = "../../../../tests/src/shared_folder.rs"]
mod shared_folder;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lift_shapes::{Dice, Domain, Drawing, Pair, Purpose, draw};
use lift_shards::ShardReader;

#[allow(unused_imports, reason = "each test file uses a part of this module")]
pub use shared_folder::shared;

/// A temporary folder that the program runs in, so that paths in its messages are relative.
pub struct Workplace {
    dir: tempfile::TempDir,
}

impl Workplace {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Exit code, standard output and standard error; times are replaced.
    pub fn run(&self, arguments: &str) -> String {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        self.run_words(&arguments)
    }

    /// As [`Workplace::run`], for arguments with blanks in them.
    pub fn run_words(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lift-data"));
        // A proxy of the machine's cannot reach a server on its loopback interface.
        for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(proxy);
        }
        let output = command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        format!(
            "exit {}\n{}----\n{}",
            output.status.code().unwrap(),
            without_times(&text(output.stdout)),
            without_times(&text(output.stderr)),
        )
    }

    /// What the program gives under a limit of the shell's: `-f 512` for the blocks of a file, of 512 or 1,024 bytes; `-v` for the
    /// kibibytes of memory.
    pub fn run_limited(&self, limit: &str, arguments: &str) -> Output {
        let program = env!("CARGO_BIN_EXE_lift-data");
        let script = format!("trap '' XFSZ; ulimit {limit}; exec {program} {arguments}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(self.dir.path());
        shell.output().unwrap()
    }

    /// The place of a file or folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.create_parent(path);
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join(path)).unwrap()
    }

    /// A PNG whose pixels depend on its place and its path.
    pub fn image(&self, path: &str, width: u32, height: u32) {
        let salt = path
            .bytes()
            .fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let pixel = |x: u32, y: u32| {
            image::Rgb([
                salt,
                salt.wrapping_add((x * 13) as u8),
                salt.wrapping_sub((y * 17) as u8),
            ])
        };
        let image = image::RgbImage::from_fn(width, height, pixel);
        image.save(self.create_parent(path)).unwrap();
    }

    #[allow(
        dead_code,
        reason = "every test file compiles this module, not all use this"
    )]
    /// `train/` with 3 cats, 12 dogs and 1 cow, `test/` with 2 of each; sizes vary.
    pub fn class_folders(&self, root: &str) {
        for (class, count) in [("cat", 3), ("cow", 1), ("dog", 12)] {
            for i in 0..count {
                self.image(&format!("{root}/train/{class}/{i}.png"), 9 + i, 20 - i);
            }
            for i in 0..2 {
                self.image(&format!("{root}/test/{class}/{i}.png"), 10, 12 + i);
            }
        }
    }

    /// All files below a folder with their bytes.
    pub fn files(&self, root: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let root = self.dir.path().join(root);
        if root.is_dir() {
            collect(&root, &root, &mut files);
        }
        files
    }

    /// Changes one bit of a file.
    #[allow(
        dead_code,
        reason = "every test file compiles this module, not all use this"
    )]
    pub fn flip(&self, path: &str, at: usize) {
        let path = self.dir.path().join(path);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    #[allow(
        dead_code,
        reason = "every test file compiles this module, not all use this"
    )]
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.dir.path().join(path)).unwrap();
    }

    fn create_parent(&self, path: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

/// (class name, stored bytes) of every row, in order.
pub fn rows(place: &Workplace, dir: &str) -> Vec<(String, Vec<u8>)> {
    let reader = ShardReader::open(&place.path(dir)).unwrap();
    let names = &reader.manifest().class_names;
    (0..reader.len())
        .map(|index| {
            let bytes = reader.bytes(index).unwrap().to_vec();
            let name = names.name(reader.row(index).label).unwrap();
            (name.to_owned(), bytes)
        })
        .collect()
}

/// A busy drawing of its own for each number.
pub fn picture(number: u64) -> image::RgbImage {
    let pairs = Pair::all();
    let label = number as usize % pairs.len();
    let mut dice = Dice::new(77, Purpose::Train, label as u32, number);
    draw(&Drawing::random(pairs[label], Domain::Dataset, &mut dice))
}

pub fn save(place: &Workplace, path: &str, picture: &image::RgbImage) {
    picture.save(place.create_parent(path)).unwrap();
}

/// `flat/<class>`: 40 ants, 20 bees, 4 cows and 1 dog.
pub fn flat(place: &Workplace) {
    for (class, count) in [("ant", 40), ("bee", 20), ("cow", 4), ("dog", 1)] {
        for i in 0..count {
            place.image(&format!("flat/{class}/{i}.png"), 4, 4);
        }
    }
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            files.insert(
                path.strip_prefix(root).unwrap().to_owned(),
                fs::read(&path).unwrap(),
            );
        }
    }
}

/// `0.3 s, 1,234 images/s` becomes `[time]`, and so do JSON's two fields.
const MEASURED: [&str; 8] = [
    "seconds",
    "images_per_second",
    "read",
    "decode",
    "resize",
    "encode",
    "write",
    "peak_memory_bytes",
];

fn without_times(text: &str) -> String {
    let line = |line: &str| {
        if MEASURED
            .iter()
            .any(|key| line.contains(&format!("\"{key}\": ")))
        {
            let (key, value) = line.split_once(": ").unwrap();
            return format!(
                "{key}: [time]{}",
                if value.ends_with(',') { "," } else { "" }
            );
        }
        let Some((before, end)) = line.split_once(" images/s -> ") else {
            return line.to_owned();
        };
        let fields: Vec<_> = before.split(", ").collect();
        let kept = fields[..fields.len() - 2].join(", ");
        format!("{kept}, [time] -> {end}")
    };
    text.lines().map(|text| line(text) + "\n").collect()
}
