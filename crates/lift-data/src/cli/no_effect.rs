//! Settings that would change nothing beside others: refused, so that nobody believes that they were obeyed.
//!
//! Invariant: what is typed is refused; of a recipe, what a typed flag makes void goes with what the flag replaces.

use lift_shards::Encoding;

use super::CliError;
use super::data_table::DataTable;

/// Fails at the first setting that is given, where `beside` leaves it without effect.
pub(super) fn refuse_first(settings: &[(&str, bool)], beside: &str) -> Result<(), CliError> {
    match settings.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(CliError::Usage(format!("{flag} has no effect {beside}"))),
        None => Ok(()),
    }
}

/// Fails where a setting of how images are stored has no effect on images that are stored so.
pub(super) fn refuse(table: &DataTable) -> Result<(), CliError> {
    let encoding = table.encoding.unwrap_or(Encoding::Rgb8);
    let beside = match encoding {
        Encoding::Rgb8 => "with --encoding rgb8",
        Encoding::Jpeg => "with --encoding jpeg",
        Encoding::Png => "with --encoding png",
        Encoding::Original => "with --encoding original, which keeps files as they are",
    };
    if encoding != Encoding::Jpeg {
        let of_jpeg = [
            ("--quality", table.quality.is_some()),
            ("--subsampling", table.subsampling.is_some()),
        ];
        refuse_first(&of_jpeg, beside)?;
    }
    let of_sizes = [("--enlarge", table.enlarge), ("--exact", table.exact)];
    match encoding {
        Encoding::Original => {
            // To keep sizes is what it does.
            let resizes = table.short_side.is_some_and(|side| side > 0);
            refuse_first(&[("--short-side", resizes)], beside)?;
            refuse_first(&of_sizes, beside)
        }
        Encoding::Rgb8 | Encoding::Jpeg | Encoding::Png => {
            refuse_first(&[("--check", table.check.is_some())], beside)?;
            match table.short_side {
                Some(0) => refuse_first(&of_sizes, "with --short-side 0, which keeps sizes"),
                _ => Ok(()),
            }
        }
    }
}

/// Takes out of a recipe what only another encoding or size than the typed one has.
pub(super) fn drop_overridden(typed: &DataTable, recipe: &mut DataTable) {
    if let Some(encoding) = typed.encoding
        && recipe.encoding.unwrap_or(Encoding::Rgb8) != encoding
    {
        if encoding != Encoding::Jpeg {
            recipe.quality = None;
            recipe.subsampling = None;
        }
        match encoding {
            Encoding::Original => {
                recipe.short_side = None;
                recipe.enlarge = false;
                recipe.exact = false;
            }
            Encoding::Rgb8 | Encoding::Jpeg | Encoding::Png => recipe.check = None,
        }
    }
    if typed.short_side == Some(0) {
        recipe.enlarge = false;
        recipe.exact = false;
    }
}
