//! Class names of datasets with lists: from the paths' folders, a file of names, or a taxonomy.
//!
//! It knows no dataset. Invariant: name and label belong together: names that repeat the lists' folders
//! are put into the order of the lists' labels, and the number of names is that of the classes.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;

use super::SplitList;
use crate::dataset::Taxonomy;
use crate::error::{Error, Result};
use lift_shards::classes::ClassNames;

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

/// Class names as they belong to the folders of the classes' images.
#[derive(Debug, PartialEq, Eq)]
pub struct Aligned {
    /// The names in label order.
    pub class_names: ClassNames,
    /// Whether they stood in another order.
    pub moved: bool,
    /// Whether names that were taken as they stand begin with the folders of other labels.
    pub doubtful: bool,
    /// A line as it stood, where WordNet ids in front of the names were left out.
    pub unwrapped: Option<String>,
}

impl Aligned {
    /// What the user should know of it; `origin` is where the names came from.
    pub fn notes(&self, origin: &str) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(line) = &self.unwrapped {
            notes.push(format!(
                "{origin}: the WordNet ids in front of the names, as in `{line}`, say which folder is meant and are no part of them"
            ));
        }
        if self.moved {
            notes.push(format!(
                "{origin}: names are in another order than the list's labels; each was given to the label of its folder"
            ));
        }
        if self.doubtful {
            notes.push(format!(
                "{origin}: names begin with folders in another order than the list's labels; they are taken as they stand, in label order"
            ));
        }
        notes
    }
}

/// `names` as they belong to classes whose images lie in `folders`.
///
/// Two habits are known: ImageNet's, of a WordNet id in front of each name (`n01440764 tench`), which is the folder
/// and decides the label, and names that are the folders themselves. Names that are the folders in another
/// order would name wrong classes: they are put into the order of the labels. All other names stay as they are.
pub fn aligned(names: ClassNames, folders: &[String]) -> Result<Aligned> {
    let label_of: HashMap<&str, usize> = folders.iter().map(String::as_str).zip(0..).collect();
    let by_id: Option<Vec<_>> = names.as_slice().iter().map(|line| with_id(line)).collect();
    let unwrapped = by_id.as_ref().map(|_| names.as_slice()[0].clone());
    let whole = || names.as_slice().iter().map(|name| (&**name, &**name));
    let in_folders = by_id.unwrap_or_else(|| whole().collect());
    let mut by_label: Vec<Option<String>> = vec![None; folders.len()];
    let mut moved = false;
    for (line, (folder, name)) in in_folders.into_iter().enumerate() {
        if let Some(&label) = label_of.get(folder) {
            moved |= label != line;
            by_label[label] = Some(name.to_owned());
        }
    }
    match by_label.into_iter().collect::<Option<Vec<_>>>() {
        Some(in_order) if in_order.len() == names.len() => Ok(Aligned {
            class_names: ClassNames::new(in_order)?,
            moved,
            doubtful: false,
            unwrapped,
        }),
        _ => Ok(Aligned {
            doubtful: begin_elsewhere(&names, &label_of),
            class_names: names,
            moved: false,
            unwrapped: None,
        }),
    }
}

/// Whether all names begin with folders, and not each with that of its own label.
fn begin_elsewhere(names: &ClassNames, label_of: &HashMap<&str, usize>) -> bool {
    let first = |name: &String| label_of.get(name.split([' ', '\t']).next()?).copied();
    let labels: Option<Vec<usize>> = names.as_slice().iter().map(first).collect();
    labels.is_some_and(|labels| !labels.into_iter().eq(0..names.len()))
}

/// A line of a WordNet id (`n` and eight digits) and a name.
fn with_id(line: &str) -> Option<(&str, &str)> {
    let (id, name) = line.split_once([' ', '\t'])?;
    let digits = id.strip_prefix('n')?;
    let is_id = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then(|| (id, name.trim()))
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
pub fn categories(path: &Path, json: &str, level: Taxonomy) -> Result<Level> {
    let wrong = |reason: String| {
        Error::Source {
        path: path.to_owned(),
        reason,
        hint: "it is a JSON list of objects with id (0, 1, ..), name, kingdom, phylum, class, order, family and genus".to_owned(),
    }
    };
    let mut list: Vec<Category> =
        serde_json::from_str(json).map_err(|err| wrong(err.to_string()))?;
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

    fn aligned_names(list: &[&str], folders: &[&str]) -> (Vec<String>, bool, bool) {
        let folders: Vec<String> = folders.iter().map(|&folder| folder.to_owned()).collect();
        let aligned = aligned(names(list), &folders).unwrap();
        let unwrapped = aligned.unwrapped.is_some();
        (aligned.class_names.into(), aligned.moved, unwrapped)
    }

    #[test]
    fn names_follow_the_folders_of_the_labels() {
        let folders = ["desert_road", "desert-sand", "airfield"];
        let texts = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let moved = aligned_names(&["airfield", "desert-sand", "desert_road"], &folders);
        assert_eq!(moved, (texts(&folders), true, false));
        assert_eq!(
            aligned_names(&folders, &folders),
            (texts(&folders), false, false)
        );
        // Other names are the user's own, in label order.
        for own in [
            ["road", "sand", "field"],
            ["desert_road", "desert-sand", "field"],
            ["airfield", "airfield", "desert_road"],
        ] {
            assert_eq!(aligned_names(&own, &folders), (texts(&own), false, false));
        }
        let ids = ["n01440764", "n01443537"];
        let lines = ["n01443537 goldfish", "n01440764\ttench, Tinca tinca"];
        let expected = texts(&["tench, Tinca tinca", "goldfish"]);
        assert_eq!(aligned_names(&lines, &ids), (expected, true, true));
        let elsewhere = aligned_names(&lines, &["tench", "goldfish"]);
        assert_eq!(elsewhere, (texts(&lines), false, false));
    }

    #[test]
    fn a_name_that_begins_with_a_folder_stays_whole() {
        let (list, folders) = (["Bombus terrestris", "Apis mellifera"], ["Apis", "Bombus"]);
        let expected = (list.map(str::to_owned).to_vec(), false, false);
        assert_eq!(aligned_names(&list, &folders), expected);
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
        let read = |level| categories(Path::new("c.json"), &json.to_string(), level);
        let kingdom = read(Taxonomy::Kingdom).unwrap();
        assert_eq!(kingdom.class_names, names(&["Animalia", "Plantae"]));
        assert_eq!(kingdom.label_of, [1, 0, 0]);
        let species = read(Taxonomy::Species).unwrap();
        assert_eq!(species.class_names, names(&["yew", "ant", "bee"]));
        assert_eq!(species.label_of, [0, 1, 2]);
        let gap = serde_json::json!([category(0, "yew", "P"), category(2, "ant", "A")]).to_string();
        let err = categories(Path::new("c.json"), &gap, Taxonomy::Species).unwrap_err();
        assert!(
            err.to_string().contains("id 2 is where id 1 should be"),
            "{err}"
        );
    }
}
