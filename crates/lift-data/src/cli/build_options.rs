//! What the typed settings mean: [`BuildOptions`], once, for `build` and `split`.
//!
//! Invariant: a setting that has no effect on the dataset at hand is refused, not ignored.

use std::path::{Path, PathBuf};

use lift_data::build::{BYTES_PER_SHARD, BuildOptions, Dataset, Preprocess, Repeats};
use lift_data::choice::{Choice, Fold, Join, Keep};
use lift_data::dataset::{DatasetSpec, SourceKind};
use lift_data::profile::{LongTail, PARETO_POWER, Profile, Tail};
use lift_data::sampling::Holdout;
use lift_data::source::named::Named;
use lift_data::source::official::ListCheck;
use lift_data::source::{Columns, Reach, shards, table};
use lift_files::limits::Threads;
use lift_image::decode::{Damaged, MAX_PIXELS, Orientation};
use lift_shards::manifest::MOST_PIXELS;
use lift_shards::{BandEdges, ClassNames, Encoding, Split};

use super::CliError;
use super::data_table::{DataTable, DatasetName, ProfileName, Splits, Typed};
use super::no_effect;

impl DatasetName {
    /// The name of a dataset with a file in `datasets/`; `None` for the user's own folders and lists.
    fn known(self) -> Option<&'static str> {
        match self {
            DatasetName::ImagenetLt => Some("imagenet-lt"),
            DatasetName::PlacesLt => Some("places-lt"),
            DatasetName::Inat2018 => Some("inat2018"),
            DatasetName::Cifar100Lt => Some("cifar100-lt"),
            DatasetName::Cifar10Lt => Some("cifar10-lt"),
            DatasetName::ShapesLt => Some("shapes-lt"),
            DatasetName::Folder
            | DatasetName::List
            | DatasetName::Table
            | DatasetName::Hf
            | DatasetName::WebDataset
            | DatasetName::Shards => None,
        }
    }
}

impl DataTable {
    /// Fails where something is said of files or threads, for what writes nothing and has one thread.
    pub(super) fn refuse_what_writes(&self, command: &str) -> Result<(), CliError> {
        no_effect::refuse_first(
            &[
                ("--out", self.out.is_some()),
                ("--threads", self.threads.is_some()),
                ("--max-bad", self.max_bad.is_some()),
                ("--shard-mib", self.shard_mib.is_some()),
                ("--order", self.order.is_some()),
            ],
            &format!("with {command}"),
        )
    }

    /// For what writes nothing and so needs no place for it.
    pub(super) fn without_output(mut self) -> Self {
        self.out.get_or_insert_default();
        self
    }

    fn long_tail(&self, kind: Option<SourceKind>) -> Result<LongTail, CliError> {
        let ratio = match kind {
            Some(SourceKind::Cifar10 | SourceKind::Cifar100) => {
                Some(self.imbalance_ratio.unwrap_or(100.0))
            }
            _ => self.imbalance_ratio,
        };
        let needs = |flag: &str, other: &str| Err(CliError::Usage(format!("{flag} needs {other}")));
        if self.profile.is_some() && ratio.is_none() {
            return needs("--profile", "--imbalance-ratio");
        }
        if self.min_per_class.is_some() && ratio.is_none() {
            return needs("--min-per-class", "--imbalance-ratio");
        }
        if self.pareto_power.is_some() && !matches!(self.profile, Some(ProfileName::Pareto)) {
            return needs("--pareto-power", "--profile pareto");
        }
        let profile = match self.profile.unwrap_or(ProfileName::Exp) {
            ProfileName::Exp => Profile::Exp,
            ProfileName::Pareto => Profile::Pareto {
                power: self.pareto_power.unwrap_or(PARETO_POWER),
            },
            ProfileName::Step => Profile::Step,
        };
        Ok(LongTail {
            tail: ratio.map(|imbalance_ratio| Tail {
                imbalance_ratio,
                profile,
            }),
            max_per_class: self.max_per_class,
            min_per_class: self.min_per_class,
        })
    }

    /// The dataset that is meant: a known one, one that a file describes, or the user's own images.
    fn dataset(&self) -> Result<Dataset, CliError> {
        let spec = match (self.dataset, &self.dataset_file) {
            (None, None) => {
                let known: Vec<_> = lift_data::dataset::names().collect();
                return Err(CliError::Usage(format!(
                    "the dataset ({}, folder, list, table, hf, webdataset or shards) is missing",
                    known.join(", ")
                )));
            }
            (name, Some(file)) => {
                let spec = DatasetSpec::from_file(file)?;
                match name.map(DatasetName::known) {
                    Some(known) if known != Some(spec.name.as_str()) => {
                        return Err(CliError::Usage(format!(
                            "{} describes {}; leave out the dataset's name, or give that one",
                            file.display(),
                            spec.name
                        )));
                    }
                    _ => spec,
                }
            }
            (Some(DatasetName::Folder), None) => return Ok(Dataset::Folder),
            (Some(DatasetName::List), None) => return Ok(Dataset::List),
            (Some(DatasetName::Table), None) => return Ok(Dataset::Table),
            (Some(DatasetName::Hf), None) => return Ok(Dataset::Hf),
            (Some(DatasetName::WebDataset), None) => return Ok(Dataset::WebDataset),
            (Some(DatasetName::Shards), None) => return Ok(Dataset::Shards),
            (Some(name), None) => DatasetSpec::find(name.known().unwrap_or_default())?,
        };
        let url = self.list_url.clone().or(spec.list_url.clone());
        if self.download && url.is_none() && spec.source == SourceKind::Lists {
            return Err(CliError::Usage(format!(
                "{} has no list_url; say where its lists are with --list-url",
                spec.name
            )));
        }
        if self.list_url.is_some() && !self.download {
            return Err(CliError::Usage(
                "--list-url does nothing without --download".to_owned(),
            ));
        }
        Ok(Dataset::Named(Box::new(Named {
            spec,
            lists: self.lists.clone(),
            download: url.filter(|_| self.download),
            list_check: if self.any_list {
                ListCheck::Any
            } else {
                ListCheck::Pinned
            },
            taxonomy: self.taxonomy,
        })))
    }

    pub(super) fn into_options(self) -> Result<BuildOptions, CliError> {
        let missing = |what: &str| CliError::Usage(format!("{what} is missing"));
        let dataset = self.dataset()?;
        let spec = match &dataset {
            Dataset::Named(named) => Some(&named.spec),
            _ => None,
        };
        let only = |flag: &str, of: &str| {
            let name = spec.map_or_else(|| dataset.name(), |spec| spec.name.clone());
            Err(CliError::Usage(format!(
                "{flag} is for {of}, not for {name}"
            )))
        };
        let kind = spec.map(|spec| spec.source);
        let is_listed = [Dataset::List, Dataset::Table].contains(&dataset);
        if self.root.is_some() && !is_listed {
            return only("--root", "list and table");
        }
        if kind != Some(SourceKind::Lists) {
            for (flag, given) in [
                ("--lists", self.lists.is_some()),
                ("--download", self.download),
                ("--list-url", self.list_url.is_some()),
                ("--any-list", self.any_list),
            ] {
                if given {
                    return only(flag, "datasets with official lists");
                }
            }
        }
        if self.taxonomy.is_some() && spec.is_none_or(|spec| spec.taxonomy.is_empty()) {
            return only("--taxonomy", "inat2018");
        }
        let orientation = spec.map_or(Orientation::Exif, |spec| spec.orientation);
        let bands = spec.map_or(BandEdges::default(), |spec| spec.bands);
        for (flag, given) in [
            ("--path-column", self.path_column.is_some()),
            ("--split-column", self.split_column.is_some()),
        ] {
            if given && !is_listed {
                return only(flag, "table");
            }
        }
        if self.image_column.is_some() && dataset != Dataset::Hf {
            return only("--image-column", "hf");
        }
        let labelled = is_listed || [Dataset::Hf, Dataset::WebDataset].contains(&dataset);
        if self.label_column.is_some() && !labelled {
            return only("--label-column", "table, hf and webdataset");
        }
        let in_containers = [Dataset::Hf, Dataset::WebDataset].contains(&dataset);
        if self.subset.is_some() && !in_containers {
            return only("--subset", "hf and webdataset");
        }
        if self.follow_outside && dataset == Dataset::Shards {
            return only("--follow-outside", "images that are files");
        }
        let is_cifar = matches!(kind, Some(SourceKind::Cifar10 | SourceKind::Cifar100));
        if self.follow_outside && (dataset == Dataset::WebDataset || is_cifar) {
            return only("--follow-outside", "images that are files");
        }
        let may_repeat = is_listed || dataset == Dataset::Shards;
        if self.allow_repeats && !may_repeat && kind != Some(SourceKind::Lists) {
            return only("--allow-repeats", "lists");
        }
        no_effect::refuse(&self)?;
        let long_tail = self.long_tail(kind)?;
        let mut choice = self.choice()?;
        if dataset == Dataset::Shards && self.keep_columns.is_none() {
            choice.keep = Keep::All;
        }
        let holdout = self
            .holdout
            .map_or(Holdout::default(), |Typed(holdout)| holdout);
        let quality = self.quality.unwrap_or(95);
        if !(1..=100).contains(&quality) {
            return Err(CliError::Usage(format!(
                "quality {quality} is not between 1 and 100"
            )));
        }
        // A recipe has no parser that would say it.
        let max_pixels = self.max_pixels.unwrap_or(MAX_PIXELS);
        if !(1..=MOST_PIXELS).contains(&max_pixels) {
            return Err(CliError::Usage(format!(
                "max_pixels {max_pixels} is not between 1 and {MOST_PIXELS}"
            )));
        }
        let class_names = self
            .classnames
            .as_ref()
            .map(|path| ClassNames::from_file(path))
            .transpose()?;
        let mib = self.shard_mib.map_or(BYTES_PER_SHARD, |mib| {
            (mib.get() as u64).saturating_mul(1 << 20)
        });
        let mut sources = self.source.clone().into_iter();
        let source = sources.next().ok_or_else(|| missing("--source"))?;
        let merged: Vec<PathBuf> = sources.collect();
        if !merged.is_empty() && dataset != Dataset::Shards {
            return only("more than one --source", "shards");
        }
        let stored = match dataset {
            Dataset::Shards => Some(self.stored(&source, &merged)?),
            _ => None,
        };
        let (bands, preprocess) = match stored {
            Some((bands, preprocess)) => (bands, preprocess),
            None => (bands, self.preprocess(orientation, quality, max_pixels)),
        };
        if dataset == Dataset::List && !table::is_table(&source)? {
            let columns = [
                ("--path-column", self.path_column.is_some()),
                ("--label-column", self.label_column.is_some()),
                ("--split-column", self.split_column.is_some()),
            ];
            no_effect::refuse_first(&columns, "on a list that is no table")?;
        }
        let splits = match self.split.unwrap_or(Splits::All) {
            Splits::Train => vec![Split::Train],
            Splits::Val => vec![Split::Val],
            Splits::Test => vec![Split::Test],
            Splits::All => Vec::new(),
        };
        let mut options = BuildOptions {
            dataset,
            source,
            merged,
            root: self.root,
            class_names,
            out: self.out.ok_or_else(|| missing("--out"))?,
            splits,
            subset: self.subset,
            reach: if self.follow_outside {
                Reach::Anywhere
            } else {
                Reach::Below
            },
            repeats: if self.allow_repeats {
                Repeats::Allowed
            } else {
                Repeats::Refused
            },
            columns: Columns {
                path: self.path_column,
                image: self.image_column,
                label: self.label_column,
                split: self.split_column,
                others: choice.others(),
                as_written: choice.names(),
            },
            choice,
            preprocess,
            threads: self.threads.unwrap_or_else(Threads::all_cores).number(),
            seed: self.seed.unwrap_or(0),
            long_tail,
            holdout,
            bands: self.bands.map_or(bands, |Typed(bands)| bands),
            max_bad: self.max_bad.unwrap_or(0),
            bytes_per_shard: mib,
            order: self.order.unwrap_or_default(),
            part: None,
        };
        if options.splits.is_empty() {
            options.splits = all_splits(&options)?;
        }
        Ok(options)
    }

    fn preprocess(&self, orientation: Orientation, quality: u8, max_pixels: u64) -> Preprocess {
        Preprocess {
            encoding: self.encoding.unwrap_or(Encoding::Rgb8),
            jpeg_quality: quality,
            jpeg_subsampling: self.subsampling.unwrap_or_default(),
            short_side: Some(self.short_side.unwrap_or(256)).filter(|&side| side > 0),
            enlarge: self.enlarge,
            orientation: self.orientation.unwrap_or(orientation),
            damaged: self.damaged.unwrap_or_default(),
            max_pixels,
            exact: self.exact,
            check: self.check.unwrap_or_default(),
            copy: false,
        }
    }

    /// The bands of shards that are built from, and how their images are stored: as they are, unless something is
    /// said of that.
    fn stored(
        &self,
        source: &Path,
        merged: &[PathBuf],
    ) -> Result<(BandEdges, Preprocess), CliError> {
        let sources: Vec<PathBuf> = [source]
            .into_iter()
            .map(Path::to_owned)
            .chain(merged.iter().cloned())
            .collect();
        let manifests = shards::manifests(&sources)?;
        let first = &manifests[0];
        let stored = Preprocess::of_shards(first);
        let others = manifests.iter().map(Preprocess::of_shards);
        let agree = others.clone().all(|other| other == stored);
        // What was decided when the files were read holds, whatever is made of them now.
        let one_sided = [
            ("--orientation", self.orientation.is_some()),
            ("--damaged", self.damaged.is_some()),
            ("--max-pixels", self.max_pixels.is_some()),
            ("--check", self.check.is_some()),
        ];
        no_effect::refuse_first(
            &one_sided,
            "on shards, whose images were read by the settings in their manifests",
        )?;
        let sizes = [("--enlarge", self.enlarge), ("--exact", self.exact)];
        if self.short_side.is_none_or(|side| side == 0) {
            no_effect::refuse_first(
                &sizes,
                "on shards without --short-side, which keeps their sizes",
            )?;
        }
        let anew =
            self.encoding.is_some() || self.short_side.is_some() || self.enlarge || self.exact;
        if !anew && !agree {
            return Err(CliError::Usage(
                "the shards to be merged are stored by different settings; say with --encoding (and --short-side) how all of them are to be stored"
                    .to_owned(),
            ));
        }
        if self.encoding == Some(Encoding::Original)
            && manifests.iter().any(|m| !m.encoding.is_file())
        {
            return Err(CliError::Usage(
                "--encoding original keeps files, and the shards hold pixels; choose png, which loses nothing"
                    .to_owned(),
            ));
        }
        let bands = first.bands;
        if !anew {
            return Ok((bands, stored));
        }
        if others
            .clone()
            .any(|other| other.orientation != stored.orientation)
        {
            return Err(CliError::Usage(
                "the shards to be merged were turned by different --orientation".to_owned(),
            ));
        }
        let quality = self.quality.or(first.jpeg_quality).unwrap_or(95);
        // Files as they were have no other size: their pixels are stored, as by default.
        let same = manifests.iter().all(|m| m.encoding == first.encoding);
        let kept = Some(first.encoding).filter(|kept| same && *kept != Encoding::Original);
        let encoding = self.encoding.or(kept).unwrap_or(Encoding::Rgb8);
        Ok((
            bands,
            Preprocess {
                damaged: if manifests.iter().any(|m| m.damaged == Damaged::Keep) {
                    Damaged::Keep
                } else {
                    Damaged::Refuse
                },
                // What is stored is not made larger than it was unless that is asked for.
                short_side: self.short_side.or(Some(0)).filter(|&side| side > 0),
                encoding,
                ..self.preprocess(
                    stored.orientation,
                    quality,
                    manifests
                        .iter()
                        .map(|m| m.max_pixels)
                        .max()
                        .unwrap_or(MAX_PIXELS),
                )
            },
        ))
    }

    /// Which images are taken, and which columns are kept.
    fn choice(&self) -> Result<Choice, CliError> {
        let needs = |flag: &str, other: &str| Err(CliError::Usage(format!("{flag} needs {other}")));
        let fold = match (self.fold, self.folds) {
            (Some(fold), Some(folds)) => Some(Fold::new(fold, folds).map_err(CliError::Usage)?),
            (None, None) => None,
            (Some(_), None) => return needs("--fold", "--folds"),
            (None, Some(_)) => return needs("--folds", "--fold, which of them is the test split"),
        };
        if fold.is_some() && self.holdout.is_some() {
            let reason = "--holdout and --folds are not taken together: a fold is the test split, and the others are trained on";
            return Err(CliError::Usage(reason.to_owned()));
        }
        if self.group_by.is_some() && fold.is_none() && self.holdout.is_none() {
            return needs("--group-by", "--holdout or --folds");
        }
        if self.on.is_some() && self.join.is_none() {
            return needs("--on", "--join");
        }
        let uses =
            self.condition.is_some() || self.group_by.is_some() || self.keep_columns.is_some();
        if self.join.is_some() && !uses {
            return needs(
                "--join",
                "--where, --group-by or --keep-columns, which use its columns",
            );
        }
        let on = self.on.as_deref().unwrap_or("path");
        let (ours, theirs) = on.split_once('=').unwrap_or((on, on));
        Ok(Choice {
            condition: self.condition.clone(),
            join: self.join.clone().map(|file| Join {
                file,
                ours: ours.trim().to_owned(),
                theirs: theirs.trim().to_owned(),
            }),
            exclude: self.exclude.clone(),
            limit: self.limit.map(|limit| limit.get() as u64),
            group_by: self.group_by.clone(),
            fold,
            keep: match self.keep_columns.as_deref() {
                None => Keep::Nothing,
                Some([all]) if all == "all" => Keep::All,
                Some([none]) if none == "none" => Keep::Nothing,
                Some(names) => Keep::Named(distinct_names(names)?),
            },
        })
    }
}

/// Names of columns, each once.
fn distinct_names(names: &[String]) -> Result<Vec<String>, CliError> {
    let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
    let wrong =
        (0..names.len()).find(|&at| names[at].is_empty() || names[..at].contains(&names[at]));
    match wrong {
        None => Ok(names),
        Some(at) if names[at].is_empty() => Err(CliError::Usage(
            "--keep-columns: a name is empty".to_owned(),
        )),
        Some(at) => Err(CliError::Usage(format!(
            "--keep-columns: `{}` is there twice",
            names[at]
        ))),
    }
}

/// The splits that the source has and those that are held out. A source that names none is the training
/// split where something is held out, and otherwise lacks the usual two, which the reader then says.
fn all_splits(options: &BuildOptions) -> Result<Vec<Split>, CliError> {
    let made = options.made_splits();
    let mut splits = options.splits_there()?;
    if splits.is_empty() {
        splits = if made.is_empty() {
            vec![Split::Train, Split::Test]
        } else {
            vec![Split::Train]
        };
    }
    splits.extend(made);
    splits.sort();
    splits.dedup();
    Ok(splits)
}
