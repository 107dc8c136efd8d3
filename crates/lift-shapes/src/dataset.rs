//! Writes the dataset `shapes-lt` as a folder of ordinary JPEG files.
//!
//! Invariant: the folder appears under its name only when all of it is written, and its bytes
//! depend on the options only, not on the number of threads.

use std::fs;
use std::path::Path;

use rayon::prelude::*;

use super::dice::{Dice, Purpose};
use super::drawing::Drawing;
use super::plan::train_counts;
use super::render::draw_jpeg;
use super::{Domain, Pair};
use lift_shards::{Error, Result};

/// What is to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct ShapesOptions {
    /// Seed of the drawings. Which classes are frequent does not depend on it.
    pub seed: u64,
    /// Training images of the largest class.
    pub max_per_class: u32,
    /// Largest class over smallest, at least 1.
    pub imbalance_ratio: f64,
    /// Test images of each class.
    pub test_per_class: u32,
}

impl Default for ShapesOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            max_per_class: 500,
            imbalance_ratio: 100.0,
            test_per_class: 20,
        }
    }
}

/// Draws the dataset into `out/train/<class>/NNNN.jpg` and `out/test/<class>/NNNN.jpg`, on the
/// current rayon pool.
///
/// `out` must not exist, or be an empty folder. Nothing is there when this fails.
pub fn write_dataset(out: &Path, options: &ShapesOptions) -> Result<()> {
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) || out.is_file() {
        return Err(Error::OutputExists { path: out.into() });
    }
    let train = train_counts(options.max_per_class, options.imbalance_ratio)?;
    let test = vec![options.test_per_class; train.len()];
    let parent = match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(Error::write(parent))?;
    let scratch = tempfile::Builder::new()
        .prefix(".drawing-")
        .suffix(".tmp")
        .tempdir_in(parent)
        .map_err(Error::write(parent))?;
    // A folder of its own inside: the outer one is private to this user.
    let work = scratch.path().join("images");
    write_split(&work.join("train"), Purpose::Train, &train, options.seed)?;
    write_split(&work.join("test"), Purpose::Test, &test, options.seed)?;
    fs::rename(&work, out).map_err(Error::write(out))?;
    let synced = fs::File::open(parent).and_then(|folder| folder.sync_all());
    synced.map_err(Error::write(parent))
}

fn write_split(folder: &Path, purpose: Purpose, counts: &[u32], seed: u64) -> Result<()> {
    let mut images = Vec::new();
    for ((label, pair), &count) in (0..).zip(Pair::all()).zip(counts) {
        let class = folder.join(pair.name());
        fs::create_dir_all(&class).map_err(Error::write(&class))?;
        images.extend((0..count).map(|index| (label, pair, index)));
    }
    images.par_iter().try_for_each(|&(label, pair, index)| {
        let mut dice = Dice::new(seed, purpose, label, index.into());
        let drawing = Drawing::random(pair, Domain::Dataset, &mut dice);
        let path = folder.join(pair.name()).join(format!("{index:04}.jpg"));
        let bytes = draw_jpeg(&drawing)
            .map_err(std::io::Error::other)
            .map_err(Error::write(&path))?;
        fs::write(&path, bytes).map_err(Error::write(&path))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{LONGEST_SIDE, SHORTEST_SIDE, class_names};

    const SMALL: ShapesOptions = ShapesOptions {
        seed: 5,
        max_per_class: 4,
        imbalance_ratio: 4.0,
        test_per_class: 1,
    };

    fn read(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for split in ["train", "test"] {
            for class in fs::read_dir(folder.join(split)).unwrap() {
                for file in fs::read_dir(class.unwrap().path()).unwrap() {
                    let path = file.unwrap().path();
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                    files.insert(name.to_owned(), fs::read(&path).unwrap());
                }
            }
        }
        files
    }

    fn write_with(threads: usize, out: &Path, options: &ShapesOptions) {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| write_dataset(out, options)).unwrap();
    }

    #[test]
    fn threads_change_nothing_and_the_seed_everything() {
        let root = tempfile::tempdir().unwrap();
        let folders = ["one", "three", "other"].map(|name| root.path().join(name));
        write_with(1, &folders[0], &SMALL);
        write_with(3, &folders[1], &SMALL);
        let other_seed = ShapesOptions { seed: 6, ..SMALL };
        write_with(3, &folders[2], &other_seed);
        let [one, three, other] = folders.map(|folder| read(&folder));
        assert!(one == three);
        assert!(one.keys().eq(other.keys()));
        assert!(one.iter().zip(&other).all(|((_, a), (_, b))| a != b));
        assert!(one["train/red star/0000.jpg"] != one["test/red star/0000.jpg"]);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3, "no rubbish");
    }

    #[test]
    fn files_are_as_many_and_as_large_as_promised() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("deep/er");
        write_dataset(&out, &SMALL).unwrap();
        let files = read(&out);
        let train = train_counts(SMALL.max_per_class, SMALL.imbalance_ratio).unwrap();
        for (name, &count) in class_names().iter().zip(&train) {
            let of = |split: &str| {
                let folder = format!("{split}/{name}/");
                files
                    .keys()
                    .filter(|path| path.starts_with(&folder))
                    .count()
            };
            assert_eq!((of("train"), of("test")), (count as usize, 1), "{name}");
        }
        assert_eq!(files.len(), train.iter().sum::<u32>() as usize + 100);
        let sides: Vec<u32> = files
            .values()
            .flat_map(|bytes| {
                let picture = image::load_from_memory(bytes).unwrap();
                [picture.width(), picture.height()]
            })
            .collect();
        assert!(
            sides
                .iter()
                .all(|side| (SHORTEST_SIDE..=LONGEST_SIDE).contains(side))
        );
        assert!(sides.iter().max() > Some(&180) && sides.iter().min() < Some(&75));
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("mine"), "").unwrap();
        let error = write_dataset(root.path(), &SMALL).unwrap_err();
        assert!(matches!(error, Error::OutputExists { .. }), "{error}");
        let ratio = ShapesOptions {
            imbalance_ratio: 0.0,
            ..SMALL
        };
        assert!(write_dataset(&root.path().join("new"), &ratio).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
