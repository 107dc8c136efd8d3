use std::{fs, path::Path};

use super::*;
use crate::head_init::HeadInit;

fn recipe(text: &str) -> (tempfile::TempDir, TrainArgs) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recipe.toml");
    fs::write(&path, text).unwrap();
    (
        dir,
        TrainArgs {
            config: Some(path),
            ..Default::default()
        },
    )
}

const PATHS: &str =
    "[data]\nanything = 1\n[train]\nshards = 's'\nmodel = 'm'\nhead = 'h'\nout = 'o'\n";

#[test]
fn flags_win_over_the_recipe_and_the_recipe_over_the_preset() {
    let (_dir, args) = recipe(&format!("{PATHS}epochs = 7\nlr = 0.5\n"));
    let config = TrainArgs {
        epochs: Some(9),
        preset: Some(Preset::ClassifierOnly),
        ..args
    }
    .resolve()
    .unwrap();
    assert_eq!(
        (config.epochs, config.lr, config.tuner),
        (9, 0.5, Tuners::default())
    );
    assert_eq!(config.shards, Path::new("s"));

    let (_dir, args) = recipe(PATHS);
    let config = args.resolve().unwrap();
    assert_eq!(
        (config.epochs, config.lr, config.tuner),
        (5, 0.02, TunerKind::Adaptformer.into())
    );
}

#[test]
fn the_classifier_starts_from_what_was_typed_last() {
    let resolved = |recipe_lines: &str, init: Option<HeadInit>, head: Option<&str>| {
        let text = PATHS.replace("head = 'h'\n", recipe_lines);
        let (_dir, args) = recipe(&text);
        let head = head.map(PathBuf::from);
        let init = init.map(Start::Head);
        let config = TrainArgs { init, head, ..args }.resolve();
        config.map(|c| (c.init, c.head.map(|head| head.display().to_string())))
    };
    let (head, mean) = (HeadInit::Head, HeadInit::ClassMean);
    let file = |name: &str| (Start::Head(head), Some(name.to_owned()));
    assert_eq!(resolved("head = 'h'\n", None, None).unwrap(), file("h"));
    assert_eq!(
        resolved("head = 'h'\n", Some(mean), None).unwrap(),
        (Start::Head(mean), None)
    );
    assert_eq!(
        resolved("head = 'h'\n", Some(head), None).unwrap(),
        file("h")
    );
    let probe = "init = 'linear-probe'\n";
    assert_eq!(resolved(probe, None, Some("t")).unwrap(), file("t"));
    assert_eq!(
        resolved(probe, None, None).unwrap(),
        (Start::Head(HeadInit::LinearProbe), None)
    );
    for (lines, init, typed_head, message) in [
        ("", None, None, "no head given, and no --init to make one"),
        ("", Some(head), None, "no head given"),
        (
            "",
            Some(mean),
            Some("t"),
            "--init class-mean gives the classifier itself, and --head t",
        ),
        (
            "head = 'h'\ninit = 'random'\n",
            None,
            None,
            "--init random gives the classifier itself",
        ),
    ] {
        let error = resolved(lines, init, typed_head).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[test]
fn presets_have_the_papers_values() {
    for (preset, tuner, epochs, lr, augment) in [
        (Preset::LiftPlus, "adaptformer", 5, 0.02, Augmentation::Mda),
        (Preset::Lift, "adaptformer", 10, 0.01, Augmentation::Classic),
        (Preset::ClassifierOnly, "none", 5, 0.03, Augmentation::Mda),
        (Preset::Full, "full", 5, 0.002, Augmentation::Mda),
        (Preset::Arbitrary, "aft", 5, 0.02, Augmentation::Mda),
        (Preset::Coop, "coop", 50, 0.002, Augmentation::Classic),
        (Preset::ZeroShot, "none", 0, 0.02, Augmentation::Mda),
    ] {
        let (_dir, args) = recipe(PATHS);
        let preset = Some(preset);
        let config = TrainArgs { preset, ..args }.resolve().unwrap();
        assert_eq!(config.tuner.to_string(), tuner);
        assert_eq!((config.epochs, config.lr), (epochs, lr), "{preset:?}");
        assert_eq!(config.augment, augment, "{preset:?}");
    }
}

#[test]
fn a_resolved_config_is_read_back() {
    let (_dir, args) = recipe(PATHS);
    let config = args.resolve().unwrap();
    let text = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<TrainConfig>(&text).unwrap(), config);
}

#[test]
fn wrong_settings_are_refused_by_name() {
    let (_dir, args) = recipe(&format!("{PATHS}epoch = 7\n"));
    let message = args.resolve().unwrap_err().to_string();
    assert!(
        message.contains("recipe.toml") && message.contains("unknown field `epoch`"),
        "{message}"
    );

    let (_dir, args) = recipe(PATHS);
    let message = TrainArgs {
        lr: Some(f64::NAN),
        ..args.clone()
    }
    .resolve()
    .unwrap_err()
    .to_string();
    assert_eq!(message, "--lr NaN must be a number from 0 to 1000000");
    let message = TrainArgs {
        batch_size: Some(0),
        ..args
    }
    .resolve()
    .unwrap_err()
    .to_string();
    assert_eq!(message, "--batch-size 0 must be a number from 1 to 1000000");
    let message = TrainArgs::default().resolve().unwrap_err().to_string();
    assert!(message.starts_with("no shards given"), "{message}");
}

#[test]
fn inaturalist_is_trained_for_longer() {
    for (dataset, lift_plus, lift) in [
        (None, 5, 10),
        (Some("places-lt"), 5, 10),
        (Some("inat2018"), 15, 20),
        (Some("inat2018-family"), 15, 20),
    ] {
        assert_eq!(Preset::LiftPlus.values(dataset).epochs, lift_plus);
        assert_eq!(Preset::Lift.values(dataset).epochs, lift);
        assert_eq!(Preset::ClassifierOnly.values(dataset).epochs, 5);
    }
}

#[test]
fn the_schema_is_what_a_recipe_may_hold() {
    let read = |text: &str| toml::from_str::<TrainArgs>(text).map(drop);
    let read = |text: &str| read(text).map_err(|error| error.to_string());
    let found = lift_page::schema::disagreements(&TrainArgs::schema(), read);
    assert_eq!(found, Vec::<String>::new());
}
