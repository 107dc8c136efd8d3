//! Compiles the shim over libjpeg-turbo (feature `turbojpeg`).
//!
//! `turbojpeg-sys` has `links = "turbojpeg"`; only its direct dependents see `DEP_TURBOJPEG_INCLUDE`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=c/jpeg.c");
    #[cfg(feature = "turbojpeg")]
    {
        let include = std::env::var("DEP_TURBOJPEG_INCLUDE");
        let include = include.expect("turbojpeg-sys says where its headers lie");
        cc::Build::new()
            .std("c99")
            .opt_level(2)
            .includes(include.split(','))
            .file("c/jpeg.c")
            .compile("lift_jpeg");
    }
}
