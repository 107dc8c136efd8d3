//! Class names of datasets with lists: from the paths' folders, a file of names, or a taxonomy.
//!
//! It knows no dataset. Invariant: name and label belong together: names that repeat the lists' folders
//! are put into the order of the lists' labels, and the number of names is that of the classes.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;

use super::SplitList;
use crate::classes::ClassNames;
use crate::dataset::Taxonomy;
use crate::error::{Error, Result};

/// The folder that holds each class's images, in label order.
///
/// A label without an image or with images in several folders is an error.
pub fn folders(lists: &[SplitList], num_classes: usize) -> Result<Vec<String>> {
    let mut folders: Vec<Option<&str>> = vec![None; num_classes];
    let wrong = |list: &SplitList, reason: String| Error::Source {
        path: list.root.clone(),
        reason: format!(
            "the folders in the {} list cannot name the classes: {reason}",
            list.split
        ),
        hint: "give the names with --classnames FILE, one a line in label order".to_owned(),
    };
    for list in lists {
        for item in &list.items {
            let mut parts = item.path.rsplit('/');
            let Some(folder) = parts.nth(1) else {
                return Err(wrong(list, format!("{} is in none", item.path)));
            };
            let known = folders[item.label as usize].get_or_insert(folder);
            if *known != folder {
                let label = item.label;
                return Err(wrong(
                    list,
                    format!("label {label} is in {known} and in {folder}"),
                ));
            }
        }
    }
    let empty = folders.iter().position(Option::is_none);
    match (empty, lists.first()) {
        (Some(label), Some(list)) => Err(wrong(list, format!("label {label} has no image"))),
        _ => Ok(folders.into_iter().flatten().map(str::to_owned).collect()),
    }
}

/// `names` as they belong to classes whose images lie in `folders`.
///
/// Two habits are known: a line that starts with its class's folder (`n01440764 tench`), whose folder
/// decides the label, and names that are the folders themselves. Names that are the folders in another
/// order would name wrong classes: they are put into the order of the labels, which the second value
/// tells.
pub fn aligned(names: ClassNames, folders: &[String]) -> Result<(ClassNames, bool)> {
    let label_of: HashMap<&str, usize> = folders.iter().map(String::as_str).zip(0..).collect();
    let mut by_label: Vec<Option<String>> = vec![None; folders.len()];
    let mut moved = false;
    for (line, name) in names.as_slice().iter().enumerate() {
        let (folder, rest) = match name.split_once([' ', '\t']) {
            Some((folder, rest)) if label_of.contains_key(folder) => (folder, rest.trim()),
            _ => (name.as_str(), name.as_str()),
        };
        let Some(&label) = label_of.get(folder) else {
            return Ok((names, false));
        };
        moved |= label != line;
        by_label[label] = Some(rest.to_owned());
    }
    match by_label.into_iter().collect::<Option<Vec<_>>>() {
        Some(in_order) => Ok((ClassNames::new(in_order)?, moved)),
        None => Ok((names, false)),
    }
}

/// Class names at a level of the taxonomy, and which class each of the list's labels belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Class names: sorted, or by the list's labels for [`Taxonomy::Species`].
    pub class_names: ClassNames,
    /// The class of each label of the list.
    pub label_of: Vec<u32>,
}

#[derive(Debug, Deserialize)]
struct Category {
    id: usize,
    name: String,
    kingdom: String,
    phylum: String,
    class: String,
    order: String,
    family: String,
    genus: String,
}

impl Category {
    fn at(&self, level: Taxonomy) -> &str {
        match level {
            Taxonomy::Kingdom => &self.kingdom,
            Taxonomy::Phylum => &self.phylum,
            Taxonomy::Class => &self.class,
            Taxonomy::Order => &self.order,
            Taxonomy::Family => &self.family,
            Taxonomy::Genus => &self.genus,
            Taxonomy::Species => &self.name,
        }
    }
}

/// Reads `categories.json` (a list of objects with `id`, `name` and the levels) at `level`.
pub fn categories(path: &Path, bytes: &[u8], level: Taxonomy) -> Result<Level> {
    let wrong = |reason: String| {
        Error::Source {
        path: path.to_owned(),
        reason,
        hint: "it is a JSON list of objects with id (0, 1, ..), name, kingdom, phylum, class, order, family and genus".to_owned(),
    }
    };
    let mut list: Vec<Category> =
        serde_json::from_slice(bytes).map_err(|err| wrong(err.to_string()))?;
    list.sort_by_key(|category| category.id);
    if let Some((place, category)) = list.iter().enumerate().find(|(i, c)| c.id != *i) {
        let id = category.id;
        return Err(wrong(format!("id {id} is where id {place} should be")));
    }
    let origin = path.display().to_string();
    if level == Taxonomy::Species {
        let label_of = (0..list.len() as u32).collect();
        let names = list.into_iter().map(|category| category.name).collect();
        return Ok(Level {
            class_names: ClassNames::with_origin(names, &origin)?,
            label_of,
        });
    }
    let names: BTreeSet<&str> = list.iter().map(|category| category.at(level)).collect();
    let label: HashMap<&str, u32> = names.iter().copied().zip(0..).collect();
    let label_of = list
        .iter()
        .map(|category| label[category.at(level)])
        .collect();
    let names = names.into_iter().map(str::to_owned).collect();
    Ok(Level {
        class_names: ClassNames::with_origin(names, &origin)?,
        label_of,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> ClassNames {
        ClassNames::new(list.iter().map(|&name| name.to_owned()).collect()).unwrap()
    }

    #[test]
    fn names_follow_the_folders_of_the_labels() {
        let folders = ["desert_road", "desert-sand", "airfield"].map(str::to_owned);
        let aligned = |list: &[&str]| aligned(names(list), &folders).unwrap();
        let (order, moved) = aligned(&["airfield", "desert-sand", "desert_road"]);
        assert_eq!(order.as_slice(), folders);
        assert!(moved);
        let (order, moved) =
            aligned(&["desert_road a road", "desert-sand sand", "airfield a field"]);
        assert_eq!(order.as_slice(), ["a road", "sand", "a field"]);
        assert!(!moved);
        // Other names are the user's own, in label order.
        let own = ["road", "sand", "field"];
        assert_eq!(aligned(&own), (names(&own), false));
        let half = ["desert_road", "desert-sand", "field"];
        assert_eq!(aligned(&half), (names(&half), false));
    }

    #[test]
    fn levels_are_sorted_and_species_are_not() {
        let category = |id, name: &str, kingdom: &str| {
            serde_json::json!({"id": id, "name": name, "kingdom": kingdom, "phylum": "p", "class": "c",
                "order": "o", "family": "f", "genus": "g", "supercategory": "s"})
        };
        let json = serde_json::json!([
            category(1, "ant", "Animalia"),
            category(0, "yew", "Plantae"),
            category(2, "bee", "Animalia"),
        ]);
        let read = |level| categories(Path::new("c.json"), json.to_string().as_bytes(), level);
        let kingdom = read(Taxonomy::Kingdom).unwrap();
        assert_eq!(kingdom.class_names, names(&["Animalia", "Plantae"]));
        assert_eq!(kingdom.label_of, [1, 0, 0]);
        let species = read(Taxonomy::Species).unwrap();
        assert_eq!(species.class_names, names(&["yew", "ant", "bee"]));
        assert_eq!(species.label_of, [0, 1, 2]);
        let gap = serde_json::json!([category(0, "yew", "P"), category(2, "ant", "A")]).to_string();
        let err = categories(Path::new("c.json"), gap.as_bytes(), Taxonomy::Species).unwrap_err();
        assert!(
            err.to_string().contains("id 2 is where id 1 should be"),
            "{err}"
        );
    }
}
