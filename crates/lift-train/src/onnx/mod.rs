//! A tuned model as one ONNX graph: RGB bytes -> logits and probabilities, with what prepares images in its metadata.
//!
//! `graph` holds nodes and constants, `tower` makes those of the tower, each tuner and the classifier theirs beside what they
//! compute with, `file` and `proto` write. Invariant: the graph computes what [`TunedModel`](crate::model::TunedModel) does in
//! fp32 for the same pixels, and any number of images.

mod file;
pub mod graph;
mod proto;
mod tower;

use lift_models::Normalisation;
use tch::{Device, Kind, Tensor};

pub use file::{MOST_INLINE, data_path, write};

use crate::{
    adjustment::Adjustment, classifier::Classifier, joint::Joint, model::Parts, tuner::Tuner,
};
use graph::{Attribute, Graph, Value};

/// The graph of a model: `pixels` (b, r, r, 3), bytes -> `logits` and `probabilities` (b, K), fp32, with the zero-shot logits of
/// `texts` added, and adjusted where the run keeps an adjustment.
pub fn graph(
    parts: &Parts,
    texts: Option<&Classifier>,
    constants: &Normalisation,
    adjustment: Option<&Adjustment>,
) -> Graph {
    debug_assert_eq!(parts.visual.device(), Device::Cpu);
    let mut graph = Graph::default();
    tch::no_grad(|| {
        let images = tower::images(&mut graph, &parts.visual, constants);
        let features = tower::features(&mut graph, &parts.visual, &parts.tuner, &images);
        let logits = classified(
            &mut graph,
            parts,
            &parts.joint,
            &parts.classifier,
            &features,
        );
        let logits = match texts {
            None => logits,
            Some(texts) => {
                graph.begin("zero_shot");
                let frozen = match parts.tuner.kinds().is_empty() {
                    true => features,
                    false => tower::features(&mut graph, &parts.visual, &Tuner::default(), &images),
                };
                let added = classified(&mut graph, parts, &Joint::default(), texts, &frozen);
                graph.node("Add", &[&logits, &added])
            }
        };
        let logits = match adjustment {
            None => logits,
            Some(adjustment) => {
                let bias = Tensor::from_slice(&adjustment.bias).to_kind(Kind::Float);
                let bias = graph.constant("adjustment.bias", &bias);
                let shifted = graph.node("Add", &[&logits, &bias]);
                let temperature = graph.number(adjustment.temperature);
                graph.node("Div", &[&shifted, &temperature])
            }
        };
        let last = [("axis", Attribute::Int(-1))];
        let probabilities = graph.node_with("Softmax", &[&logits], &last);
        let shape = [None, Some(parts.classifier.weight.size()[0])];
        graph.output("logits", &logits, &shape);
        graph.output("probabilities", &probabilities, &shape);
    });
    graph
}

/// Features (b, d) -> logits (b, K).
fn classified(
    graph: &mut Graph,
    parts: &Parts,
    joint: &Joint,
    classifier: &Classifier,
    features: &Value,
) -> Value {
    graph.at("classifier");
    if classifier.is_text() {
        let embeds = joint.nodes(graph, features, &parts.visual);
        classifier.nodes(graph, &embeds)
    } else {
        classifier.nodes(graph, features)
    }
}
