//! lift-text against the authors' semantic-aware initialisation.

use lift_models::TensorFile;
use lift_shards::classes::ClassNames;
use lift_tests::{largest_difference, shared};
use lift_text::{ClassifierOptions, Prompts, build_head};
use tch::Device;

#[test]
fn rows_equal_the_golden_semantic_head_whatever_the_batch() {
    let (Some(model), Some(golden), Some(names)) = (
        shared("golden/clip-hf"),
        shared("golden/clip-forward.safetensors"),
        shared("golden/classnames.json"),
    ) else {
        return;
    };
    let golden = TensorFile::read(&golden).unwrap().tensors;
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(names).unwrap()).unwrap();
    let names = serde_json::from_value(file["classnames"].clone()).unwrap();
    let classes = ClassNames::new(names).unwrap();
    for batch_size in [100, 7] {
        let options = ClassifierOptions {
            prompts: Prompts::default(),
            batch_size,
            max_memory: None,
            allow_identical: false,
            device: Device::Cpu,
        };
        let head = build_head(&model, &classes, &options).unwrap();
        let difference = largest_difference(&head.weight, &golden["semantic_head"]);
        assert!(difference <= 1e-4, "batches of {batch_size}: {difference}");
        assert_eq!(head.class_hash, classes.hash());
        assert_eq!(head.class_names, classes.as_slice());
    }
}
