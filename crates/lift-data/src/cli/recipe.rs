//! The `[data]` table of a recipe, and flags before it.

use std::path::Path;

use lift_files::Purpose;
use serde::Deserialize;

use lift_data::Error;

use super::data_table::DataTable;
use super::no_effect;

/// The part of a recipe that this program reads; other tables belong to other programs.
#[derive(Debug, Deserialize)]
struct Recipe {
    data: Option<DataTable>,
}

pub(super) fn read_recipe(path: &Path) -> Result<DataTable, Error> {
    let bad = |reason: String| Error::Config {
        path: path.to_owned(),
        reason,
    };
    let text = lift_files::text(path, Purpose::Settings).map_err(lift_shards::Error::read(path))?;
    let recipe: Recipe = toml::from_str(&text).map_err(|err| {
        let line = err
            .span()
            .map(|span| 1 + text[..span.start].matches('\n').count());
        let place = line
            .map(|line| format!("line {line}: "))
            .unwrap_or_default();
        bad(format!("{place}{}", err.message()))
    })?;
    recipe
        .data
        .ok_or_else(|| bad("there is no [data] table".to_owned()))
}

/// All fields of a table: what `$typed` says, or else `$recipe`; a flag is set by either.
macro_rules! first_of {
    ($typed:ident, $recipe:ident; options: $($option:ident),*; flags: $($flag:ident),*; lists: $($list:ident),*) => {
        DataTable {
            $($option: $typed.$option.or($recipe.$option),)*
            $($flag: $typed.$flag || $recipe.$flag,)*
            $($list: if $typed.$list.is_empty() { $recipe.$list } else { $typed.$list },)*
        }
    };
}

impl DataTable {
    /// `self` where it says something, `recipe` elsewhere.
    pub(super) fn over(self, mut recipe: Self) -> Self {
        no_effect::drop_overridden(&self, &mut recipe);
        first_of!(self, recipe;
            options:
            dataset, dataset_file, out, split, encoding, quality, subsampling, short_side, orientation,
            damaged, max_pixels, check, threads, seed, imbalance_ratio, profile, pareto_power, max_per_class,
            min_per_class, holdout, bands, path_column, label_column, split_column, keep_columns, condition,
            join, on, exclude, limit, group_by, folds, fold, image_column, root, lists, list_url, taxonomy,
            subset, classnames, max_bad, shard_mib, order;
            flags: enlarge, exact, download, any_list, follow_outside, allow_repeats;
            lists: source
        )
    }
}
