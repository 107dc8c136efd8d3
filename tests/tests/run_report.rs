//! A run's consistency and report, with the model of this repository.

use std::fs;

use lift_tests::shapes_run;
use lift_train::{
    command::{self, ConsistencySettings},
    config::TrainConfig,
    consistency::Consistency,
    passes::Passing,
};
use tch::Device;

#[test]
fn a_run_that_took_no_step_is_as_consistent_as_its_frozen_tower() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        epochs: 0,
        ..shapes_run(dir.path())
    };
    command::train(&config).unwrap();
    let measured = |threads: usize| {
        let settings = ConsistencySettings {
            run: config.out.clone(),
            images_per_class: 3,
            seed: 0,
            passing: Passing {
                threads,
                ..config.passing()
            },
            device: Device::Cpu,
        };
        command::consistency(&config, &settings).unwrap()
    };
    let found = measured(1);
    let kept = fs::read(config.out.join("consistency.json")).unwrap();
    assert_eq!(measured(3), found, "threads change nothing");
    let again = fs::read(config.out.join("consistency.json")).unwrap();
    assert!(kept == again);
    assert_eq!(serde_json::from_slice::<Consistency>(&kept).unwrap(), found);
    let mut compared = 0;
    for class in &found.classes {
        assert!(class.images.iter().all(|&images| images <= 3), "{class:?}");
        let whole = class.images.iter().all(|&images| images >= 2);
        assert_eq!(class.before.is_some(), whole);
        // New modules add nothing.
        assert_eq!(class.before, class.after);
        if let Some(gap) = &class.before {
            compared += 1;
            let means = (gap.train_mean - gap.test_mean).abs();
            // The Wasserstein-1 distance is never below the difference of the means.
            assert!(gap.distance >= means - 1e-12, "{class:?}");
        }
    }
    assert!(compared > 0);
}
