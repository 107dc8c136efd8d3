//! Runs at another resolution than the model's.

use lift_models::VisionTower;
use lift_tests::{demo_model, shapes_run};
use lift_train::{
    command::{self, EvalSettings},
    config::TrainConfig,
    error::Error,
    eval::Tte,
};
use tch::{Device, Tensor, kind::FLOAT_CPU};

#[test]
fn a_run_at_another_resolution_is_judged_and_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        resolution: Some(64),
        tte: Tte::None,
        ..shapes_run(dir.path())
    };
    let report = command::train(&config).unwrap();
    let settings = |resolution| EvalSettings {
        resolution,
        ..EvalSettings::of_run(&config, Tte::None, Device::Cpu)
    };
    let at_64 = command::eval(&config.out, None, &settings(Some(64))).unwrap();
    assert_eq!(at_64.evaluations[0].metrics, report.evaluations[0].metrics);
    let at_48 = command::eval(&config.out, None, &settings(None)).unwrap();
    assert_ne!(at_48.evaluations[0].metrics, report.evaluations[0].metrics);
}

#[test]
fn a_resolution_off_the_patch_grid_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        resolution: Some(60),
        ..shapes_run(dir.path())
    };
    let Err(Error::Usage(message)) = command::train(&config) else {
        panic!("60 is no multiple of 8");
    };
    assert!(
        message.contains("resolution 60 does not fit patches of 8 pixels"),
        "{message}"
    );
    assert!(message.contains("such as 56"), "{message}");
    assert!(!config.out.exists());
}

#[test]
fn a_tower_at_its_own_resolution_is_left_as_it_is() {
    let mut tower = VisionTower::open(&demo_model()).unwrap();
    let before = tower.positional_embedding.copy();
    tower.set_resolution(48).unwrap();
    assert_eq!(tower.positional_embedding, before);
    tower.set_resolution(96).unwrap();
    let images = Tensor::randn([2, 3, 96, 96], FLOAT_CPU);
    let features = tower.features(&images, &lift_models::NoHooks);
    assert_eq!(features.size(), [2, tower.config().width]);
    assert_eq!(tower.positional_embedding.size()[0], 145);
}
