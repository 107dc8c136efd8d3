//! One folder name a class, whatever the classes are called.
//!
//! A name becomes itself wherever a file system can hold it: `/`, `%`, a leading dot, and what cannot be seen
//! become `%XX`, a byte each. Names that are too long are cut, and those that are one name where case does
//! not count get their label behind them: `missile (657)`. Invariant: no two classes share a folder, none
//! leads out of the folder that it is made in, and each fits a file name of 255 bytes.

use lift_page::escape::is_treacherous;
use lift_shards::classes::distinct;

/// The longest name that file systems hold, in bytes.
const MOST_BYTES: usize = 255;

/// The folder names of classes, in label order.
pub(super) fn folder_names(classes: &[String]) -> Vec<String> {
    let labelled = |label: usize| {
        let label_text = format!(" ({label})");
        escaped(&classes[label], MOST_BYTES - label_text.len()).0 + &label_text
    };
    let plain = |(label, class): (usize, &String)| match escaped(class, MOST_BYTES) {
        (name, true) => name,
        (_, false) => labelled(label),
    };
    let plain: Vec<String> = classes.iter().enumerate().map(plain).collect();
    // As file systems compare that keep case and do not see it.
    let folded = |name: &str| name.to_uppercase().to_lowercase();
    distinct(&plain, folded, labelled)
}

/// As much of a class name as fits into so many bytes, escaped, and whether that is all of it.
fn escaped(class: &str, most_bytes: usize) -> (String, bool) {
    let mut name = String::new();
    for (at, character) in class.char_indices() {
        let is_hidden = at == 0 && character == '.';
        let mut bytes = [0; 4];
        let text = character.encode_utf8(&mut bytes);
        let piece = match character {
            '/' | '%' => hex(text),
            _ if is_hidden || character.is_control() || is_treacherous(character) => hex(text),
            _ => text.to_owned(),
        };
        if name.len() + piece.len() > most_bytes {
            return (name.trim_end().to_owned(), false);
        }
        name += &piece;
    }
    (name, true)
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(classes: &[&str]) -> Vec<String> {
        let classes: Vec<String> = classes.iter().map(|&class| class.to_owned()).collect();
        folder_names(&classes)
    }

    #[test]
    fn no_class_name_leads_out_of_the_folder() {
        let found = names(&[
            "red star",
            "../x",
            "..",
            "a/b%2F",
            "n\u{7}\u{e9}",
            "x\0y",
            "\u{202e}z",
        ]);
        let expected = [
            "red star",
            "%2E.%2Fx",
            "%2E.",
            "a%2Fb%252F",
            "n%07\u{e9}",
            "x%00y",
            "%E2%80%AEz",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn classes_of_one_name_have_folders_of_their_own() {
        assert_eq!(
            names(&[
                "missile",
                "cat",
                "missile",
                "Crane",
                "crane",
                "stra\u{df}e",
                "STRASSE"
            ]),
            [
                "missile (0)",
                "cat",
                "missile (2)",
                "Crane (3)",
                "crane (4)",
                "stra\u{df}e (5)",
                "STRASSE (6)"
            ]
        );
        assert_eq!(names(&["a", "a", "A (1)"]), ["a (0)", "a (1)", "A (1) (2)"]);
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let long = "a long description of a bird, ".repeat(10);
        let percent = "%".repeat(200);
        let wide = "\u{732b}".repeat(100);
        let found = names(&[&long, &percent, &wide, &long, &"x".repeat(255)]);
        assert_eq!(found[0], long[..251].trim_end().to_owned() + " (0)");
        assert_eq!(found[1], "%25".repeat(83) + " (1)");
        assert_eq!(found[2], "\u{732b}".repeat(83) + " (2)");
        assert_eq!(found[3], long[..251].trim_end().to_owned() + " (3)");
        assert_eq!(found[4], "x".repeat(255));
    }

    proptest! {
        #[test]
        fn every_class_has_a_folder_of_its_own(classes in prop::collection::vec("(?s).{1,40}|[aA.%/]{1,3}|[a%]{80,300}", 1..20)) {
            let found = folder_names(&classes);
            let mut folded: Vec<String> = found.iter().map(|name| name.to_lowercase()).collect();
            folded.sort();
            folded.dedup();
            prop_assert_eq!(folded.len(), classes.len());
            for name in found {
                prop_assert!(!name.is_empty() && name.len() <= 255 && !name.starts_with('.'));
                prop_assert!(!name.contains('/') && !name.chars().any(char::is_control));
            }
        }
    }
}
