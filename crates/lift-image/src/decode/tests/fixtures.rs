//! The pixels of `tests/images`, which `draw.py` there has made: hashes of what Pillow 13.0 (libjpeg-turbo 3.2) makes of
//! them, upright and as RGB; of transparency, which Pillow does not lay over white, what NumPy makes of it.

use twox_hash::XxHash3_64;

use super::super::*;

pub(super) fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/images/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

#[track_caller]
fn check(name: &str, size: (u32, u32), pixels: u64) {
    let bytes = file(name);
    let image = decode_rgb(&bytes, Orientation::Exif).unwrap();
    assert_eq!((image.width, image.height), size, "{name}");
    assert_eq!(XxHash3_64::oneshot(&image.pixels), pixels, "{name}");
    assert_eq!(super::size(&bytes, Orientation::Exif), Ok(size), "{name}");
}

#[cfg(feature = "turbojpeg")]
#[test]
fn jpegs_of_all_samplings_scans_and_inks_are_as_in_pillow() {
    for (name, pixels) in [
        ("ycck-2x2-1x1-1x1-2x2.jpg", 0xc5ba10cd8456bce9),
        ("ycck-2x2-1x1-1x1-2x2-progressive.jpg", 0xc5ba10cd8456bce9),
        ("ycck-1x1-1x1-1x1-2x2.jpg", 0xca920036c124436a),
        ("ycck-1x1-1x1-1x1-2x2-progressive.jpg", 0xca920036c124436a),
        ("ycck-1x1-2x2-2x2-1x1.jpg", 0x486a77f0032c12df),
        ("ycck-1x1-2x2-2x2-1x1-progressive.jpg", 0x486a77f0032c12df),
        ("ycck-scans.jpg", 0x486a77f0032c12df),
        ("cmyk-without-adobe.jpg", 0xe4537a2e89cb3ec5),
        ("cmyk.jpg", 0xe4537a2e89cb3ec5),
        ("rgb-2x2.jpg", 0xca72e9773d07a2b2),
        ("rgb-2x1.jpg", 0x7b7056de696b5745),
        ("rgb-1x2.jpg", 0x56b4fc2dea577d55),
        ("rgb-4x1.jpg", 0x186a666dc5f51440),
        ("rgb-3x1.jpg", 0x9c6458170e27997d),
        ("rgb-1x1-2x2-2x2.jpg", 0xd5e9c5387df6058a),
        ("rgb-arithmetic.jpg", 0xca72e9773d07a2b2),
        ("rgb-progressive-arithmetic.jpg", 0xca72e9773d07a2b2),
        ("rgb-restarts.jpg", 0xca72e9773d07a2b2),
        ("rgb-progressive.jpg", 0xca72e9773d07a2b2),
    ] {
        check(name, (45, 29), pixels);
    }
}

#[cfg(not(feature = "turbojpeg"))]
#[test]
fn jpegs_that_only_libjpeg_turbo_reads_are_refused_by_name() {
    for name in [
        "ycck-1x1-1x1-1x1-2x2.jpg",
        "ycck-1x1-2x2-2x2-1x1.jpg",
        "ycck-scans.jpg",
        "cmyk.jpg",
        "rgb-3x1.jpg",
        "rgb-1x1-2x2-2x2.jpg",
    ] {
        let err = decode_rgb(&file(name), Orientation::Exif)
            .unwrap_err()
            .to_string();
        assert!(err.contains("libjpeg-turbo"), "{name}: {err}");
    }
    for name in [
        "rgb-2x2.jpg",
        "rgb-2x1.jpg",
        "rgb-1x2.jpg",
        "rgb-restarts.jpg",
        "rgb-progressive.jpg",
        "ycck-2x2-1x1-1x1-2x2.jpg",
    ] {
        let image = decode_rgb(&file(name), Orientation::Exif);
        assert_eq!(
            image.map(|image| (image.width, image.height)),
            Ok((45, 29)),
            "{name}"
        );
    }
}

#[test]
fn orientation_is_found_in_every_format_that_has_it() {
    for name in [
        "exif.png",
        "xmp.png",
        "raw-profile.png",
        "exif.webp",
        "xmp.webp",
        "turned.tif",
    ] {
        check(name, (29, 45), 0x3b43752c46c732aa);
    }
}

#[test]
fn palettes_large_offsets_and_odd_canvases_are_read() {
    check("palette.tif", (12, 8), 0x4feea96b8936bb61);
    check("palette-1.tif", (12, 8), 0xef935da7db10895c);
    check("palette.gif", (12, 8), 0x4feea96b8936bb61);
    check("no-screen.gif", (12, 8), 0x4feea96b8936bb61);
    check("big.tif", (12, 8), 0xbc2645c59a441c34);
}

#[test]
fn alpha_is_laid_over_white_where_it_is_meant() {
    for name in [
        "straight.tif",
        "associated.tif",
        "associated-big-endian.tif",
    ] {
        check(name, (12, 8), 0xd36f34098ba7854d);
    }
    for name in ["transparent.gif", "transparent.png"] {
        check(name, (12, 8), 0x1d881545809e72d4);
    }
    // A fourth sample that is no alpha, and bytes that no program has filled.
    for name in [
        "unspecified.tif",
        "alpha-0-info.bmp",
        "alpha-0-v3.bmp",
        "alpha-0-v4.bmp",
        "alpha-0-v5.bmp",
    ] {
        check(name, (12, 8), 0xbc2645c59a441c34);
    }
}
