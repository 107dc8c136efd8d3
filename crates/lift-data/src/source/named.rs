//! A dataset that has a file in `datasets/`, or one of the user's: from its spec to a checked source.
//!
//! Invariant: what it returns has been held against all that the spec knows: the lists' ids, the
//! number of classes, the counts, and whether every image file is there.

use std::path::{Path, PathBuf};

use super::listed::{OF_A_LIST, Root};
use super::official::{self, FoundFile, ListCheck, Places, WantedFile};
use super::{Content, LeftOut, Reach, Source, SplitList, cifar, folder, list, naming, tree};
use crate::dataset::{ClassNamesFrom, DatasetSpec, SourceKind, Taxonomy};
use crate::error::{Error, Result};
use crate::profile::{LongTail, Tail};
use lift_page::progress::Reporting;
use lift_shards::classes::ClassNames;
use lift_shards::split::Split;
use polars::prelude::DataFrame;

/// A named dataset and the choices that only such datasets have.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// What is known of it.
    pub spec: DatasetSpec,
    /// The folder with its lists; `None`: the source's folder.
    pub lists: Option<PathBuf>,
    /// Where lists that are not there are fetched from; `None`: nowhere.
    pub download: Option<String>,
    /// What happens to lists that are not the official ones.
    pub list_check: ListCheck,
    /// The level of its classes; `None`: the list's labels.
    pub taxonomy: Option<Taxonomy>,
}

/// What a build wants of a named dataset.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The folder that holds the images.
    pub source: &'a Path,
    /// Which splits.
    pub splits: &'a [Split],
    /// Class names of the user's.
    pub class_names: Option<&'a ClassNames>,
    /// The long-tailed choice, for CIFAR.
    pub long_tail: &'a LongTail,
    /// Its seed.
    pub seed: u32,
    /// Bad images a split may have.
    pub max_bad: u64,
    /// Where image files may lie.
    pub reach: Reach,
}

impl Named {
    /// The dataset of `spec` with official lists that are at hand, at the list's own labels.
    pub fn new(spec: DatasetSpec) -> Self {
        Self {
            spec,
            lists: None,
            download: None,
            list_check: ListCheck::Pinned,
            taxonomy: None,
        }
    }

    /// Its name, with the level of its classes where that is not the usual one.
    pub fn name(&self) -> String {
        match self.taxonomy {
            None | Some(Taxonomy::Species) => self.spec.name.clone(),
            Some(level) => format!("{}-{}", self.spec.name, level.as_str()),
        }
    }

    /// Reads the splits of `request` and checks them; what the user should know goes where `reporting`
    /// says.
    pub fn read(&self, request: Request<'_>, reporting: Reporting) -> Result<Source> {
        let spec = &self.spec;
        let names = request.class_names.or(spec.class_names.as_ref());
        if let Some(names) = names {
            check_number(spec, self.num_classes(), names)?;
        }
        let source = match spec.source {
            SourceKind::Lists => return self.read_lists(request, reporting),
            SourceKind::Folder => {
                let dir = self.image_dir(request.source);
                folder::read(&dir, request.splits, names.cloned(), request.reach)?
            }
            SourceKind::Cifar10 | SourceKind::Cifar100 => {
                let kind = match spec.source {
                    SourceKind::Cifar10 => cifar::Kind::Cifar10,
                    _ => cifar::Kind::Cifar100,
                };
                let names = spec.known_class_names()?;
                let mut source = cifar::read(
                    request.source,
                    kind,
                    request.splits,
                    names,
                    request.long_tail,
                    request.seed,
                )?;
                if let Some(names) = request.class_names {
                    source.class_names = names.clone();
                }
                source
            }
        };
        check_number(spec, self.num_classes(), &source.class_names)?;
        // Counts are published for the exponential profile alone.
        let published = LongTail {
            tail: request.long_tail.imbalance_ratio().map(Tail::exp),
            ..LongTail::default()
        };
        if *request.long_tail == published {
            self.check_counts(&source)?;
        }
        Ok(source)
    }

    /// The splits that are built unless others are asked for: validation lists hold images that the
    /// authors tuned on, which few want.
    ///
    /// # Errors
    /// When a folder of images cannot be understood.
    pub fn splits_in(&self, source: &Path) -> Result<Vec<Split>> {
        Ok(match self.spec.source {
            SourceKind::Lists => {
                let splits = self.spec.lists.iter().map(|list| list.split);
                splits.filter(|split| *split != Split::Val).collect()
            }
            SourceKind::Cifar10 | SourceKind::Cifar100 => vec![Split::Train, Split::Test],
            SourceKind::Folder => folder::splits_in(&self.image_dir(source))?,
        })
    }

    fn image_dir(&self, source: &Path) -> PathBuf {
        match &self.spec.image_dir {
            Some(dir) => source.join(dir),
            None => source.to_owned(),
        }
    }

    fn num_classes(&self) -> Option<usize> {
        let of_level = self
            .taxonomy
            .and_then(|level| self.spec.taxonomy.get(&level));
        of_level.copied().or(self.spec.num_classes)
    }

    fn read_lists(&self, request: Request<'_>, reporting: Reporting) -> Result<Source> {
        let spec = &self.spec;
        if !request.source.is_dir() {
            return Err(Error::Source {
                path: request.source.to_owned(),
                reason: "no such folder".to_owned(),
                hint: "name the folder that holds the images as --source".to_owned(),
            });
        }
        let dirs: Vec<&Path> = self
            .lists
            .as_deref()
            .into_iter()
            .chain([request.source])
            .collect();
        let places = Places {
            dirs: &dirs,
            url: self.download.as_deref(),
        };
        let root = self.image_dir(request.source);
        let start = Root::new(&root, request.reach, OF_A_LIST)?;
        let bounds = start.bounds()?;
        let mut lists = Vec::new();
        for &split in request.splits {
            let found = self.find_list(split, places, reporting)?;
            let items = list::parse(&found.path, &found.text()?, spec.num_classes, &start)?;
            lists.push(SplitList {
                split,
                root: root.clone(),
                bounds: bounds.clone(),
                items,
                columns: DataFrame::default(),
                imbalance_ratio: None,
            });
        }
        let class_names = self.name_classes(&mut lists, places, request.class_names, reporting)?;
        check_number(spec, self.num_classes(), &class_names)?;
        let source = Source {
            column_names: Vec::new(),
            class_names,
            splits: lists,
            left_out: LeftOut::default(),
        };
        if self.list_check == ListCheck::Pinned {
            self.check_counts(&source)?;
        }
        let versions = tree::Versions {
            wrong: &spec.wrong_versions,
            get: spec.get.as_deref(),
        };
        let missing = tree::check(&source.splits, versions, request.max_bad)?;
        if missing > 0 {
            let said = match missing {
                1 => "1 file of the lists is missing; it counts as a bad image".to_owned(),
                _ => format!("{missing} files of the lists are missing; they count as bad images"),
            };
            reporting.note(&format!("{}: {said}", root.display()));
        }
        Ok(source)
    }

    fn find_list(
        &self,
        split: Split,
        places: Places<'_>,
        reporting: Reporting,
    ) -> Result<FoundFile> {
        let spec = &self.spec;
        let list = spec.list(split).ok_or_else(|| Error::Setting {
            reason: format!("{} has no {split} list", spec.name),
            hint: "build another split".to_owned(),
        })?;
        let wanted = WantedFile {
            what: &format!("{split} list of {}", spec.name),
            names: &list.files,
            pin: list.git_blob,
        };
        let found = official::require(wanted, places, self.list_check)?;
        if found.differs {
            reporting.note(&format!(
                "{}: not the official {}; its counts are not checked (--any-list)",
                found.path.display(),
                wanted.what
            ));
        }
        Ok(found)
    }

    /// Names the classes, and relabels the images where the level of the taxonomy asks for it.
    fn name_classes(
        &self,
        lists: &mut [SplitList],
        places: Places<'_>,
        given: Option<&ClassNames>,
        reporting: Reporting,
    ) -> Result<ClassNames> {
        let spec = &self.spec;
        let largest = lists
            .iter()
            .flat_map(|list| &list.items)
            .map(|item| item.label + 1)
            .max();
        let num_labels = spec.num_classes.unwrap_or(largest.unwrap_or(0) as usize);
        let level = self.taxonomy.unwrap_or(Taxonomy::Species);
        let file = self.class_file(places)?;
        match (
            spec.class_names_from,
            given.or(spec.class_names.as_ref()),
            file,
        ) {
            (ClassNamesFrom::Categories, given, Some(file)) => {
                let at_level = naming::categories(&file.path, &file.text()?, level)?;
                if at_level.label_of.len() != num_labels {
                    return Err(wrong_number(
                        spec,
                        at_level.label_of.len(),
                        num_labels,
                        &file.path,
                    ));
                }
                for item in lists.iter_mut().flat_map(|list| &mut list.items) {
                    item.label = at_level.label_of[item.label as usize];
                }
                Ok(given.cloned().unwrap_or(at_level.class_names))
            }
            (ClassNamesFrom::Categories, Some(given), None) if level == Taxonomy::Species => {
                Ok(given.clone())
            }
            (ClassNamesFrom::Categories, _, None) => Err(Error::Source {
                path: places.dirs[0].to_owned(),
                reason: "categories.json, which names the classes, is not there".to_owned(),
                hint: "put it beside the lists, or fetch it with --download".to_owned(),
            }),
            (_, Some(given), _) => {
                let names = given.clone();
                self.align(names, "the given class names", lists, num_labels, reporting)
            }
            (ClassNamesFrom::File, None, Some(file)) => {
                let names = ClassNames::from_file(&file.path)?;
                let origin = file.path.display().to_string();
                check_number_at(spec, Some(num_labels), &names, &file.path)?;
                self.align(names, &origin, lists, num_labels, reporting)
            }
            (from, None, _) => {
                let names = ClassNames::new(naming::folders(lists, num_labels)?)?;
                if from == ClassNamesFrom::File {
                    reporting.note(&format!(
                        "classes are named by their folders ({}, ..), which says nothing to a text model: \
                         give --classnames, or put {} beside the lists",
                        names.as_slice()[0],
                        spec.class_file.as_deref().unwrap_or(Path::new("the names")).display(),
                    ));
                }
                Ok(names)
            }
        }
    }

    fn class_file(&self, places: Places<'_>) -> Result<Option<FoundFile>> {
        let Some(name) = &self.spec.class_file else {
            return Ok(None);
        };
        let wanted = WantedFile {
            what: &format!("class file of {}", self.spec.name),
            names: std::slice::from_ref(name),
            pin: self.spec.class_file_git_blob,
        };
        // Other editions of a class file are as good as long as they name as many classes, and one
        // without a pin cannot be fetched.
        let places = Places {
            url: places.url.filter(|_| wanted.pin.is_some()),
            ..places
        };
        official::obtain(wanted, places, ListCheck::Any)
    }

    fn align(
        &self,
        names: ClassNames,
        origin: &str,
        lists: &[SplitList],
        num_labels: usize,
        reporting: Reporting,
    ) -> Result<ClassNames> {
        if names.len() != num_labels {
            return Ok(names);
        }
        let Ok(folders) = naming::folders(lists, num_labels) else {
            return Ok(names);
        };
        let aligned = naming::aligned(names, &folders)?;
        for note in aligned.notes(origin) {
            reporting.note(&note);
        }
        Ok(aligned.class_names)
    }

    fn check_counts(&self, source: &Source) -> Result<()> {
        let spec = &self.spec;
        for list in &source.splits {
            let Some(expected) = spec.expected(list.split, list.imbalance_ratio) else {
                continue;
            };
            let counts = list.class_counts(source.class_names.len());
            let mut expected = expected.clone();
            if !matches!(self.taxonomy, None | Some(Taxonomy::Species)) {
                (expected.largest, expected.smallest, expected.band_classes) = (None, None, None);
            }
            expected.check(&counts, spec.bands).map_err(|reason| {
                let hint = match list.items.first().map(|item| &item.content) {
                    Some(Content::File) => "check the counts in the dataset's file",
                    _ => "the source is not the whole dataset; download it again",
                };
                Error::Source {
                    path: list.root.clone(),
                    reason: format!("not the {} split of {}: {reason}", list.split, spec.name),
                    hint: hint.to_owned(),
                }
            })?;
        }
        Ok(())
    }
}

fn check_number(spec: &DatasetSpec, expected: Option<usize>, names: &ClassNames) -> Result<()> {
    check_number_at(spec, expected, names, Path::new("class names"))
}

fn check_number_at(
    spec: &DatasetSpec,
    expected: Option<usize>,
    names: &ClassNames,
    origin: &Path,
) -> Result<()> {
    match expected {
        Some(expected) if expected != names.len() => {
            Err(wrong_number(spec, names.len(), expected, origin))
        }
        _ => Ok(()),
    }
}

fn wrong_number(spec: &DatasetSpec, found: usize, expected: usize, origin: &Path) -> Error {
    Error::Source {
        path: origin.to_owned(),
        reason: format!("{found} classes, {} has {expected}", spec.name),
        hint: "one name a class, in label order".to_owned(),
    }
}
