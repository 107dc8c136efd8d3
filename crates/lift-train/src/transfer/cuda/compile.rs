//! The kernels made into PTX by NVRTC, which is part of CUDA and needs no device.
//!
//! NVRTC is found as PyTorch's packages lay it out, or by the system. It is loaded when it is needed first.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use cudarc::nvrtc::{self, CompileError, CompileOptions, Ptx, compile_ptx_with_opts};

/// The kernels, compiled when a device is opened.
const SOURCE: &str = include_str!("../../../kernels/patches.cu");
/// The oldest that NVRTC 13 knows: the driver makes machine code of its PTX for any newer device, those to come too.
pub(super) const ARCHITECTURE: &str = "compute_75";
/// The entry for words of 2 bytes, and that for words of 4.
pub(super) const ENTRIES: [&str; 2] = ["patches_of_2_bytes", "patches_of_4_bytes"];

/// The folder of NVIDIA's libraries beside the PyTorch whose `lib` folder is given, as its packages lay them out.
pub(super) fn nvrtc_folder(torch_lib: Option<OsString>) -> Option<PathBuf> {
    let packages = Path::new(&torch_lib?).parent()?.parent()?.to_path_buf();
    Some(packages.join("nvidia/cu13/lib"))
}

/// Loads NVRTC from `folder` where it lies there; cudarc then finds it by its name, else where the system has it.
pub(super) fn load_nvrtc(folder: Option<&Path>) -> std::result::Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
    let files = entries.into_iter().flatten().flatten();
    let names = files.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libnvrtc") && name.contains(".so.") && !name.contains(".alt.")
    });
    let mut names: Vec<PathBuf> = names.collect();
    // `libnvrtc-builtins.so` first: the package's NVRTC looks for it by its name alone.
    names.sort();
    for path in names {
        // SAFETY: the initialisers that run are the library's own; it is never unloaded.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
        std::mem::forget(library.map_err(|e| format!("{}: {e}", path.display()))?);
    }
    // SAFETY: only asks whether the library can be loaded.
    match unsafe { nvrtc::sys::is_culib_present() } {
        true => Ok(()),
        false => Err(
            "NVRTC, CUDA's compiler, is missing\nhint: set LIFT_TORCH_LIB to the lib folder of PyTorch 2.11 with CUDA"
                .into(),
        ),
    }
}

/// The kernels as PTX for a virtual architecture as `compute_90`.
pub(super) fn compile(architecture: &str) -> std::result::Result<Ptx, String> {
    let options = CompileOptions {
        options: vec![format!("--gpu-architecture={architecture}")],
        name: Some("patches.cu".into()),
        ..CompileOptions::default()
    };
    compile_ptx_with_opts(SOURCE, options).map_err(|e| match e {
        CompileError::CompileError { log, .. } => {
            let log = log.to_string_lossy();
            let line = log.lines().next().unwrap_or("no reason given");
            format!("NVRTC for {architecture}: {line}")
        }
        other => format!("NVRTC for {architecture}: {other:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `cargo xtask test` installs NVIDIA's package, if it did.
    fn installed() -> Option<PathBuf> {
        let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib");
        let pythons = fs::read_dir(venv).ok()?.flatten();
        pythons
            .map(|python| python.path().join("site-packages/nvidia/cu13/lib"))
            .find(|folder| folder.join("libnvrtc.so.13").is_file())
    }

    #[test]
    fn the_kernels_compile_to_ptx_without_a_device() {
        let Some(folder) = installed() else {
            eprintln!("skipped: .venv has no nvidia-cuda-nvrtc (cargo xtask test installs it)");
            return;
        };
        load_nvrtc(Some(&folder)).unwrap();
        for architecture in [ARCHITECTURE, "compute_90", "compute_120"] {
            let ptx = compile(architecture).unwrap().to_src();
            for entry in ENTRIES {
                assert!(ptx.contains(&format!(".entry {entry}(")), "{ptx}");
            }
        }
        let refused = compile("compute_1").unwrap_err();
        assert!(refused.starts_with("NVRTC for compute_1: "), "{refused}");
        assert_eq!(refused.lines().count(), 1);
    }

    #[test]
    fn nvrtc_lies_beside_torch() {
        let folder = nvrtc_folder(Some("/site-packages/torch/lib".into()));
        assert_eq!(folder, Some("/site-packages/nvidia/cu13/lib".into()));
        assert_eq!(nvrtc_folder(None), None);
    }
}
