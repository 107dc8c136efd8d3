//! Which images a build has: the source's splits, hold-outs, and the long tail of the training split.
//!
//! It opens no image. Invariant: the same source, options and seed give the same lists.

use std::path::{Path, PathBuf};

use super::BuildOptions;
use crate::choice::{Keep, hold_out_groups};
use crate::dataset::{DatasetSpec, SourceKind};
use crate::error::{Error, Result};
use crate::report::duplicates::{self, DuplicatePair};
use crate::sampling;
use crate::source::named::{Named, Request};
use crate::source::{
    Columns, Source, SplitList, folder, hf, list, other_forms, shards, table, webdataset,
};
use crate::table::EXTENSIONS;
use lift_page::escape::visible;
use lift_page::progress::Reporting;
use lift_shards::layout::require_no_shards;
use lift_shards::split::Split;

/// How many repeated images a message shows.
const SHOWN: usize = 5;

/// Which dataset is built, which is also how its source is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Dataset {
    /// A dataset that is known by name, or by a file of the user's.
    Named(Box<Named>),
    /// Any folder of class folders.
    Folder,
    /// Any list of paths and labels: text, or a table.
    List,
    /// Any table of paths and labels: CSV, JSON lines, Parquet or Arrow.
    Table,
    /// A Hugging Face dataset in Parquet files.
    Hf,
    /// Tar shards of images and labels.
    WebDataset,
    /// Shards of this program.
    Shards,
}

impl Dataset {
    /// The dataset that is called `name`, with its usual choices.
    pub fn named(name: &str) -> Result<Self> {
        Ok(Self::Named(Box::new(Named::new(DatasetSpec::find(name)?))))
    }

    /// Its name in the manifest.
    pub fn name(&self) -> String {
        match self {
            Dataset::Named(named) => named.name(),
            Dataset::Folder => "folder".to_owned(),
            Dataset::List => "list".to_owned(),
            Dataset::Table => "table".to_owned(),
            Dataset::Hf => "hf".to_owned(),
            Dataset::WebDataset => "webdataset".to_owned(),
            Dataset::Shards => "shards".to_owned(),
        }
    }

    /// The splits that the source has, of `subset` where it has several; empty where it is one split without
    /// a name.
    pub fn splits_in(
        &self,
        source: &Path,
        subset: Option<&str>,
        columns: &Columns,
    ) -> Result<Vec<Split>> {
        match self {
            Dataset::Named(named) => named.splits_in(source),
            Dataset::Folder => folder::splits_in(source),
            Dataset::Table => table::splits_in(source, columns),
            Dataset::List if table::is_table(source)? => table::splits_in(source, columns),
            Dataset::List => list::splits_in(source),
            Dataset::Hf if source.is_dir() => hf::splits_in(source, subset),
            Dataset::WebDataset if source.is_dir() => webdataset::splits_in(source, subset),
            Dataset::Shards => shards::splits_in(&[source.to_owned()]),
            Dataset::Hf | Dataset::WebDataset => Ok(Vec::new()),
        }
    }

    /// Whether its long tail is chosen while it is read.
    fn is_cifar(&self) -> bool {
        let kind = match self {
            Dataset::Named(named) => named.spec.source,
            _ => return false,
        };
        matches!(kind, SourceKind::Cifar10 | SourceKind::Cifar100)
    }
}

/// What becomes of an image that the lists name more than once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Repeats {
    /// It is an error: the image could be trained on and tested with.
    #[default]
    Refused,
    /// It is said, and it becomes as many rows.
    Allowed,
}

/// Reads the source and chooses: hold-outs first, then the long tail of what is left to train on.
///
/// The lists are those of `options.splits`, in their order; no image is opened.
///
/// # Errors
/// When the source is bad or a folder of shards, names an image more than once, or has a split already that is to be held
/// out.
pub fn read_source(options: &BuildOptions, reporting: Reporting) -> Result<Source> {
    match options.dataset {
        Dataset::Shards => {}
        // Archives of datasets with a name are read as they come.
        Dataset::Named(_) => require_no_shards(&options.source)?,
        _ => {
            require_no_shards(&options.source)?;
            other_forms::refuse(&options.source)?;
        }
    }
    let made = options.made_splits();
    let there = options.splits_there()?;
    if let Some(split) = made.iter().find(|split| there.contains(split)) {
        return Err(Error::Source {
            path: options.source.clone(),
            reason: format!("it has a {split} split already"),
            hint: "hold out the other one (--holdout val=F or test=F), or build the training split first and hold out of it with build shards".to_owned(),
        });
    }
    let from_train = |split: &Split| *split == Split::Train || made.contains(split);
    let mut wanted: Vec<Split> = Vec::new();
    for split in &options.splits {
        let split = if from_train(split) {
            Split::Train
        } else {
            *split
        };
        if !wanted.contains(&split) {
            wanted.push(split);
        }
    }
    // Which classes are left must not depend on the splits that were asked for. What cannot be read (a test split without
    // labels) decides nothing.
    let mut all = [&wanted[..], &there[..]].concat();
    all.sort();
    all.dedup();
    let with_others = options.choice.may_empty_classes() && all.len() > wanted.len();
    let read_all = with_others.then(|| read_splits(options, &all, reporting));
    let mut source = match read_all {
        Some(Ok(source)) => source,
        _ => read_splits(options, &wanted, reporting)?,
    };
    for note in source.left_out.notes() {
        reporting.note(&format!("{}: {note}", options.source.display()));
    }
    let choice = &options.choice;
    choice.apply(&options.source, &mut source, &made, options.seed, reporting)?;
    source.splits.retain(|list| wanted.contains(&list.split));
    check_repeats(&source, options, reporting)?;
    let origin = options.source.display().to_string();
    source.class_names.require_no_twins(&origin)?;
    let num_classes = source.class_names.len();
    let train = source
        .splits
        .iter()
        .position(|list| list.split == Split::Train);
    if let Some(train) = train {
        let mut list = source.splits.remove(train);
        let (rest, made) = held_out(options, list, num_classes, reporting)?;
        list = rest;
        source.splits.extend(made);
        // CIFAR's choice was made while reading, by the reference code's generator.
        if !options.dataset.is_cifar() && !options.long_tail.keeps_all() {
            sampling::cut(
                &mut list,
                &source.class_names,
                &options.long_tail,
                options.seed,
            )?;
        }
        source.splits.push(list);
    }
    let place = |list: &SplitList| options.splits.iter().position(|split| *split == list.split);
    source.splits.retain(|list| place(list).is_some());
    source.splits.sort_by_key(place);
    for list in &mut source.splits {
        if options.dataset == Dataset::Shards {
            list.columns = list.columns.drop_many(shards::MEASURES);
            // What is stored is kept unless something else is said.
            if list.columns.width() == 0 && choice.keep == Keep::All {
                continue;
            }
        }
        choice.keep.select(list, &options.columns.as_written)?;
    }
    Ok(source)
}

/// What is left of the training list, and the splits that are made of it.
fn held_out(
    options: &BuildOptions,
    train: SplitList,
    num_classes: usize,
    reporting: Reporting,
) -> Result<(SplitList, Vec<SplitList>)> {
    let (holdout, seed) = (&options.holdout, options.seed);
    match (options.choice.fold, &options.choice.group_by) {
        (Some(fold), Some(column)) => fold.part_groups(train, column, seed, reporting),
        (Some(fold), None) => Ok(fold.part(train, num_classes, seed)),
        (None, _) if holdout.is_none() => Ok((train, Vec::new())),
        (None, Some(column)) => hold_out_groups(train, column, holdout, seed, reporting),
        (None, None) => Ok(sampling::hold_out(train, num_classes, holdout, seed)),
    }
}

impl BuildOptions {
    /// All folders that are read.
    pub fn sources(&self) -> Vec<PathBuf> {
        [&self.source]
            .into_iter()
            .chain(&self.merged)
            .cloned()
            .collect()
    }

    /// The splits that the source has.
    ///
    /// # Errors
    /// As [`Dataset::splits_in`].
    pub fn splits_there(&self) -> Result<Vec<Split>> {
        match self.dataset {
            Dataset::Shards => shards::splits_in(&self.sources()),
            _ => {
                let subset = self.subset.as_deref();
                self.dataset.splits_in(&self.source, subset, &self.columns)
            }
        }
    }

    /// The splits that are made of the training split.
    pub fn made_splits(&self) -> Vec<Split> {
        match self.choice.fold {
            Some(_) => vec![Split::Test],
            None => self.holdout.splits(),
        }
    }
}

/// Fails where an image is in a list twice, or in two lists.
fn check_repeats(source: &Source, options: &BuildOptions, reporting: Reporting) -> Result<()> {
    let found = duplicates::by_path(&source.splits, true, &source.class_names);
    if found.duplicates == 0 {
        return Ok(());
    }
    let pairs: Vec<String> = found.pairs.iter().take(SHOWN).map(repeat).collect();
    let more = match found.duplicates as usize - pairs.len() {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    let reason = format!(
        "listed more than once, images: {}\n  {}{more}",
        found.duplicates,
        pairs.join("\n  ")
    );
    match options.repeats {
        Repeats::Allowed => {
            reporting.note(&format!("{}: {reason}", options.source.display()));
            Ok(())
        }
        Repeats::Refused => Err(Error::Source {
            path: options.source.clone(),
            reason,
            hint:
                "take out all but one line of each, or take them as they are with --allow-repeats"
                    .to_owned(),
        }),
    }
}

/// `cat/a.jpg: in train (image 3), in test (image 0) with label 1 instead of 0`
fn repeat(pair: &DuplicatePair) -> String {
    let [first, again] = &pair.images;
    let labels = if first.label == again.label {
        String::new()
    } else {
        format!(" with label {} instead of {}", again.label, first.label)
    };
    format!(
        "{}: in {} (image {}), in {} (image {}){labels}",
        visible(&first.path),
        first.split,
        first.id,
        again.split,
        again.id
    )
}

fn read_splits(options: &BuildOptions, splits: &[Split], reporting: Reporting) -> Result<Source> {
    let names = options.class_names.clone();
    let (subset, reach) = (options.subset.as_deref(), options.reach);
    let (source, columns) = (&options.source, &options.columns);
    let read_table = |names| {
        let root = options.root.as_deref();
        table::read(source, splits, root, names, columns, reach)
    };
    match &options.dataset {
        Dataset::Named(named) => {
            let request = Request {
                source,
                splits,
                class_names: options.class_names.as_ref(),
                long_tail: &options.long_tail,
                seed: options.seed,
                max_bad: options.max_bad,
                reach,
            };
            named.read(request, reporting)
        }
        Dataset::Folder => folder::read(source, splits, names, reach),
        Dataset::Shards => shards::read(&options.sources(), splits, names),
        Dataset::Hf => hf::read(source, splits, names, columns, subset, reach),
        Dataset::WebDataset => webdataset::read(source, splits, names, columns, subset),
        Dataset::Table if !source.exists() || table::is_table(source)? => read_table(names),
        Dataset::Table => Err(Error::Source {
            path: source.clone(),
            reason: "it is no table, nor a folder with a table a split".to_owned(),
            hint: format!("tables end in {}", EXTENSIONS.join(", ")),
        }),
        Dataset::List if table::is_table(source)? => read_table(names),
        Dataset::List => list::read(source, splits, options.root.as_deref(), names, reach),
    }
}
