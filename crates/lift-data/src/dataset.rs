//! The datasets that this program knows by name, and the files that describe them.
//!
//! A dataset's file (`datasets/NAME.toml`, compiled in, or the user's own) says how its source is read,
//! which lists it has with their git blob ids, where class names come from, and what a right build
//! counts; reading is code elsewhere. Invariant: a spec that exists is consistent (it has what its kind
//! of source needs, its names are as many as its classes, its file names stay below their folder), and
//! every compiled-in file parses (a test reads them all).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use lift_files::Purpose;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::git_blob::GitBlob;
use lift_image::decode::Orientation;
use lift_shards::classes::ClassNames;
use lift_shards::split::{Band, BandEdges, Split};

/// The compiled-in files, in the order in which they are shown.
const FILES: [(&str, &str); 6] = [
    (
        "imagenet-lt",
        include_str!("../../../datasets/imagenet-lt.toml"),
    ),
    (
        "places-lt",
        include_str!("../../../datasets/places-lt.toml"),
    ),
    ("inat2018", include_str!("../../../datasets/inat2018.toml")),
    (
        "cifar100-lt",
        include_str!("../../../datasets/cifar100-lt.toml"),
    ),
    (
        "cifar10-lt",
        include_str!("../../../datasets/cifar10-lt.toml"),
    ),
    (
        "shapes-lt",
        include_str!("../../../datasets/shapes-lt.toml"),
    ),
];

/// The JSON schema of such a file.
pub const SCHEMA: &str = include_str!("../../../schemas/dataset.json");

/// What is known of a named dataset.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// Its name on the command line and in the manifest.
    pub name: String,
    /// One sentence on what it is.
    pub about: String,
    /// How its source is read.
    pub source: SourceKind,
    /// Which version to download.
    pub get: Option<String>,
    /// Whether EXIF turns its images, where the user does not say.
    #[serde(default = "exif")]
    pub orientation: Orientation,
    /// How many classes it has; what is not checked where it is not known.
    pub num_classes: Option<usize>,
    /// Where the bands end.
    #[serde(default)]
    pub bands: BandEdges,
    /// The folder below the source that the images' paths start at.
    pub image_dir: Option<PathBuf>,
    /// Class names in label order, where they are part of the file.
    pub class_names: Option<ClassNames>,
    /// Where the class names of a dataset with lists come from.
    #[serde(default)]
    pub class_names_from: ClassNamesFrom,
    /// The file with the class names, beside the lists.
    pub class_file: Option<PathBuf>,
    /// The id that a fetched [`Self::class_file`] must have.
    pub class_file_git_blob: Option<GitBlob>,
    /// Classes at each level that `--taxonomy` takes.
    #[serde(default)]
    pub taxonomy: BTreeMap<Taxonomy, usize>,
    /// Where the lists are fetched from when the user asks for it: this, a slash, the file's name.
    pub list_url: Option<String>,
    /// Its lists.
    #[serde(default, rename = "list")]
    pub lists: Vec<ListSpec>,
    /// What a right build counts.
    #[serde(default)]
    pub expected: Vec<Expected>,
    /// What other versions of the dataset look like.
    #[serde(default, rename = "wrong_version")]
    pub wrong_versions: Vec<WrongVersion>,
}

/// How a dataset's source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Lists of `path label` lines and a tree of image files.
    Lists,
    /// CIFAR-10's archives or its Parquet files.
    Cifar10,
    /// CIFAR-100's archives or its Parquet files.
    Cifar100,
    /// Class folders in `train/` and `test/`.
    Folder,
}

/// Where the class names of a dataset with lists come from, where the user gives none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassNamesFrom {
    /// The folders in the list's paths.
    #[default]
    Folders,
    /// The class file, one name a line in label order; the folders where there is none.
    File,
    /// The class file, a JSON list of categories with their taxonomy.
    Categories,
}

/// A level of the tree of life at which classes can be told apart.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Taxonomy {
    /// The coarsest level.
    Kingdom,
    /// Below kingdom.
    Phylum,
    /// Below phylum.
    Class,
    /// Below class.
    Order,
    /// Below order.
    Family,
    /// Below family.
    Genus,
    /// The list's own labels.
    Species,
}

impl Taxonomy {
    /// Its name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Taxonomy::Kingdom => "kingdom",
            Taxonomy::Phylum => "phylum",
            Taxonomy::Class => "class",
            Taxonomy::Order => "order",
            Taxonomy::Family => "family",
            Taxonomy::Genus => "genus",
            Taxonomy::Species => "species",
        }
    }
}

/// The list of a split.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListSpec {
    /// Which split.
    pub split: Split,
    /// Names that the file goes by; the first is the one that is fetched.
    pub files: Vec<PathBuf>,
    /// The id that its bytes must have; `None`: any list will do.
    pub git_blob: Option<GitBlob>,
}

/// What a split counts when it is right.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Which split.
    pub split: Split,
    /// For this imbalance ratio only; `None`: always.
    pub imbalance_ratio: Option<f64>,
    /// Images in all.
    pub images: u64,
    /// Images of the largest class.
    pub largest: Option<u64>,
    /// Images of the smallest class.
    pub smallest: Option<u64>,
    /// Classes in the bands many, medium and few.
    pub band_classes: Option<[u64; 3]>,
}

/// How another version of the dataset is recognised.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrongVersion {
    /// Any of these below the source; a `*` at the end stands for the rest of a name.
    pub has: Vec<String>,
    /// What it is.
    pub is: String,
    /// What to do.
    pub hint: String,
}

impl DatasetSpec {
    /// The dataset called `name`; an unknown name is an error that lists the known ones.
    pub fn find(name: &str) -> Result<Self> {
        let (_, text) = FILES
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| {
                let known: Vec<_> = names().collect();
                Error::Setting {
                    reason: format!("`{name}` is not a known dataset"),
                    hint: format!("known are {}", known.join(", ")),
                }
            })?;
        Ok(Self::parse(text).expect("compiled-in dataset files parse"))
    }

    /// The dataset that the user's file describes.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = lift_files::text(path, Purpose::Settings).map_err(Error::read(path))?;
        Self::parse(&text).map_err(|reason| Error::Source {
            path: path.to_owned(),
            reason,
            hint: "docs/datasets.md explains the keys of a dataset's file".to_owned(),
        })
    }

    /// The names that are part of the file; for the others, the shards know them.
    pub fn known_class_names(&self) -> Result<ClassNames> {
        self.class_names.clone().ok_or_else(|| Error::Setting {
            reason: format!("the class names of {} come with its lists", self.name),
            hint: "build its shards, and name them, or a file of class names".to_owned(),
        })
    }

    /// The list of `split`.
    pub fn list(&self, split: Split) -> Option<&ListSpec> {
        self.lists.iter().find(|list| list.split == split)
    }

    /// What `split` counts at `imbalance_ratio`, where it is known.
    pub fn expected(&self, split: Split, imbalance_ratio: Option<f64>) -> Option<&Expected> {
        self.expected.iter().find(|expected| {
            expected.split == split
                && (expected.imbalance_ratio.is_none()
                    || expected.imbalance_ratio == imbalance_ratio)
        })
    }

    /// The image count that `split` must have at `imbalance_ratio`, where it is known.
    pub fn expected_images(&self, split: Split, imbalance_ratio: Option<f64>) -> Option<u64> {
        self.expected(split, imbalance_ratio)
            .map(|expected| expected.images)
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let spec: Self = toml::from_str(text).map_err(|err| {
            let line = err
                .span()
                .map(|span| 1 + text[..span.start].matches('\n').count());
            let place = line
                .map(|line| format!("line {line}: "))
                .unwrap_or_default();
            format!("{place}{}", err.message())
        })?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err(format!(
                "name: `{}` is not made of lower-case letters, digits, `-`, `_` and `.`",
                self.name
            ));
        }
        if self.source == SourceKind::Lists && self.lists.is_empty() {
            return Err("source = \"lists\" needs a [[list]] for every split".to_owned());
        }
        if self.source != SourceKind::Lists && !self.lists.is_empty() {
            return Err("[[list]] is for source = \"lists\"".to_owned());
        }
        if let (Some(names), Some(num_classes)) = (&self.class_names, self.num_classes)
            && names.len() != num_classes
        {
            return Err(format!(
                "class_names: {} names, num_classes is {num_classes}",
                names.len()
            ));
        }
        if matches!(self.source, SourceKind::Cifar10 | SourceKind::Cifar100)
            && self.class_names.is_none()
        {
            return Err(
                "class_names is missing: CIFAR's labels have no names of their own".to_owned(),
            );
        }
        if self.class_names_from == ClassNamesFrom::Categories && self.class_file.is_none() {
            return Err("class_names_from = \"categories\" needs class_file".to_owned());
        }
        for list in &self.lists {
            if list.files.is_empty() {
                return Err(format!("list of the {} split: files is empty", list.split));
            }
        }
        let files = self.lists.iter().flat_map(|list| &list.files);
        for path in files.chain(&self.class_file).chain(&self.image_dir) {
            if !stays_below(path) {
                return Err(format!("{}: a path that leaves its folder", path.display()));
            }
        }
        let patterns = self.wrong_versions.iter().flat_map(|wrong| &wrong.has);
        for pattern in patterns {
            if !stays_below(Path::new(pattern)) {
                return Err(format!("{pattern}: a path that leaves its folder"));
            }
        }
        Ok(())
    }
}

impl Expected {
    /// Fails where `counts` (images of each class) differ, saying in what.
    pub fn check(&self, counts: &[u64], edges: BandEdges) -> std::result::Result<(), String> {
        let of_band = |band| counts.iter().filter(|&&n| edges.band(n) == band).count() as u64;
        let differs = |what: &str, found: u64, expected: u64| {
            Err(format!("{what} {found}, expected {expected}"))
        };
        let images = counts.iter().sum();
        if images != self.images {
            return differs("images", images, self.images);
        }
        let largest = counts.iter().copied().max().unwrap_or(0);
        let smallest = counts.iter().copied().min().unwrap_or(0);
        for (what, found, expected) in [
            ("largest class", largest, self.largest),
            ("smallest class", smallest, self.smallest),
        ] {
            match expected {
                Some(expected) if expected != found => return differs(what, found, expected),
                _ => {}
            }
        }
        for (band, expected) in Band::ALL
            .into_iter()
            .zip(self.band_classes.iter().flatten())
        {
            let found = of_band(band);
            if found != *expected {
                return differs(&format!("classes of band {band}"), found, *expected);
            }
        }
        Ok(())
    }
}

/// The names of the datasets that are compiled in.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

fn exif() -> Orientation {
    Orientation::Exif
}

fn stays_below(path: &Path) -> bool {
    let mut components = path.components();
    path != Path::new("") && components.all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lift_shards::longtail::exponential_counts;

    #[test]
    fn the_schema_is_what_a_file_may_hold() {
        use lift_page::schema::disagreements;
        use serde_json::Value;
        fn read<T: serde::de::DeserializeOwned>(text: &str) -> std::result::Result<(), String> {
            toml::from_str::<T>(text)
                .map(drop)
                .map_err(|error| error.to_string())
        }
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let items = |name: &str| &schema["properties"][name]["items"];
        let mut found = disagreements(&schema, read::<DatasetSpec>);
        found.extend(disagreements(items("list"), read::<ListSpec>));
        found.extend(disagreements(items("expected"), read::<Expected>));
        found.extend(disagreements(items("wrong_version"), read::<WrongVersion>));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn every_file_parses_and_bears_its_name() {
        for name in names() {
            let spec = DatasetSpec::find(name).unwrap();
            assert_eq!(spec.name, name);
            assert!(spec.get.is_some() && spec.num_classes.is_some());
        }
        let err = DatasetSpec::find("mnist").unwrap_err().to_string();
        assert!(err.contains("known are imagenet-lt, places-lt"), "{err}");
    }

    #[test]
    fn shapes_are_named_as_they_are_drawn() {
        let names = DatasetSpec::find("shapes-lt").unwrap().class_names.unwrap();
        assert_eq!(names.as_slice(), lift_shapes::class_names());
    }

    #[test]
    fn cifar_counts_follow_from_the_profile() {
        for (name, per_class) in [("cifar100-lt", 500), ("cifar10-lt", 5000)] {
            let spec = DatasetSpec::find(name).unwrap();
            let classes = spec.num_classes.unwrap();
            for expected in spec.expected.iter().filter(|e| e.split == Split::Train) {
                let ratio = expected.imbalance_ratio.unwrap();
                let counts = exponential_counts(per_class, classes, ratio).unwrap();
                assert_eq!(
                    expected.check(&counts, spec.bands),
                    Ok(()),
                    "{name} {ratio}"
                );
            }
            assert_eq!(spec.expected_images(Split::Train, Some(37.0)), None);
            assert_eq!(spec.expected_images(Split::Test, None), Some(10_000));
        }
    }

    #[test]
    fn a_users_file_is_checked() {
        let own = "name = 'own'\nabout = 'mine'\nsource = 'lists'\n";
        let list = "[[list]]\nsplit = 'train'\nfiles = ['a.txt']\n";
        assert!(DatasetSpec::parse(&format!("{own}{list}")).is_ok());
        for (text, message) in [
            (own.to_owned(), "needs a [[list]]"),
            (
                format!("{own}sauce = 1\n{list}"),
                "line 4: unknown field `sauce`",
            ),
            (
                format!("{own}{list}git_blob = 'abc'"),
                "is not a git blob id",
            ),
            (
                format!("{own}{}", list.replace("a.txt", "../a.txt")),
                "../a.txt: a path that leaves its folder",
            ),
            (
                format!("{own}num_classes = 3\nclass_names = ['a']\n{list}"),
                "class_names: 1 names, num_classes is 3",
            ),
            (
                format!("{own}{list}").replace("'own'", "'My Own'"),
                "name: `My Own` is not made of",
            ),
            (
                "name = 'c'\nabout = 'c'\nsource = 'cifar10'".to_owned(),
                "class_names is missing",
            ),
        ] {
            let err = DatasetSpec::parse(&text).unwrap_err();
            assert!(err.contains(message), "{err}");
        }
    }
}
