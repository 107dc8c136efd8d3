//! The image tower with its tuner as nodes: pixels -> class-token features.
//!
//! It mirrors `lift_models::VisionTower::features`. What modules do to a linear or a LayerNorm is multiplied into its tensors;
//! what they add to tokens and after MLPs they write themselves, beside their hooks. Invariant: the tower is not folded
//! (`VisionTower::fold`), and the graph computes in fp32.

use lift_models::{
    Activation, Block, Hooks, LayerNorm, Normalisation, Parameter, Place, VisionTower,
};
use tch::{Kind, Tensor};

use super::graph::{Attribute, Element, Graph, Value};
use crate::tuner::Tuner;

/// The factor of QuickGELU, `x * sigmoid(1.702 x)`.
const QUICK_GELU: f64 = 1.702;

/// Pixels (b, r, r, 3) from 0 to 255 -> images (b, 3, r, r), normalised.
pub(super) fn images(graph: &mut Graph, tower: &VisionTower, constants: &Normalisation) -> Value {
    graph.at("normalise");
    let side = tower.config().resolution;
    let shape = [None, Some(side), Some(side), Some(3)];
    let pixels = graph.input("pixels", Element::Byte, &shape);
    let pixels = graph.node_with("Cast", &[&pixels], &[("to", Attribute::Int(1))]);
    // (x / 255 - mean) / std, as one product and one sum.
    let [mean, std] = [constants.mean, constants.std].map(|row| Tensor::from_slice(&row));
    let factor = graph.constant("normalise.factor", &(&std * 255.0).reciprocal());
    let shift = graph.constant("normalise.shift", &-(&mean / &std));
    let pixels = graph.node("Mul", &[&pixels, &factor]);
    let pixels = graph.node("Add", &[&pixels, &shift]);
    transposed(graph, &pixels, &[0, 3, 1, 2])
}

/// Normalised images (b, 3, r, r) -> class-token features (b, d) after the last LayerNorm.
pub(super) fn features(
    graph: &mut Graph,
    tower: &VisionTower,
    tuner: &Tuner,
    images: &Value,
) -> Value {
    let mut x = tokens(graph, tower, images);
    for (layer, block) in tower.resblocks.iter().enumerate() {
        let name = format!("visual.transformer.resblocks.{layer}");
        let one = At {
            layer,
            block,
            tuner,
            name: &name,
        };
        graph.at(&name);
        x = one.forward(graph, &x, tower.config().heads, tower.config().activation);
    }
    graph.at("visual.ln_post");
    let class = graph.tokens(&x, 0, Some(1));
    let axes = graph.ints(&[1]);
    let class = graph.node("Squeeze", &[&class, &axes]);
    norm(graph, &class, "visual.ln_post", &tower.ln_post)
}

/// Normalised images (b, 3, r, r) -> the tokens (b, n, d) that enter the first block.
fn tokens(graph: &mut Graph, tower: &VisionTower, images: &Value) -> Value {
    graph.at("visual.conv1");
    let (p, d) = (tower.config().patch_size, tower.config().width);
    let patches = tower.config().tokens() - 1;
    let weight = graph.constant("visual.conv1.weight", &tower.conv1);
    let bias = tower.conv1_bias.as_ref();
    let bias = bias.map(|bias| graph.constant("visual.conv1.bias", bias));
    let inputs: Vec<&Value> = [images, &weight].into_iter().chain(&bias).collect();
    let sides = || Attribute::Ints(vec![p, p]);
    let attributes = [("kernel_shape", sides()), ("strides", sides())];
    let x = graph.node_with("Conv", &inputs, &attributes);
    let shape = graph.ints(&[0, d, patches]);
    let x = graph.node("Reshape", &[&x, &shape]);
    let x = transposed(graph, &x, &[0, 2, 1]);
    // The class token is added to the first of the positions, where a zero stands in the images' tokens.
    let x = graph.padded(&x, 1, 0);
    let class = tower.class_embedding.to_kind(Kind::Float).view([1, d]);
    let positions = tower.positional_embedding.to_kind(Kind::Float);
    let first = positions.narrow(0, 0, 1) + class;
    let positions = Tensor::cat(&[first, positions.narrow(0, 1, patches)], 0);
    let positions = graph.constant("visual.class_and_positional_embedding", &positions);
    let x = graph.node("Add", &[&x, &positions]);
    match &tower.ln_pre {
        Some(ln_pre) => norm(graph, &x, "visual.ln_pre", ln_pre),
        None => x,
    }
}

fn norm(graph: &mut Graph, x: &Value, name: &str, norm: &LayerNorm) -> Value {
    graph.layer_norm(x, name, [&norm.weight, &norm.bias], norm.eps)
}

fn transposed(graph: &mut Graph, x: &Value, order: &[i64]) -> Value {
    let order = Attribute::Ints(order.to_vec());
    graph.node_with("Transpose", &[x], &[("perm", order)])
}

/// A block with what hangs in it.
struct At<'a> {
    layer: usize,
    block: &'a Block,
    tuner: &'a Tuner,
    name: &'a str,
}

impl At<'_> {
    /// Tokens (b, n, d) -> (b, n, d), with as many tokens as the modules make of them.
    fn forward(&self, graph: &mut Graph, x: &Value, heads: i64, activation: Activation) -> Value {
        let x = self.tuner.token_nodes(self.layer, graph, x.clone());
        let normalised = self.norm(graph, &x, Place::Norm1, "ln_1", self.block.ln_1.eps);
        let mixed = self.attention(graph, &normalised, heads);
        let x = graph.node("Add", &[&x, &mixed]);
        let normalised = self.norm(graph, &x, Place::Norm2, "ln_2", self.block.ln_2.eps);
        let output = self.mlp(graph, &normalised, activation);
        let output = self.tuner.mlp_nodes(self.layer, graph, &x, output);
        graph.node("Add", &[&x, &output])
    }

    fn attention(&self, graph: &mut Graph, x: &Value, heads: i64) -> Value {
        let qkv = self.linear(graph, x, Place::Qkv, "attn.in_proj");
        let d = self.block.attn.out_proj.bias.size()[0];
        let sizes = graph.ints(&[d, d, d]);
        let last = [("axis", Attribute::Int(-1))];
        let [q, k, v] = graph.node_of("Split", &[&qkv, &sizes], &last);
        // (b, n, d) -> (b, heads, n, d / heads), the keys transposed.
        let shape = graph.ints(&[0, 0, heads, d / heads]);
        let [q, k, v] =
            [(q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3])].map(|(part, order)| {
                let part = graph.node("Reshape", &[&part, &shape]);
                transposed(graph, &part, &order)
            });
        let factor = graph.number(((d / heads) as f64).sqrt().recip());
        let q = graph.node("Mul", &[&q, &factor]);
        let scores = graph.node("MatMul", &[&q, &k]);
        let shares = graph.node_with("Softmax", &[&scores], &last);
        let mixed = graph.node("MatMul", &[&shares, &v]);
        let mixed = transposed(graph, &mixed, &[0, 2, 1, 3]);
        let shape = graph.ints(&[0, 0, d]);
        let mixed = graph.node("Reshape", &[&mixed, &shape]);
        self.linear(graph, &mixed, Place::AttentionOut, "attn.out_proj")
    }

    fn mlp(&self, graph: &mut Graph, x: &Value, activation: Activation) -> Value {
        let x = self.linear(graph, x, Place::MlpIn, "mlp.c_fc");
        let x = match activation {
            Activation::QuickGelu => {
                let factor = graph.number(QUICK_GELU);
                let share = graph.node("Mul", &[&x, &factor]);
                let share = graph.node("Sigmoid", &[&share]);
                graph.node("Mul", &[&x, &share])
            }
            // x (1 + erf(x / sqrt(2))) / 2, in the order in which runtimes know it for one operator.
            Activation::Gelu => {
                let (root, one, half) = (2f64.sqrt(), graph.number(1.0), graph.number(0.5));
                let root = graph.number(root);
                let share = graph.node("Div", &[&x, &root]);
                let share = graph.node("Erf", &[&share]);
                let share = graph.node("Add", &[&share, &one]);
                let x = graph.node("Mul", &[&x, &share]);
                graph.node("Mul", &[&x, &half])
            }
        };
        self.linear(graph, &x, Place::MlpOut, "mlp.c_proj")
    }

    fn norm(&self, graph: &mut Graph, x: &Value, place: Place, name: &str, eps: f64) -> Value {
        let [weight, bias] = self.parameters(place);
        let name = format!("{}.{name}", self.name);
        graph.layer_norm(x, &name, [&weight, &bias], eps)
    }

    /// A linear with its modules, which do to an output what a matrix and a shift can.
    fn linear(&self, graph: &mut Graph, x: &Value, place: Place, name: &str) -> Value {
        let [weight, bias] = self.parameters(place);
        let name = format!("{}.{name}", self.name);
        if !self.tuner.changes(self.layer, place) {
            return graph.linear(x, &name, &weight, Some(&bias));
        }
        // What a zero and each of the unit vectors come out as.
        let (tuner, layer) = (self.tuner, self.layer);
        let [outputs, inputs] = [weight.size()[0], weight.size()[1]];
        let zero = Tensor::zeros([1, 1, inputs], (Kind::Double, weight.device()));
        let shift = tuner.linear(layer, place, &zero, bias.view([1, 1, outputs]));
        let units = Tensor::eye(inputs, (Kind::Double, weight.device())).unsqueeze(0);
        let rows = (weight.tr() + &bias).unsqueeze(0);
        let rows = tuner.linear(layer, place, &units, rows) - &shift;
        let (weight, bias) = (rows.squeeze_dim(0).tr(), shift.view([outputs]));
        graph.linear(x, &name, &weight, Some(&bias))
    }

    /// Weight and bias that the block computes with, in fp64.
    fn parameters(&self, place: Place) -> [Tensor; 2] {
        [Parameter::Weight(place), Parameter::Bias(place)].map(|which| {
            let frozen = self.block.parameter(which).to_kind(Kind::Double);
            self.tuner.parameter(self.layer, which, &frozen)
        })
    }
}
