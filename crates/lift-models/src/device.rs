//! Where tensors live: `auto`, `cpu` or `cuda:N`, and the CUDA half of libtorch loaded on demand.
//!
//! The programs link only libtorch's CPU libraries, so that they start on machines without CUDA. When
//! `libtorch_cuda.so` can be found it is loaded before the first CUDA query and registers itself.

use std::{fmt, str::FromStr, sync::OnceLock};

use tch::{Cuda, Device, Kind};

use crate::{
    error::{Error, Result},
    say::say,
};

/// Which device to use, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("{other:?} is not a device; use auto, cpu or cuda:N")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl DeviceChoice {
    /// The device, and for `auto` a line that says why the CPU was taken, if it was.
    ///
    /// # Errors
    /// When a CUDA device was asked for by number and is not there.
    pub fn resolve(self) -> Result<(Device, Option<String>)> {
        match self {
            Self::Cpu => Ok((Device::Cpu, None)),
            Self::Auto => match cuda_devices() {
                Ok(_) => Ok((Device::Cuda(0), None)),
                Err(reason) => Ok((Device::Cpu, Some(format!("device: cpu ({reason})")))),
            },
            Self::Cuda(n) => match cuda_devices() {
                Ok(count) if n < count => Ok((Device::Cuda(n), None)),
                Ok(count) => Err(Error::Device {
                    asked: self.to_string(),
                    reason: format!("there are {count} CUDA devices"),
                }),
                Err(reason) => {
                    let reason = format!(
                        "{reason}\nhint: use --device cpu, or point LIFT_TORCH_LIB at the lib folder of PyTorch 2.11 with CUDA"
                    );
                    Err(Error::Device {
                        asked: self.to_string(),
                        reason,
                    })
                }
            },
        }
    }

    /// The device; why `auto` took the CPU, if it did, is printed on standard error.
    ///
    /// # Errors
    /// When a CUDA device was asked for by number and is not there.
    pub fn resolve_with_note(self) -> Result<Device> {
        let (device, note) = self.resolve()?;
        if let Some(note) = note {
            say(&note);
        }
        Ok(device)
    }
}

/// `cpu` or `cuda:N`, as it is typed.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".into(),
        Device::Cuda(n) => format!("cuda:{n}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The number of CUDA devices, at least one, or why there is none.
fn cuda_devices() -> std::result::Result<usize, String> {
    load_cuda_backend()?;
    match Cuda::device_count() {
        n if n > 0 => Ok(n as usize),
        _ => Err("no CUDA device was found".into()),
    }
}

/// Loads `libtorch_cuda.so` from `LIFT_TORCH_LIB`, or from where the loader looks, once.
#[allow(unsafe_code)]
fn load_cuda_backend() -> std::result::Result<(), String> {
    static LOADED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
            let file = match std::env::var_os("LIFT_TORCH_LIB") {
                Some(folder) => std::path::Path::new(&folder).join("libtorch_cuda.so"),
                None => "libtorch_cuda.so".into(),
            };
            // SAFETY: the initialisers that run are libtorch's own, made to be run on load; the library is never
            // unloaded (the handle is leaked below), so nothing it registers can dangle.
            let library = unsafe { Library::open(Some(&file), RTLD_NOW | RTLD_GLOBAL) };
            match library {
                Ok(library) => {
                    std::mem::forget(library);
                    Ok(())
                }
                Err(_) if std::env::var_os("LIFT_TORCH_LIB").is_none() => {
                    Err("libtorch has no CUDA part here".into())
                }
                Err(e) => Err(format!("{}: {e}", file.display())),
            }
        })
        .clone()
}

/// The kind of the frozen weights and of the matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// bfloat16 for the frozen weights; tuned tensors and LayerNorm stay fp32.
    Bf16,
    /// IEEE half for the frozen weights, likewise; training needs its loss scaled.
    Fp16,
}

impl Precision {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 3] = [
        (Self::Fp32, "fp32", "32-bit floats"),
        (
            Self::Bf16,
            "bf16",
            "bfloat16 for frozen weights and products",
        ),
        (
            Self::Fp16,
            "fp16",
            "IEEE half, in training with a scaled loss",
        ),
    ];

    /// What is usual on a device: bf16 on CUDA, fp32 on CPUs, most of which are slower in 16 bits.
    pub fn usual(device: Device) -> Self {
        match device {
            Device::Cuda(_) => Self::Bf16,
            _ => Self::Fp32,
        }
    }

    /// libtorch's name for it.
    pub fn kind(self) -> Kind {
        match self {
            Self::Fp32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::Fp16 => Kind::Half,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Self::WORDS.iter();
        let (_, word, _) = words
            .find(|(precision, ..)| precision == self)
            .expect("each has a word");
        f.write_str(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_parsed_and_printed() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        assert_eq!(device_name(Device::Cpu), "cpu");
        assert_eq!(device_name(Device::Cuda(3)), "cuda:3");
        for text in ["gpu", "cuda:", "cuda:-1", ""] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_cuda_device_that_cannot_be_there_is_refused() {
        let message = DeviceChoice::Cuda(4096).resolve().unwrap_err().to_string();
        assert!(message.starts_with("device cuda:4096: "), "{message}");
    }
}
