//! What training keeps for the backward pass: nothing below the first module, and with activation checkpointing only what
//! enters the blocks, to the same gradients.

use std::cell::RefCell;

use lift_models::{Clip, Hooks, MlpInput, Parameter, Place};
use lift_tests::{demo_model, largest_difference};
use lift_train::{
    classifier::{Classifier, ClassifierKind},
    model::TunedModel,
    tuner::{Layers, Tuner, TunerKind, TunerOptions, Tuners},
};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};

fn tuned(tuners: &str, layers: &str, kind: Kind) -> TunedModel {
    let visual = Clip::load(&demo_model()).unwrap().visual;
    let options = TunerOptions {
        layers: layers.parse::<Layers>().unwrap(),
        ..TunerOptions::new(tuners.parse::<Tuners>().unwrap())
    };
    let tuner = Tuner::new(&options, &visual, 100).unwrap();
    // Not from libtorch's generator, which other tests draw from at the same time.
    let rows = (Tensor::arange(12800, FLOAT_CPU) * 0.37)
        .sin()
        .view([100, 128]);
    let classifier = Classifier::new(ClassifierKind::Cosine, &rows, 25.0);
    TunedModel::new(visual, tuner, classifier, Device::Cpu, kind)
}

fn gradients(model: &TunedModel, images: &Tensor) -> (f64, Vec<(String, Tensor)>) {
    let labels = Tensor::from_slice(&[3i64, 50, 99]);
    let pass = model.forward_to_train(images);
    let loss = pass.logits.cross_entropy_for_logits(&labels);
    pass.backward(&loss, model);
    let tuned = model.tuned().into_iter();
    let gradients = tuned.map(|(name, tensor)| (name, tensor.grad())).collect();
    (loss.double_value(&[]), gradients)
}

#[test]
fn activation_checkpointing_gives_the_same_gradients() {
    tch::set_num_threads(1);
    let images = Tensor::randn([3, 3, 48, 48], FLOAT_CPU);
    let kinds = TunerKind::ALL
        .iter()
        .filter(|kind| !kind.is_between_towers());
    let mut cases: Vec<(String, &str)> = kinds.map(|kind| (kind.to_string(), "all")).collect();
    cases.push(("none".into(), "all"));
    cases.push(("lora,adaptformer".into(), "last:2"));
    cases.push(("vpt-deep,ssf".into(), "1,4"));
    for (tuners, layers) in cases {
        let (loss, expected) = gradients(&tuned(&tuners, layers, Kind::Float), &images);
        let mut model = tuned(&tuners, layers, Kind::Float);
        model.recomputes = true;
        let (recomputed_loss, found) = gradients(&model, &images);
        assert_eq!(loss, recomputed_loss, "{tuners}");
        let mut moving = 0;
        for ((name, expected), (_, found)) in expected.iter().zip(&found) {
            assert_eq!(expected.defined(), found.defined(), "{tuners}: {name}");
            if expected.defined() {
                let scale = expected.abs().max().double_value(&[]);
                moving += usize::from(scale > 0.0);
                let difference = largest_difference(expected, found);
                assert!(
                    difference <= 1e-5 * scale,
                    "{tuners}: {name}: {difference} of {scale}"
                );
            }
        }
        assert!(moving > 0, "{tuners}: nothing has a gradient");
    }
}

/// Passes everything on to a tuner, and notes what of it has a graph behind it.
struct Spy<'a> {
    tuner: &'a Tuner,
    with_graph: RefCell<Vec<usize>>,
}

impl Hooks for Spy<'_> {
    fn tokens(&self, layer: usize, x: Tensor) -> Tensor {
        if x.requires_grad() {
            self.with_graph.borrow_mut().push(layer);
        }
        self.tuner.tokens(layer, x)
    }
    fn parameter(&self, layer: usize, which: Parameter, frozen: &Tensor) -> Tensor {
        self.tuner.parameter(layer, which, frozen)
    }
    fn linear(&self, layer: usize, place: Place, input: &Tensor, output: Tensor) -> Tensor {
        self.tuner.linear(layer, place, input, output)
    }
    fn mlp(&self, layer: usize, input: MlpInput, output: Tensor) -> Tensor {
        self.tuner.mlp(layer, input, output)
    }
}

#[test]
fn blocks_below_the_first_module_keep_nothing() {
    let images = Tensor::randn([2, 3, 48, 48], FLOAT_CPU);
    for (tuners, layers, expected) in [
        ("adaptformer", "last:2", &[5][..]),
        ("lora", "2,3", &[3, 4, 5]),
        ("none", "all", &[]),
        ("bitfit", "all", &[1, 2, 3, 4, 5]),
    ] {
        let model = tuned(tuners, layers, Kind::Float);
        let spy = Spy {
            tuner: &model.tuner,
            with_graph: RefCell::default(),
        };
        let features = model.visual.features(&images, &spy);
        assert_eq!(features.requires_grad(), tuners != "none");
        assert_eq!(*spy.with_graph.borrow(), expected, "{tuners} in {layers}");
    }
}

#[test]
fn half_precisions_stay_near_fp32() {
    let images = Tensor::randn([3, 3, 48, 48], FLOAT_CPU);
    let logits = |kind| tch::no_grad(|| tuned("adaptformer,lora", "all", kind).forward(&images));
    let exact = logits(Kind::Float);
    // Cosines times 25; bfloat16 has 8 bits, half 11.
    for (kind, tolerance) in [(Kind::BFloat16, 0.4), (Kind::Half, 0.05)] {
        let found = logits(kind);
        assert_eq!(found.kind(), Kind::Float);
        let difference = largest_difference(&found, &exact);
        assert!(difference < tolerance, "{kind:?}: {difference}");
    }
    for recomputes in [false, true] {
        let mut model = tuned("adaptformer,lora", "all", Kind::Half);
        model.recomputes = recomputes;
        let (_, gradients) = gradients(&model, &images);
        for (name, gradient) in gradients {
            assert!(gradient.kind() == Kind::Float, "{name}");
            assert_eq!(gradient.isfinite().all().int64_value(&[]), 1, "{name}");
        }
    }
}
