//! Which of a source's images are taken, before hold-outs and the long tail: conditions, joins, exclusions, limits.
//!
//! What is known of the images is one frame (path, label, class, split, and what tables say besides) while it is
//! asked; image bytes are never in it. Invariant: what is kept stays in the source's order, and the same source,
//! choice and seed keep the same images.

mod columns;
mod condition;
mod exclude;
mod folds;
mod groups;
mod join;
mod limit;

use std::path::{Path, PathBuf};

use lift_page::number::{counted, grouped};
use lift_page::progress::Reporting;
use lift_shards::manifest::{Chosen, ChosenFile};
use lift_shards::split::Split;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::source::{Others, Source};

pub(crate) use columns::{as_arrow, stacked};
pub use folds::Fold;
pub(crate) use groups::hold_out_groups;

/// What is taken of a source; the default takes all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// An SQL condition that an image must fulfil.
    pub condition: Option<String>,
    /// A table that says more of the images.
    pub join: Option<Join>,
    /// A table of images that are not taken.
    pub exclude: Option<PathBuf>,
    /// The most images that a split has.
    pub limit: Option<u64>,
    /// The column whose values hold-outs and folds do not part.
    pub group_by: Option<String>,
    /// The part of the training split that becomes the test split.
    pub fold: Option<Fold>,
    /// The columns of tables that go into the shards.
    pub keep: Keep,
}

/// A table that is joined.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// Its file.
    pub file: PathBuf,
    /// What the images have that it has too: `path`, or another column.
    pub ours: String,
    /// What the table calls it.
    pub theirs: String,
}

/// Which columns of tables go into the shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Keep {
    /// None.
    #[default]
    Nothing,
    /// All that the tables have.
    All,
    /// These.
    Named(Vec<String>),
}

impl Choice {
    /// The columns that must be read of a source's table for this choice.
    pub fn others(&self) -> Others {
        let keep = match &self.keep {
            Keep::All => return Others::All,
            Keep::Nothing => &[][..],
            Keep::Named(names) => names,
        };
        let ours = self.join.as_ref().map(|join| &join.ours);
        let texts = [self.condition.as_ref(), self.group_by.as_ref(), ours];
        let texts = texts.into_iter().flatten().chain(keep);
        // `table_label` is what the table calls `label`.
        let texts = texts.flat_map(|text| [text.clone(), text.replace("table_", "")]);
        Others::NamedIn(texts.collect())
    }

    /// The columns whose values are compared as names, unless a condition reckons with them.
    pub fn names(&self) -> Vec<String> {
        let names = [
            self.group_by.as_ref(),
            self.join.as_ref().map(|join| &join.ours),
        ];
        let reckoned = |name: &str| {
            self.condition
                .as_ref()
                .is_some_and(|sql| sql.contains(name))
        };
        let names = names.into_iter().flatten().filter(|name| !reckoned(name));
        names.cloned().collect()
    }

    /// Whether a class may lose all of its images.
    pub(crate) fn may_empty_classes(&self) -> bool {
        self.condition.is_some() || self.exclude.is_some()
    }

    /// Whether images are left out by what is known of them.
    fn leaves_out(&self) -> bool {
        self.condition.is_some() || self.exclude.is_some() || self.limit.is_some()
    }

    /// What a manifest says of the choice; `None` where all is taken.
    ///
    /// # Errors
    /// When a file of it cannot be read.
    pub fn chosen(&self) -> Result<Option<Chosen>> {
        let join = self.join.as_ref();
        let join = join.map(|join| chosen_file(&join.file, Some(on(join))));
        let exclude = self.exclude.as_ref().map(|file| chosen_file(file, None));
        let chosen = Chosen {
            condition: self.condition.clone(),
            join: join.transpose()?,
            exclude: exclude.transpose()?,
            limit: self.limit,
            group_by: self.group_by.clone(),
            fold: self.fold.map(|fold| fold.to_string()),
        };
        Ok((chosen != Chosen::default()).then_some(chosen))
    }

    /// Leaves out of `source` what is not chosen, and adds what a joined table says.
    ///
    /// # Errors
    /// When the condition cannot be asked, a file cannot be read, or nothing is left.
    pub(crate) fn apply(
        &self,
        path: &Path,
        source: &mut Source,
        made: &[Split],
        seed: u32,
        reporting: Reporting,
    ) -> Result<()> {
        if let Some(join) = &self.join {
            join::join(path, source, join, reporting)?;
        }
        if !self.leaves_out() {
            return Ok(());
        }
        let before = images(source);
        if let Some(condition) = &self.condition {
            condition::keep(source, condition)?;
        }
        if let Some(file) = &self.exclude {
            exclude::leave_out(path, source, file, made, reporting)?;
        }
        if let Some(limit) = self.limit {
            limit::limit(source, limit, seed)?;
        }
        for list in &mut source.splits {
            list.imbalance_ratio = None;
        }
        let dropped = source.drop_empty_classes()?;
        let left = images(source);
        if left == 0 {
            return Err(Error::Setting {
                reason: format!("none of {} is left", counted(before, "image")),
                hint: "check --where, --exclude and --limit; `lift-data query` shows what a table holds"
                    .to_owned(),
            });
        }
        let (left, before) = (grouped(left), counted(before, "image"));
        let mut note = format!("{left} of {before} chosen");
        if !dropped.is_empty() {
            let shown: Vec<String> = dropped
                .iter()
                .take(5)
                .map(|name| format!("`{name}`"))
                .collect();
            let more = match dropped.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let classes = counted(dropped.len() as u64, "class");
            note += &format!(
                "; without images, and left out: {classes} ({}{more})",
                shown.join(", ")
            );
        }
        reporting.note(&format!("{}: {note}", path.display()));
        Ok(())
    }
}

fn images(source: &Source) -> u64 {
    source
        .splits
        .iter()
        .map(|list| list.items.len() as u64)
        .sum()
}

fn on(join: &Join) -> String {
    if join.ours == join.theirs {
        join.ours.clone()
    } else {
        format!("{}={}", join.ours, join.theirs)
    }
}

fn chosen_file(file: &Path, on: Option<String>) -> Result<ChosenFile> {
    let mut opened = lift_files::open(file).map_err(Error::read(file))?;
    let mut sha = Sha256::new();
    std::io::copy(&mut opened, &mut sha).map_err(Error::read(file))?;
    let name = file.file_name().unwrap_or_default();
    Ok(ChosenFile {
        file: name.to_string_lossy().into_owned(),
        sha256: sha
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        on,
    })
}

/// The paths by which others may name the images of a split: below the split's folder, and below the source.
fn prefix_below(source: &Path, root: &Path) -> Option<String> {
    let below = root.strip_prefix(source).ok()?.to_str()?;
    (!below.is_empty()).then(|| format!("{below}/"))
}
