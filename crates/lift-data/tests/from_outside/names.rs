//! Names that a terminal would obey: nothing of them reaches it, wherever they are printed.

use std::fs;
use std::process::Command;

use crate::support::Workplace;

/// Clears the screen, sets the window's title, turns the direction of writing, rings, begins a line anew.
const CLASS: &str = "\u{1b}[2J\u{1b}]0;x\u{7}cat\u{9b}K\u{202e}\u{2066}\u{200b}";
/// That, and lines of its own.
const FILE: &str = "\u{1b}[31m\rerror: no\nhint: rm -rf\u{85}\u{202d}.png";

/// What is left where every name is shown: text and line feeds.
fn check(said: &str) {
    let obeyed = |c: char| {
        c != '\n' && c.is_control()
            || matches!(c, '\u{200b}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!said.contains(obeyed), "{said:?}");
    assert!(
        !said.lines().any(|line| line.starts_with("hint: rm")),
        "{said}"
    );
}

/// `photos/train` with the class, the file and a good class beside it.
fn photos(place: &Workplace) {
    place.image(&format!("photos/train/{CLASS}/{FILE}"), 6, 7);
    place.image("photos/train/dog/0.png", 7, 6);
}

#[test]
fn no_output_obeys_a_name() {
    let place = Workplace::new();
    photos(&place);
    let build = "build folder --source photos --split train";
    let mut all = String::new();
    for command in [
        format!("{build} --out s --dry-run"),
        format!("{build} --out s"),
        "stats photos/train".to_owned(),
        "stats s".to_owned(),
        "verify s".to_owned(),
        "inspect s/train --row 0".to_owned(),
        "report s --compare s".to_owned(),
        "report photos/train".to_owned(),
        "export s --out e".to_owned(),
        "split folder --source photos/train --holdout 0.5 --out lists".to_owned(),
    ] {
        let said = place.run(&command);
        check(&said);
        all += &said;
    }
    assert!(
        all.contains("class     0 (␛[2J␛]0;x␇cat[U+009B]K[U+202E][U+2066][U+200B])\n"),
        "{all}"
    );
    assert!(
        all.contains("path      ␛[2J␛]0;x␇cat[U+009B]K[U+202E][U+2066][U+200B]/␛[31m␍error: no␊hint: rm -rf[U+0085][U+202D].png\n"),
        "{all}"
    );
    // JSON escapes as JSON does, and says the name as it is.
    let json = place.run("inspect s/train --row 0 --json");
    check(&json);
    let json = json.strip_prefix("exit 0\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(json.split("----").next().unwrap()).unwrap();
    assert_eq!(json["row"]["class"], CLASS);
    assert_eq!(json["row"]["path"], format!("{CLASS}/{FILE}"));
}

#[test]
fn no_error_obeys_a_name() {
    let place = Workplace::new();
    photos(&place);
    fs::write(
        place.path(&format!("photos/train/{CLASS}/{FILE}")),
        "no image",
    )
    .unwrap();
    let said = place.run("build folder --source photos --split train --out s");
    check(&said);
    assert!(
        said.contains("/␛[31m␍error: no␊hint: rm -rf[U+0085][U+202D].png: cannot decode: "),
        "{said}"
    );
    // A class that has no image, a row whose bytes have changed, a file that is no list.
    fs::remove_file(place.path(&format!("photos/train/{CLASS}/{FILE}"))).unwrap();
    check(&place.run("build folder --source photos --split train --out s"));
    place.write(FILE, "a.png nothing\n");
    let said = place.run_words(&["stats", FILE]);
    check(&said);
    assert!(
        said.starts_with("exit 1\n----\nerror: ␛[31m␍error: no␊hint: "),
        "{said}"
    );
    // What a shell makes of `*`, with a file of that name.
    let said = place.run_words(&["stats", "photos", FILE]);
    check(&said);
    assert!(said.starts_with("exit 2\n"), "{said}");
}

#[test]
fn a_damaged_row_is_named_and_not_obeyed() {
    let place = Workplace::new();
    photos(&place);
    place.run("build folder --source photos --split train --encoding original --out s");
    let image = fs::read(place.path(&format!("photos/train/{CLASS}/{FILE}"))).unwrap();
    let shard = place.path("s/train/train-00000.parquet");
    let mut bytes = fs::read(&shard).unwrap();
    let at = bytes
        .windows(image.len())
        .position(|window| window == image);
    bytes[at.unwrap() + 9] ^= 1;
    fs::write(&shard, bytes).unwrap();
    for command in ["verify s", "export s --out e", "report s"] {
        let said = place.run(command);
        check(&said);
        assert!(
            said.starts_with("exit 1") && said.contains("␍error: no␊hint: rm"),
            "{command}: {said}"
        );
    }
}

/// Scripts for a shell have what they need, tabs too.
#[test]
fn completions_are_printed_as_they_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_lift-data"))
        .args(["completions", "fish"])
        .output()
        .unwrap();
    let script = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !script.contains('␉'), "{script}");
}
