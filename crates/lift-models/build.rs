//! Compiles the shim over libtorch, and lets test binaries find libtorch at run time without `LD_LIBRARY_PATH`.
//!
//! `torch-sys` has `links = "tch"`; only its direct dependents see `DEP_TCH_LIBTORCH_LIB`.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=cpp/shim.cpp");
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch lies");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    let include = Path::new(&lib)
        .parent()
        .expect("a folder holds lib/")
        .join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(include)
        .file("cpp/shim.cpp")
        .compile("lift_shim");
}
