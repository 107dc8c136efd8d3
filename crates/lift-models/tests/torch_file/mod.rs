//! Tensors as `torch.save` writes them: `pytorch_model.bin` made without Python.
//!
//! Each user takes one of the two functions.
#![allow(dead_code)]

use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
};

use tch::{Kind, Tensor};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// The bytes of a file with these tensors, which are of fp32, fp16 or bool.
pub fn state_dict(tensors: &BTreeMap<String, Tensor>) -> Vec<u8> {
    file(|storages, pickle| dictionary(tensors, storages, pickle))
}

/// The bytes of a file with a dictionary of such tensors under each name.
pub fn dictionaries(all: &[(&str, BTreeMap<String, Tensor>)]) -> Vec<u8> {
    file(|storages, pickle| {
        pickle.push(b'}');
        for (name, tensors) in all {
            text(pickle, name);
            dictionary(tensors, storages, pickle);
            pickle.push(b's');
        }
    })
}

fn file(write: impl FnOnce(&mut Vec<Vec<u8>>, &mut Vec<u8>)) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let (mut storages, mut pickle) = (Vec::new(), b"\x80\x02".to_vec());
    write(&mut storages, &mut pickle);
    pickle.push(b'.');
    for (key, bytes) in storages.iter().enumerate() {
        zip.start_file(format!("pytorch_model/data/{key}"), options)
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.start_file("pytorch_model/data.pkl", options).unwrap();
    zip.write_all(&pickle).unwrap();
    zip.finish().unwrap().into_inner()
}

fn dictionary(
    tensors: &BTreeMap<String, Tensor>,
    storages: &mut Vec<Vec<u8>>,
    pickle: &mut Vec<u8>,
) {
    pickle.push(b'}');
    for (name, tensor) in tensors {
        let class = match tensor.kind() {
            Kind::Float => "FloatStorage",
            Kind::Half => "HalfStorage",
            Kind::Bool => "BoolStorage",
            other => panic!("{name}: {other:?}"),
        };
        let tensor = tensor.contiguous();
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        text(pickle, name);
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(pickle, "storage");
        pickle.extend(format!("ctorch\n{class}\n").as_bytes());
        text(pickle, &storages.len().to_string());
        text(pickle, "cpu");
        int(pickle, tensor.numel() as i64);
        pickle.extend(b"tQK\0");
        for numbers in [tensor.size(), tensor.stride()] {
            pickle.push(b'(');
            numbers.iter().for_each(|&n| int(pickle, n));
            pickle.push(b't');
        }
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs");
        storages.push(bytes);
    }
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn int(pickle: &mut Vec<u8>, number: i64) {
    pickle.push(b'J');
    pickle.extend((number as i32).to_le_bytes());
}
