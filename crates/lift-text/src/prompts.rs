//! Prompts: what is said of a class, in one text or many.
//!
//! Templates are filled with a class's name and its taxonomic ranks; descriptors are texts of its own.
//! It encodes nothing. Invariant: every class has at least one text.

use std::str::FromStr;

use lift_page::number::plain;
use lift_shards::{
    classes::ClassNames,
    ranks::{RANKS, Ranks},
};

/// A text with one `{}` where the class name goes, and ranks such as `{family}` where wanted.
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

    /// The ranks that it names.
    fn ranks(&self) -> impl Iterator<Item = &'static str> {
        let named = |rank: &&str| self.0.contains(&format!("{{{rank}}}"));
        RANKS.into_iter().filter(named)
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
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('{') {
            let (field, after) = after
                .split_once('}')
                .ok_or_else(|| format!("{text:?} has a {{ without its }}"))?;
            if !field.is_empty() && !RANKS.contains(&field) {
                return Err(format!(
                    "{text:?} has {{{field}}}; what can be filled in is {{}} and {{{}}}",
                    RANKS.join("}, {")
                ));
            }
            rest = after;
        }
        match text.matches("{}").count() {
            1 => Ok(Self(text.into())),
            n => Err(format!(
                "a template needs {{}} once, where the class name goes; {text:?} has it {n} times"
            )),
        }
    }
}

/// The texts of all classes.
#[derive(Clone, Debug)]
pub enum Prompts {
    /// Each template for each class; several are ensembled (Radford et al. 2021, section 3.1.4).
    Templates {
        /// At least one.
        templates: Vec<Template>,
        /// Where templates name ranks.
        taxonomy: Option<Ranks>,
    },
    /// Texts of each class in label order, ensembled.
    Descriptors(Vec<Vec<String>>),
}

impl Default for Prompts {
    /// The paper's single prompt.
    fn default() -> Self {
        Self::Templates {
            templates: vec![Template::default()],
            taxonomy: None,
        }
    }
}

impl Prompts {
    /// Templates for classes whose ranks, where a template names them, are in `taxonomy`.
    ///
    /// # Errors
    /// When there is no template, or a rank is named that is not known of some class.
    pub fn templates(
        templates: Vec<Template>,
        taxonomy: Option<Ranks>,
        classes: &ClassNames,
    ) -> Result<Self, String> {
        if templates.is_empty() {
            return Err("there is no template".into());
        }
        for template in &templates {
            for rank in template.ranks() {
                let Some(taxonomy) = &taxonomy else {
                    let text = template.as_str();
                    return Err(format!(
                        "{text:?} names {{{rank}}}\nhint: --taxonomy categories.json says which class has which"
                    ));
                };
                let label = (0..classes.len()).find(|&label| taxonomy.rank(label, rank).is_none());
                if let Some(label) = label {
                    let name = &classes.as_slice()[label];
                    return Err(format!(
                        "the taxonomy knows no {rank} of class {label} ({name})"
                    ));
                }
            }
        }
        Ok(Self::Templates {
            templates,
            taxonomy,
        })
    }

    /// The texts of the class `label`, called `name`.
    pub fn texts(&self, label: usize, name: &str) -> Vec<String> {
        match self {
            Self::Descriptors(texts) => texts[label].clone(),
            Self::Templates {
                templates,
                taxonomy,
            } => {
                let fill = |template: &Template| {
                    let mut text = template.fill(name);
                    for rank in template.ranks() {
                        let taxonomy = taxonomy.as_ref();
                        let value = taxonomy.and_then(|taxonomy| taxonomy.rank(label, rank));
                        text = text.replace(&format!("{{{rank}}}"), value.unwrap_or_default());
                    }
                    text
                };
                templates.iter().map(fill).collect()
            }
        }
    }

    /// Texts of `num_classes` classes in all.
    pub fn count(&self, num_classes: usize) -> usize {
        match self {
            Self::Templates { templates, .. } => templates.len() * num_classes,
            Self::Descriptors(texts) => texts.iter().map(Vec::len).sum(),
        }
    }

    /// A line for reports: the template, or how many there are and how they begin.
    pub fn summary(&self) -> String {
        match self {
            Self::Templates { templates, .. } => match templates.as_slice() {
                [one] => one.as_str().to_owned(),
                many => format!("{} templates: {}, ...", many.len(), many[0].as_str()),
            },
            Self::Descriptors(texts) => {
                let all: usize = texts.iter().map(Vec::len).sum();
                let classes = plain(texts.len() as u64, "class");
                format!("{} of {classes}", plain(all as u64, "descriptor"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_filled_in_with_blanks_for_underscores() {
        let filled = Template::default().fill("great_white_shark");
        assert_eq!(filled, "a photo of a great white shark.");
        let filled = template("{}, a kind of shape").fill("red star");
        assert_eq!(filled, "red star, a kind of shape");
        assert_eq!(template("{}").fill("red_star"), "red star");
    }

    #[test]
    fn templates_that_cannot_be_filled_are_refused() {
        for (text, message) in [
            ("a photo", "0 times"),
            ("{} and {}", "2 times"),
            (
                "{} {familiy}",
                "has {familiy}; what can be filled in is {} and {kingdom}",
            ),
            ("a {photo", "has a { without its }"),
        ] {
            let err = text.parse::<Template>().unwrap_err();
            assert!(err.contains(message), "{err}");
        }
    }

    #[test]
    fn ranks_come_from_the_taxonomy() {
        let classes = ClassNames::new(vec!["Apis mellifera".into()]).unwrap();
        let templates = || vec![template("{}, a bee of {family}"), template("{}")];
        let err = Prompts::templates(templates(), None, &classes).unwrap_err();
        assert!(err.contains("names {family}"), "{err}");
        let taxonomy = Ranks::of_json(
            r#"[{"id": 0, "name": "Apis mellifera", "family": "Apidae"}]"#,
            &classes,
        )
        .unwrap();
        let prompts = Prompts::templates(templates(), Some(taxonomy), &classes).unwrap();
        assert_eq!(
            prompts.texts(0, "Apis mellifera"),
            ["Apis mellifera, a bee of Apidae", "Apis mellifera"]
        );
        assert_eq!(prompts.count(1), 2);
        assert_eq!(prompts.summary(), "2 templates: {}, a bee of {family}, ...");
    }
}
