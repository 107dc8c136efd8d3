//! Lets binaries and tests find libtorch at run time without `LD_LIBRARY_PATH`, and compiles the CUDA kernels for the
//! CPU.
//!
//! `torch-sys` has `links = "tch"`; only its direct dependents see `DEP_TCH_LIBTORCH_LIB`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch lies");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");

    let kernels = "../crates/lift-train/kernels";
    println!("cargo:rerun-if-changed={kernels}");
    cc::Build::new()
        .cpp(true)
        .file(format!("{kernels}/on_cpu.cpp"))
        .compile("kernels_on_cpu");
}
