//! The kernels as PTX, from which the driver makes machine code when a device is opened.
//!
//! `kernels/patches.ptx` is what NVRTC makes of `kernels/patches.cu`, so that a machine without CUDA's compiler needs none; a test
//! holds the one to the other, and writes it anew where `LIFT_WRITE_PTX` is set.

/// Of the oldest architecture that NVRTC 13 knows: the driver makes machine code of it for any newer device, those to come too.
pub(super) const PTX: &str = include_str!("../../../kernels/patches.ptx");
/// The entry for words of 2 bytes, and that for words of 4.
pub(super) const ENTRIES: [&str; 2] = ["patches_of_2_bytes", "patches_of_4_bytes"];

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use cudarc::nvrtc::{self, CompileError, CompileOptions, compile_ptx_with_opts};

    use super::*;

    const ARCHITECTURE: &str = "compute_75";

    fn kernels(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("kernels")
            .join(name)
    }

    /// Loads NVRTC from where `cargo xtask test` installs NVIDIA's package, if it did; cudarc then finds it by its name.
    fn load_nvrtc() -> bool {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib");
        let pythons = fs::read_dir(venv).into_iter().flatten().flatten();
        let folder = pythons
            .map(|python| python.path().join("site-packages/nvidia/cu13/lib"))
            .find(|folder| folder.join("libnvrtc.so.13").is_file());
        let Some(folder) = folder else { return false };
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libnvrtc") && name.contains(".so.") && !name.contains(".alt.")
        });
        // `libnvrtc-builtins.so` first: NVRTC looks for it by its name alone.
        files.sort();
        for path in files {
            // SAFETY: the initialisers that run are the library's own; it is never unloaded.
            let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
            std::mem::forget(library.unwrap());
        }
        // SAFETY: only asks whether the library can be loaded.
        unsafe { nvrtc::sys::is_culib_present() }
    }

    fn compile(architecture: &str) -> String {
        let options = CompileOptions {
            options: vec![format!("--gpu-architecture={architecture}")],
            name: Some("patches.cu".into()),
            ..CompileOptions::default()
        };
        let source = fs::read_to_string(kernels("patches.cu")).unwrap();
        match compile_ptx_with_opts(source, options) {
            Ok(ptx) => ptx.to_src(),
            Err(CompileError::CompileError { log, .. }) => panic!("{}", log.to_string_lossy()),
            Err(e) => panic!("{e:?}"),
        }
    }

    #[test]
    fn what_is_shipped_is_what_nvrtc_makes_of_the_source() {
        if !load_nvrtc() {
            eprintln!("skipped: .venv has no nvidia-cuda-nvrtc (cargo xtask test installs it)");
            return;
        }
        let made = compile(ARCHITECTURE);
        if std::env::var_os("LIFT_WRITE_PTX").is_some() {
            fs::write(kernels("patches.ptx"), &made).unwrap();
        }
        let shipped = fs::read_to_string(kernels("patches.ptx")).unwrap();
        assert!(
            made == shipped,
            "kernels/patches.ptx is not what NVRTC makes of patches.cu; LIFT_WRITE_PTX=1 writes it"
        );
        // Newer architectures take the source too.
        for architecture in ["compute_90", "compute_120"] {
            assert!(compile(architecture).contains(ENTRIES[0]));
        }
    }

    #[test]
    fn the_shipped_kernels_have_both_entries_for_old_devices() {
        for entry in ENTRIES {
            assert!(PTX.contains(&format!(".entry {entry}(")), "{entry}");
        }
        assert!(PTX.contains(".target sm_75\n"));
    }
}
