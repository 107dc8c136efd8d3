//! On which split something may be chosen: one that the model was not trained on and is not judged on.

use lift_shards::Split;

use crate::error::{Error, Result};

/// Refuses a split that nothing is to be chosen on, unless `any` is; `flag` is what named it.
///
/// # Errors
/// Says why, and what to do.
pub(super) fn require_choosable(split: Split, any: bool, flag: &str) -> Result<()> {
    let reason = match split {
        _ if any => return Ok(()),
        Split::Val => return Ok(()),
        Split::Test => {
            "what is chosen on the images that a model is judged on looks better there than it is"
        }
        Split::Train => "a model knows the images that it was trained on, and is too sure of them",
    };
    Err(Error::Usage(format!(
        "{flag} {split}: {reason}\nhint: choose on val; `lift-data build --holdout` makes one, or go on with --i-know"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_and_training_images_are_not_chosen_on() {
        require_choosable(Split::Val, false, "--split").unwrap();
        for split in [Split::Test, Split::Train] {
            require_choosable(split, true, "--split").unwrap();
            let said = require_choosable(split, false, "--split").unwrap_err();
            let said = said.to_string();
            assert!(said.starts_with(&format!("--split {split}: ")), "{said}");
            assert!(said.contains("--i-know"), "{said}");
        }
    }
}
