//! Prompts: a template and a class name.

use std::str::FromStr;

/// A text with one `{}` where the class name goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// The prompt of a class: underscores of the name become blanks, as in the authors' code.
    pub fn fill(&self, class_name: &str) -> String {
        self.0.replace("{}", &class_name.replace('_', " "))
    }

    /// The template as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Template {
    /// `a photo of a {}.`, the paper's single prompt.
    fn default() -> Self {
        Self("a photo of a {}.".into())
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.matches("{}").count() {
            1 => Ok(Self(text.into())),
            n => Err(format!(
                "a template needs {{}} once, where the class name goes; {text:?} has it {n} times"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_with_blanks_for_underscores() {
        assert_eq!(
            Template::default().fill("great_white_shark"),
            "a photo of a great white shark."
        );
        assert_eq!(
            "{}, a kind of shape"
                .parse::<Template>()
                .unwrap()
                .fill("red star"),
            "red star, a kind of shape"
        );
    }

    #[test]
    fn a_template_without_a_place_for_the_name_is_refused() {
        assert!(
            "a photo"
                .parse::<Template>()
                .unwrap_err()
                .contains("0 times")
        );
        assert!(
            "{} and {}"
                .parse::<Template>()
                .unwrap_err()
                .contains("2 times")
        );
    }
}
