//! An ONNX graph while it is made: nodes in the order in which they compute, and the constants that they read.
//!
//! It knows operators (opset 17) and neither towers nor files. Shapes: b images, n tokens, d width. Invariant: every value has a
//! name of its own, and a node reads only what stands before it.

use std::collections::BTreeSet;

use tch::{Device, Kind, Tensor};

/// The operators' version: the first that has LayerNormalization.
pub(super) const OPSET: i64 = 17;

/// As `lift_models::normalize` divides by no less.
const LEAST_LENGTH: f64 = 1e-12;

/// A tensor in the graph, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// Its name in the graph.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// What a tensor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// fp32.
    Float,
    /// Bytes, as pixels have.
    Byte,
    /// Shapes and positions.
    Int64,
}

/// A node's setting.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attribute {
    Int(i64),
    Float(f64),
    Ints(Vec<i64>),
}

/// One operator with what it reads and gives.
#[derive(Debug)]
pub(super) struct Node {
    pub operator: &'static str,
    pub name: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// A tensor that is kept in the file.
#[derive(Debug)]
pub(super) struct Constant {
    pub name: String,
    pub shape: Vec<i64>,
    pub element: Element,
    /// Little-endian, in row-major order.
    pub bytes: Vec<u8>,
}

/// What the graph is given or gives; a length without a number is the number of images.
#[derive(Debug)]
pub(super) struct Port {
    pub name: String,
    pub element: Element,
    pub shape: Vec<Option<i64>>,
}

/// Nodes and constants.
#[derive(Debug, Default)]
pub struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) constants: Vec<Constant>,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    names: BTreeSet<String>,
    part: String,
    place: String,
}

impl Graph {
    /// Begins a second model beside the first, which keeps what is the same in both once, and its own under names that begin with
    /// `part`.
    pub(super) fn begin(&mut self, part: &str) {
        self.part = format!("{part}.");
    }

    /// Says where the nodes that follow belong, which their names tell.
    pub(super) fn at(&mut self, place: &str) {
        self.place = format!("{}{place}", self.part);
    }

    /// What the graph is given.
    pub(super) fn input(&mut self, name: &str, element: Element, shape: &[Option<i64>]) -> Value {
        self.inputs.push(Port {
            name: name.into(),
            element,
            shape: shape.to_vec(),
        });
        self.named(name.into())
    }

    /// What the graph gives: `value` under another name.
    pub(super) fn output(&mut self, name: &str, value: &Value, shape: &[Option<i64>]) {
        self.outputs.push(Port {
            name: name.into(),
            element: Element::Float,
            shape: shape.to_vec(),
        });
        let output = self.named(name.into());
        self.nodes.push(Node {
            operator: "Identity",
            name: name.into(),
            inputs: vec![value.0.clone()],
            outputs: vec![output.0],
            attributes: Vec::new(),
        });
    }

    /// A constant of any shape, kept in fp32; once, where the model before has the same by this name.
    pub(crate) fn constant(&mut self, name: &str, tensor: &Tensor) -> Value {
        let tensor = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float);
        let tensor = tensor.contiguous();
        let mut bytes = vec![0; tensor.numel() * 4];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        let shape = tensor.size();
        let mut there = self.constants.iter();
        if there.any(|c| c.name == name && c.shape == shape && c.bytes == bytes) {
            return Value(name.to_owned());
        }
        let name = self.named(format!("{}{name}", self.part));
        self.constants.push(Constant {
            name: name.0.clone(),
            shape,
            element: Element::Float,
            bytes,
        });
        name
    }

    /// A number that is the same for all values.
    pub(crate) fn number(&mut self, value: f64) -> Value {
        let bytes = (value as f32).to_le_bytes().to_vec();
        self.small(format!("number:{value}"), Vec::new(), Element::Float, bytes)
    }

    /// A list of whole numbers: a shape, or positions.
    pub(crate) fn ints(&mut self, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let (name, shape) = (format!("ints:{values:?}"), vec![values.len() as i64]);
        self.small(name, shape, Element::Int64, bytes.collect())
    }

    /// A constant whose name says what it holds, kept once.
    fn small(&mut self, name: String, shape: Vec<i64>, element: Element, bytes: Vec<u8>) -> Value {
        let name = name.replace(' ', "");
        if self.names.insert(name.clone()) {
            self.constants.push(Constant {
                name: name.clone(),
                shape,
                element,
                bytes,
            });
        }
        Value(name)
    }

    /// A node that gives one value.
    pub(crate) fn node(&mut self, operator: &'static str, inputs: &[&Value]) -> Value {
        self.node_with(operator, inputs, &[])
    }

    /// A node with settings that gives one value.
    pub(crate) fn node_with(
        &mut self,
        operator: &'static str,
        inputs: &[&Value],
        attributes: &[(&'static str, Attribute)],
    ) -> Value {
        let [output] = self.node_of(operator, inputs, attributes);
        output
    }

    /// A node that gives N values.
    pub(super) fn node_of<const N: usize>(
        &mut self,
        operator: &'static str,
        inputs: &[&Value],
        attributes: &[(&'static str, Attribute)],
    ) -> [Value; N] {
        let name = format!("{}/{operator}_{}", self.place, self.nodes.len());
        let outputs: [Value; N] = std::array::from_fn(|nth| match N {
            1 => self.named(name.clone()),
            _ => self.named(format!("{name}_{nth}")),
        });
        self.nodes.push(Node {
            operator,
            name,
            inputs: inputs.iter().map(|value| value.0.clone()).collect(),
            outputs: outputs.iter().map(|value| value.0.clone()).collect(),
            attributes: attributes.to_vec(),
        });
        outputs
    }

    fn named(&mut self, name: String) -> Value {
        assert!(self.names.insert(name.clone()), "{name} is there already");
        Value(name)
    }
}

/// What the model's files call by one word, and takes more than one node.
impl Graph {
    /// `x W^T + b` for W (out, in) and b (out), kept as `NAME.weight`, transposed, and `NAME.bias`.
    pub(crate) fn linear(
        &mut self,
        x: &Value,
        name: &str,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Value {
        let weight = self.constant(&format!("{name}.weight"), &weight.tr());
        let product = self.node("MatMul", &[x, &weight]);
        match bias {
            Some(bias) => {
                let bias = self.constant(&format!("{name}.bias"), bias);
                self.node("Add", &[&product, &bias])
            }
            None => product,
        }
    }

    /// LayerNorm over the last dimension, its tensors kept as `NAME.weight` and `NAME.bias`.
    pub(crate) fn layer_norm(
        &mut self,
        x: &Value,
        name: &str,
        [weight, bias]: [&Tensor; 2],
        eps: f64,
    ) -> Value {
        let weight = self.constant(&format!("{name}.weight"), weight);
        let bias = self.constant(&format!("{name}.bias"), bias);
        let attributes = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(eps)),
        ];
        self.node_with("LayerNormalization", &[x, &weight, &bias], &attributes)
    }

    /// Rows (b, d) divided by their length.
    pub(crate) fn normalize(&mut self, x: &Value) -> Value {
        let attributes = [
            ("axes", Attribute::Ints(vec![-1])),
            ("keepdims", Attribute::Int(1)),
        ];
        let length = self.node_with("ReduceL2", &[x], &attributes);
        let least = self.number(LEAST_LENGTH);
        let length = self.node("Max", &[&length, &least]);
        self.node("Div", &[x, &length])
    }

    /// The tokens (b, end - start, d) of (b, n, d); to the last one without an end.
    pub(crate) fn tokens(&mut self, x: &Value, start: i64, end: Option<i64>) -> Value {
        let ends = self.ints(&[end.unwrap_or(i64::MAX)]);
        let (starts, axes) = (self.ints(&[start]), self.ints(&[1]));
        self.node("Slice", &[x, &starts, &ends, &axes])
    }

    /// Tokens (b, n, d) with room for others before and after them, in which zeros stand.
    pub(crate) fn padded(&mut self, x: &Value, before: i64, after: i64) -> Value {
        let pads = self.ints(&[0, before, 0, 0, after, 0]);
        self.node("Pad", &[x, &pads])
    }

    /// Values one after the other along a dimension.
    pub(crate) fn joined(&mut self, values: &[&Value], axis: i64) -> Value {
        self.node_with("Concat", values, &[("axis", Attribute::Int(axis))])
    }
}
