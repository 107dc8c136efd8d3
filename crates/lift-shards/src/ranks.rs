//! Which class belongs to which family, order, ...: from a `categories.json` as iNaturalist 2018 has it.
//!
//! It knows ranks, not prompts. Invariant: a rank of a class is given only where all entries of that
//! class agree on it, so a class at family level has an order and no genus.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use lift_files::Purpose;
use serde::Deserialize;

use crate::classes::ClassNames;

/// The ranks above a species, from the top.
pub const RANKS: [&str; 6] = ["kingdom", "phylum", "class", "order", "family", "genus"];

/// The ranks of each class, in label order.
#[derive(Clone, Debug)]
pub struct Ranks(Vec<BTreeMap<&'static str, String>>);

#[derive(Deserialize)]
struct Category {
    name: String,
    #[serde(flatten)]
    ranks: HashMap<String, serde_json::Value>,
}

impl Ranks {
    /// Reads a list of objects with `name` and ranks, for classes that are names or values of a rank.
    ///
    /// # Errors
    /// When the file cannot be read, is no such list, or does not know one of the classes.
    pub fn read(path: &Path, classes: &ClassNames) -> Result<Self, String> {
        let text = lift_files::text(path, Purpose::Names)
            .map_err(|err| format!("{}: {err}", path.display()))?;
        Self::of_json(&text, classes).map_err(|reason| format!("{}: {reason}", path.display()))
    }

    /// As [`Ranks::read`], from the file's text.
    ///
    /// # Errors
    /// When it is no such list, or does not know one of the classes.
    pub fn of_json(json: &str, classes: &ClassNames) -> Result<Self, String> {
        let categories: Vec<Category> =
            serde_json::from_str(json).map_err(|err| format!("no taxonomy: {err}"))?;
        let mut found: HashMap<&str, BTreeMap<&'static str, Option<&str>>> = HashMap::new();
        for category in &categories {
            let value = |rank: &str| category.ranks.get(rank).and_then(|value| value.as_str());
            let names = RANKS.iter().filter_map(|rank| value(rank));
            for name in names.chain([category.name.as_str()]) {
                let ranks = found.entry(name).or_default();
                for rank in RANKS {
                    let here = value(rank).filter(|&value| value != name);
                    let agreed = ranks.entry(rank).or_insert(here);
                    if *agreed != here {
                        *agreed = None;
                    }
                }
            }
        }
        let ranks_of = |(label, name): (usize, &String)| {
            let ranks = found
                .get(name.as_str())
                .or_else(|| found.get(name.replace('_', " ").as_str()))
                .ok_or_else(|| format!("it does not know class {label} ({name})"))?;
            let known = ranks
                .iter()
                .filter_map(|(&rank, value)| Some((rank, (*value)?.to_owned())));
            Ok(known.collect())
        };
        let all = classes.as_slice().iter().enumerate().map(ranks_of);
        Ok(Self(all.collect::<Result<_, String>>()?))
    }

    /// The value of a rank for the class `label`, where it is known and the same for all of the class.
    pub fn rank(&self, label: usize, rank: &str) -> Option<&str> {
        self.0.get(label)?.get(rank).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"[
        {"id": 0, "name": "Apis mellifera", "genus": "Apis", "family": "Apidae", "class": "Insecta"},
        {"id": 1, "name": "Bombus terrestris", "genus": "Bombus", "family": "Apidae", "class": "Insecta"},
        {"id": 2, "name": "Vespa crabro", "genus": "Vespa", "family": "Vespidae", "class": "Insecta"}
    ]"#;

    fn classes(names: &[&str]) -> ClassNames {
        ClassNames::new(names.iter().map(|&name| name.into()).collect()).unwrap()
    }

    #[test]
    fn species_and_families_have_the_ranks_above_them() {
        let species = Ranks::of_json(JSON, &classes(&["Vespa_crabro", "Apis mellifera"])).unwrap();
        assert_eq!(species.rank(0, "family"), Some("Vespidae"));
        assert_eq!(species.rank(1, "genus"), Some("Apis"));
        assert_eq!(species.rank(1, "order"), None);
        let families = Ranks::of_json(JSON, &classes(&["Apidae", "Vespidae"])).unwrap();
        assert_eq!(families.rank(0, "class"), Some("Insecta"));
        assert_eq!(families.rank(0, "genus"), None, "Apis and Bombus");
        assert_eq!(families.rank(0, "family"), None, "that is the class itself");
    }

    #[test]
    fn an_unknown_class_is_named() {
        let err = Ranks::of_json(JSON, &classes(&["Apidae", "Felidae"])).unwrap_err();
        assert_eq!(err, "it does not know class 1 (Felidae)");
        assert!(Ranks::of_json("{}", &classes(&["a"])).is_err());
    }
}
