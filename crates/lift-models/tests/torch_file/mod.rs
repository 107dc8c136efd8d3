//! Tensors as `torch.save` writes them: `pytorch_model.bin` made without Python.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
};

use tch::{Kind, Tensor};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// The bytes of a file with these tensors, which are of fp32 or fp16.
pub fn state_dict(tensors: &BTreeMap<String, Tensor>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut pickle = b"\x80\x02}".to_vec();
    for (key, (name, tensor)) in tensors.iter().enumerate() {
        let class = match tensor.kind() {
            Kind::Float => "FloatStorage",
            Kind::Half => "HalfStorage",
            other => panic!("{name}: {other:?}"),
        };
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        zip.start_file(format!("pytorch_model/data/{key}"), options)
            .unwrap();
        zip.write_all(&bytes).unwrap();

        text(&mut pickle, name);
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut pickle, "storage");
        pickle.extend(format!("ctorch\n{class}\n").as_bytes());
        text(&mut pickle, &key.to_string());
        text(&mut pickle, "cpu");
        int(&mut pickle, tensor.numel() as i64);
        pickle.extend(b"tQK\0");
        for numbers in [tensor.size(), tensor.stride()] {
            pickle.push(b'(');
            numbers.iter().for_each(|&n| int(&mut pickle, n));
            pickle.push(b't');
        }
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs");
    }
    pickle.push(b'.');
    zip.start_file("pytorch_model/data.pkl", options).unwrap();
    zip.write_all(&pickle).unwrap();
    zip.finish().unwrap().into_inner()
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
