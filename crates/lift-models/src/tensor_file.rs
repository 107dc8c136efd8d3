//! Safetensors files with their metadata: mapped to be read, written atomically and always in the same bytes.
//!
//! The `safetensors` crate parses and checks what is read. It writes metadata in hash-map order, which
//! changes from run to run, so the header is written here, sorted: the same tensors give the same file.

use std::{collections::BTreeMap, path::Path};

use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use crate::{
    error::{Error, Result},
    mapped::mapped,
};

/// More than any machine holds: a special file is refused, a large model is not.
const MAX_BYTES: u64 = 1 << 40;

/// Named tensors on the CPU and the file's metadata.
#[derive(Debug, Default)]
pub struct TensorFile {
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// The `__metadata__` entries of the header.
    pub metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// Reads all tensors of a safetensors file onto the CPU, in the kind they are stored in.
    ///
    /// # Errors
    /// When the file is missing, cut short or holds a kind that libtorch lacks.
    pub fn read(path: &Path) -> Result<Self> {
        mapped(path, MAX_BYTES, |bytes| Self::of_bytes(path, bytes)).map_err(Error::io(path))?
    }

    fn of_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let bad = |reason: String| Error::BadSafetensors {
            path: path.into(),
            reason,
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| bad(e.to_string()))?;
        let metadata = header
            .metadata()
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let file = SafeTensors::deserialize(bytes).map_err(|e| bad(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let kind = kind_of(view.dtype()).ok_or_else(|| {
                bad(format!(
                    "tensor {name} has the unsupported type {:?}",
                    view.dtype()
                ))
            })?;
            let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
            tensors.insert(name, Tensor::f_from_data_size(view.data(), &shape, kind)?);
        }
        Ok(Self { tensors, metadata })
    }

    /// Writes the file; it appears under its name when it is whole.
    ///
    /// # Errors
    /// When the folder cannot be written, or a tensor has a kind that safetensors lacks.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut header = serde_json::Map::new();
        if !self.metadata.is_empty() {
            header.insert("__metadata__".into(), serde_json::json!(self.metadata));
        }
        let mut data = Vec::new();
        for (name, tensor) in &self.tensors {
            let tensor = tensor.to_device(Device::Cpu).contiguous();
            let dtype = dtype_name(tensor.kind()).ok_or_else(|| Error::BadSafetensors {
                path: path.into(),
                reason: format!("tensor {name} has the unsupported type {:?}", tensor.kind()),
            })?;
            let begin = data.len();
            data.resize(
                begin + tensor.numel() * tensor.kind().elt_size_in_bytes(),
                0,
            );
            tensor.f_copy_data_u8(&mut data[begin..], tensor.numel())?;
            let entry = serde_json::json!({"dtype": dtype, "shape": tensor.size(), "data_offsets": [begin, data.len()]});
            header.insert(name.clone(), entry);
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let parts: [&[u8]; 3] = [&(header.len() as u64).to_le_bytes(), &header, &data];
        lift_files::write(path, &parts).map_err(Error::io(path))
    }
}

fn kind_of(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::BOOL => Kind::Bool,
        Dtype::U8 => Kind::Uint8,
        Dtype::I8 => Kind::Int8,
        Dtype::I16 => Kind::Int16,
        Dtype::I32 => Kind::Int,
        Dtype::I64 => Kind::Int64,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        _ => return None,
    })
}

fn dtype_name(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Bool => "BOOL",
        Kind::Uint8 => "U8",
        Kind::Int8 => "I8",
        Kind::Int16 => "I16",
        Kind::Int => "I32",
        Kind::Int64 => "I64",
        Kind::Half => "F16",
        Kind::BFloat16 => "BF16",
        Kind::Float => "F32",
        Kind::Double => "F64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sample() -> TensorFile {
        let options = (Kind::Float, Device::Cpu);
        let mut file = TensorFile::default();
        file.tensors
            .insert("b".into(), Tensor::arange(6, options).view([2, 3]));
        file.tensors.insert(
            "a.half".into(),
            Tensor::arange(3, options).to_kind(Kind::BFloat16),
        );
        file.tensors.insert("scalar".into(), Tensor::from(1.5f32));
        file.metadata
            .insert("class_names".into(), r#"["a \"b\"","c"]"#.into());
        file.metadata.insert("model".into(), "tiny".into());
        file
    }

    #[test]
    fn what_is_written_is_read_back_and_the_bytes_do_not_vary() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (
            dir.path().join("1.safetensors"),
            dir.path().join("2.safetensors"),
        );
        let written = sample();
        written.write(&first).unwrap();
        sample().write(&second).unwrap();
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
        let read = TensorFile::read(&first).unwrap();
        assert_eq!(read.metadata, written.metadata);
        for (name, tensor) in &written.tensors {
            assert_eq!(read.tensors[name].kind(), tensor.kind(), "{name}");
            assert_eq!(&read.tensors[name], tensor, "{name}");
        }
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(sample().write(&path).is_err());
        let names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["taken"]);
    }

    #[test]
    fn a_cut_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut.safetensors");
        sample().write(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let message = TensorFile::read(&path).unwrap_err().to_string();
        assert!(
            message.contains("cut.safetensors: not a whole safetensors file"),
            "{message}"
        );
    }
}
