//! A graph as an ONNX file: the messages of `onnx.proto` (IR version 8), with the tensors in them or in a second file.
//!
//! Protobuf ends at 2 GiB, so tensors above a limit lie in `NAME.data` beside the file, as ONNX' external data, each at a
//! multiple of 64 KiB, from which it can be mapped. Invariant: the same graph gives the same bytes; the second file is written
//! first, so that there is no model without its tensors.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use super::{
    graph::{Attribute, Constant, Element, Graph, Node, OPSET, Port},
    proto::Message,
};
use crate::error::{Error, Result};

/// Bytes of tensors that one file holds: protobuf's readers refuse 2 GiB, and tools add to a model.
pub const MOST_INLINE: usize = 3 << 29;

/// Shapes, scales and biases stay in the model, where readers look at them.
const SMALL: usize = 4096;
const ALIGNMENT: usize = 1 << 16;

const IR_VERSION: i64 = 8;
/// `TensorProto.EXTERNAL`.
const EXTERNAL: i64 = 1;
/// The symbol of the number of images.
const BATCH: &str = "batch";

/// Writes `graph` with these (key, value) as `path`; more than `most_inline` bytes of tensors lie in a file beside it. Returns
/// how many bytes were written.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    graph: &Graph,
    metadata: &[(&str, String)],
    path: &Path,
    most_inline: usize,
) -> Result<usize> {
    let all: usize = graph.constants.iter().map(|one| one.bytes.len()).sum();
    let mut outside = Outside::default();
    let mut tensors: Vec<(Message, &[u8])> = Vec::new();
    let data = data_path(path);
    let location = data.file_name().and_then(OsStr::to_str);
    for constant in &graph.constants {
        if all > most_inline && constant.bytes.len() > SMALL {
            let location = location.ok_or_else(|| Error::BadRun {
                path: path.into(),
                reason: "its name is no UTF-8, and another file is to hold it\nhint: choose another --out"
                    .into(),
            })?;
            let offset = outside.put(&constant.bytes);
            tensors.push((elsewhere(constant, location, offset), &[]));
        } else {
            tensors.push((tensor(constant), &constant.bytes));
        }
    }
    let is_split = !outside.parts.is_empty();
    if is_split {
        lift_files::write(&data, &outside.parts).map_err(Error::io(&data))?;
    }
    let parts = model(graph, metadata, &tensors);
    let parts: Vec<&[u8]> = parts.iter().map(Part::bytes).collect();
    let written = lift_files::write(path, &parts).map_err(Error::io(path));
    if written.is_err() && is_split {
        // The first error is the one to report, whether or not there is something to remove.
        let _ = fs::remove_file(&data);
    }
    written?;
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    Ok(bytes + outside.length)
}

/// Where the tensors of a large model lie.
pub fn data_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(".data");
    path.with_file_name(name)
}

/// The second file, piece by piece.
#[derive(Default)]
struct Outside<'a> {
    parts: Vec<&'a [u8]>,
    length: usize,
}

impl<'a> Outside<'a> {
    /// Adds bytes, and says where they begin.
    fn put(&mut self, bytes: &'a [u8]) -> usize {
        static ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
        let offset = self.length.next_multiple_of(ALIGNMENT);
        self.parts.push(&ZEROS[..offset - self.length]);
        self.parts.push(bytes);
        self.length = offset + bytes.len();
        offset
    }
}

/// A piece of the model's file.
enum Part<'a> {
    Made(Message),
    Tensor(&'a [u8]),
}

impl Part<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Part::Made(message) => message.as_bytes(),
            Part::Tensor(bytes) => bytes,
        }
    }
}

/// ModelProto. Its tensors are not copied into it.
fn model<'a>(
    graph: &Graph,
    metadata: &[(&str, String)],
    tensors: &[(Message, &'a [u8])],
) -> Vec<Part<'a>> {
    let opset = Message::default().int(2, OPSET);
    let mut before = Message::default()
        .int(1, IR_VERSION)
        .text(2, "lift-train")
        .text(3, env!("CARGO_PKG_VERSION"))
        .message(8, &opset);
    for (key, value) in metadata {
        before = before.message(14, &Message::default().text(1, key).text(2, value));
    }
    // GraphProto: nodes, name, tensors, inputs, outputs.
    let nodes = graph.nodes.iter().fold(Message::default(), |nodes, one| {
        nodes.message(1, &node(one))
    });
    let nodes = nodes.text(2, "lift");
    let ports = graph.inputs.iter().fold(Message::default(), |ports, one| {
        ports.message(11, &port(one))
    });
    let ports = graph
        .outputs
        .iter()
        .fold(ports, |ports, one| ports.message(12, &port(one)));
    let mut parts = vec![Part::Made(nodes)];
    for (tensor, bytes) in tensors {
        let head = tensor.as_bytes();
        let field = Message::default().head(5, head.len() + bytes.len());
        parts.push(Part::Made(field));
        parts.push(Part::Made(tensor.clone()));
        parts.push(Part::Tensor(bytes));
    }
    parts.push(Part::Made(ports));
    let length = parts.iter().map(|part| part.bytes().len()).sum();
    let head = Part::Made(before.head(7, length));
    std::iter::once(head).chain(parts).collect()
}

/// NodeProto.
fn node(node: &Node) -> Message {
    let mut message = Message::default();
    for input in &node.inputs {
        message = message.text(1, input);
    }
    for output in &node.outputs {
        message = message.text(2, output);
    }
    message = message.text(3, &node.name).text(4, node.operator);
    for (name, attribute) in &node.attributes {
        message = message.message(5, &self::attribute(name, attribute));
    }
    message
}

/// AttributeProto.
fn attribute(name: &str, attribute: &Attribute) -> Message {
    const TYPE: u32 = 20;
    let message = Message::default().text(1, name);
    match attribute {
        Attribute::Float(value) => message.float(2, *value as f32).int(TYPE, 1),
        Attribute::Int(value) => message.int(3, *value).int(TYPE, 2),
        Attribute::Ints(values) => message.ints(8, values).int(TYPE, 7),
    }
}

/// `TensorProto.DataType`.
fn data_type(element: Element) -> i64 {
    match element {
        Element::Float => 1,
        Element::Byte => 2,
        Element::Int64 => 7,
    }
}

fn tensor_head(constant: &Constant) -> Message {
    Message::default()
        .ints(1, &constant.shape)
        .int(2, data_type(constant.element))
        .text(8, &constant.name)
}

/// TensorProto, after which its bytes come.
fn tensor(constant: &Constant) -> Message {
    tensor_head(constant).head(9, constant.bytes.len())
}

/// TensorProto of bytes in another file.
fn elsewhere(constant: &Constant, location: &str, offset: usize) -> Message {
    let entries = [
        ("location", location.to_owned()),
        ("offset", offset.to_string()),
        ("length", constant.bytes.len().to_string()),
    ];
    let message = entries
        .iter()
        .fold(tensor_head(constant), |message, (key, value)| {
            message.message(13, &Message::default().text(1, key).text(2, value))
        });
    message.int(14, EXTERNAL)
}

/// ValueInfoProto with its TypeProto and TensorShapeProto.
fn port(port: &Port) -> Message {
    let shape = port.shape.iter().fold(Message::default(), |shape, length| {
        let dimension = match length {
            Some(length) => Message::default().int(1, *length),
            None => Message::default().text(2, BATCH),
        };
        shape.message(1, &dimension)
    });
    let tensor = Message::default()
        .int(1, data_type(port.element))
        .message(2, &shape);
    let kind = Message::default().message(1, &tensor);
    Message::default().text(1, &port.name).message(2, &kind)
}
