//! Two class names that are the same letters in other code points: refused by every source, with the code points.

use super::support::Workplace;

const NFC: &str = "Caf\u{e9}";
const NFD: &str = "Cafe\u{301}";

#[test]
fn one_name_in_two_spellings_is_refused_by_folders_lists_and_named_classes() {
    let place = Workplace::new();
    for class in [NFC, NFD, "dog"] {
        place.image(&format!("photos/train/{class}/0.png"), 9, 9);
        place.image(&format!("photos/test/{class}/0.png"), 9, 9);
    }
    place.image("lists/a.png", 9, 9);
    place.write("lists/train.txt", "a.png 0\na.png 1\n");
    place.write("names.txt", &format!("{NFC}\n{NFD}\n"));
    let refused = |arguments: &str, first: &str, second: &str| {
        let said = place.run(arguments);
        let wanted = format!(
            "class 0 ({first}) and class 1 ({second}) are one name in two spellings\n\
             hint: write it the same way in both places, and it is one class; or give one of them another name\n"
        );
        assert!(said.starts_with("exit 1\n"), "{said}");
        assert!(said.ends_with(&wanted), "{said}");
    };
    // Folders come in the order of their bytes.
    let folders = "build folder --source photos --out shards";
    refused(folders, "Cafe[U+0301]", "Caf[U+00E9]");
    let split = "split folder --source photos --out lists-of-it";
    refused(split, "Cafe[U+0301]", "Caf[U+00E9]");
    let list = "build list --source lists --split train --allow-repeats --classnames names.txt --out shards";
    refused(list, "Caf[U+00E9]", "Cafe[U+0301]");
    assert!(!place.path("shards/train/manifest.json").exists());
}
