//! Text files are read alike: with byte order marks, as UTF-16, with Windows' line ends.

use std::fs;

use super::support::{Workplace, rows};

/// The same text as editors save it.
fn spellings(text: &str) -> Vec<Vec<u8>> {
    let windows = text.replace('\n', "\r\n");
    let utf16 = |bytes: fn(u16) -> [u8; 2]| {
        let marked = format!("\u{feff}{windows}");
        marked.encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
    };
    vec![
        text.into(),
        format!("\u{feff}{windows}").into(),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
    ]
}

#[test]
fn lists_names_tables_and_recipes_mean_the_same_however_saved() {
    let place = Workplace::new();
    place.class_folders("photos");
    let list = "train/cat/0.png 0\ntrain/dög/0.png 1\n";
    place.image("photos/train/dög/0.png", 4, 4);
    let csv = "path,label\ntrain/cat/0.png,tench\ntrain/dög/0.png,goldfish\n";
    let recipe =
        "[data]\ndataset = 'list'\nroot = 'photos'\nsplit = 'train'\nencoding = 'original'\n";
    let names = spellings("tench\ngoldfish\n\n");
    let (lists, tables, recipes) = (spellings(list), spellings(csv), spellings(recipe));
    for (i, ((names, list), (table, recipe))) in names
        .iter()
        .zip(&lists)
        .zip(tables.iter().zip(&recipes))
        .enumerate()
    {
        let write = |name: &str, bytes: &[u8]| {
            let path = place.path(&format!("{i}/{name}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write("classnames.txt", names);
        write("train.txt", list);
        write("t/train.csv", table);
        write("t/names.txt", names);
        write("recipe.toml", recipe);
        for source in [
            format!("{i}"),
            format!("{i}/t --classnames {i}/t/names.txt"),
        ] {
            let out = format!("{i}/out{}", source.len());
            let said = place.run(&format!(
                "build --config {i}/recipe.toml --source {source} --out {out}"
            ));
            assert!(said.contains("train: 2 images of 2 classes"), "{said}");
            let classes: Vec<String> = rows(&place, &format!("{out}/train"))
                .into_iter()
                .map(|(class, _)| class)
                .collect();
            assert_eq!(classes, ["tench", "goldfish"]);
        }
    }
}

#[test]
fn what_is_no_text_is_named_by_its_line() {
    let place = Workplace::new();
    place.class_folders("photos");
    fs::write(place.path("latin.txt"), b"cat\ncaf\xe9\n").unwrap();
    fs::write(place.path("latin.csv"), b"path,label\ncat/0.png,caf\xe9\n").unwrap();
    insta::assert_snapshot!(place.run("build folder --source photos --classnames latin.txt --out no"), @r"
    exit 1
    ----
    error: latin.txt: cannot read: line 2 is not UTF-8 text
    hint: save it as UTF-8
    ");
    let said = place.run("build list --source latin.csv --split train --out no");
    assert!(
        said.contains(
            "error: latin.csv: cannot read: line 2 is not UTF-8 text\nhint: save it as UTF-8"
        ),
        "{said}"
    );
}
