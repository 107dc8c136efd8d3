//! Prompts from files: a list of templates, or descriptors of each class.
//!
//! Invariant: what a file says is used whole or refused; an entry for a class that is not there, or a
//! class without an entry, is an error that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use lift_files::Purpose;
use lift_shards::classes::ClassNames;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::prompts::Template;

/// Reads one template a line; blank lines and lines that begin with `#` are passed over.
///
/// # Errors
/// When the file cannot be read, a line is no template, or there is none.
pub fn read_templates(path: &Path) -> Result<Vec<Template>, String> {
    let shown = path.display();
    let text = lift_files::text(path, Purpose::Names).map_err(|err| format!("{shown}: {err}"))?;
    let lines = text.lines().enumerate();
    let templates = lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let template = line.trim().parse::<Template>();
            template.map_err(|reason| format!("{shown}:{}: {reason}", number + 1))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if templates.is_empty() {
        Err(format!("{shown}: there is no template in it"))
    } else {
        Ok(templates)
    }
}

/// Reads a JSON object, class name -> list of texts, into the classes' order. A text is encoded as it
/// stands; where it has `{}` the class name goes there, with blanks for underscores.
///
/// # Errors
/// When the file cannot be read or is no such object, or its classes are not `classes`.
pub fn read_descriptors(path: &Path, classes: &ClassNames) -> Result<Vec<Vec<String>>, String> {
    let shown = path.display();
    let text = lift_files::text(path, Purpose::Names).map_err(|err| format!("{shown}: {err}"))?;
    let Texts(of_class) = serde_json::from_str(&text)
        .map_err(|err| format!("{shown}: not a list of texts for each class: {err}"))?;
    // Several classes may bear one name, as two of ImageNet's do.
    let texts_of = |(label, name): (usize, &String)| match of_class.get(name) {
        Some(texts) if !texts.is_empty() => {
            let plain = name.replace('_', " ");
            let fill = |text: &String| text.replace("{}", &plain);
            Ok(texts.iter().map(fill).collect())
        }
        _ => Err(format!(
            "{shown}: there is no text for class {label} ({name})"
        )),
    };
    let texts = classes.as_slice().iter().enumerate().map(texts_of);
    let texts = texts.collect::<Result<_, String>>()?;
    let names: BTreeSet<&String> = classes.as_slice().iter().collect();
    match of_class.keys().find(|name| !names.contains(name)) {
        Some(name) => Err(format!("{shown}: {name:?} is not among the class names")),
        None => Ok(texts),
    }
}

/// The texts of each class, none of which has two entries.
struct Texts(BTreeMap<String, Vec<String>>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(OncePerClass)
    }
}

/// A map would keep the last of two entries in silence.
struct OncePerClass;

impl<'de> Visitor<'de> for OncePerClass {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, class name -> list of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Texts, A::Error> {
        let mut of_class = BTreeMap::new();
        while let Some(name) = entries.next_key::<String>()? {
            if of_class.contains_key(&name) {
                return Err(A::Error::custom(format!("{name:?} is there twice")));
            }
            let texts: Vec<String> = entries.next_value()?;
            of_class.insert(name, texts);
        }
        Ok(Texts(of_class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_list_of_templates_may_have_comments() {
        let good = file("# two\na photo of a {}.\n\n  a sketch of a {}\r\n");
        let templates = read_templates(good.path()).unwrap();
        let texts: Vec<_> = templates.iter().map(Template::as_str).collect();
        assert_eq!(texts, ["a photo of a {}.", "a sketch of a {}"]);
        let err = read_templates(file("{}\nno place\n").path()).unwrap_err();
        assert!(err.contains(":2: a template needs {} once"), "{err}");
        let err = read_templates(file("# none\n").path()).unwrap_err();
        assert!(err.ends_with("there is no template in it"), "{err}");
    }

    #[test]
    fn descriptors_are_those_of_the_classes_and_no_others() {
        let names = ["red_star", "ring", "ring"].map(String::from);
        let classes = ClassNames::new(names.into()).unwrap();
        let read = |text: &str| read_descriptors(file(text).path(), &classes);
        let texts = read(r#"{"ring": ["a hole"], "red_star": ["{}, pointed", "red"]}"#).unwrap();
        let hole = || vec!["a hole"];
        assert_eq!(texts, [vec!["red star, pointed", "red"], hole(), hole()]);
        for (text, message) in [
            (r#"{"ring": ["a hole"]}"#, "no text for class 0 (red_star)"),
            (
                r#"{"ring": [], "red_star": ["a"]}"#,
                "no text for class 1 (ring)",
            ),
            (
                r#"{"ring": ["a"], "red_star": ["a"], "x": ["a"]}"#,
                "\"x\" is not among",
            ),
            (
                r#"{"ring": "a hole"}"#,
                "not a list of texts for each class",
            ),
            (
                "{\"ring\": [\"a\"],\n\"ring\": [\"b\"]}",
                "\"ring\" is there twice at line 2 column 6",
            ),
        ] {
            let err = read(text).unwrap_err();
            assert!(err.contains(message), "{err}");
        }
    }
}
