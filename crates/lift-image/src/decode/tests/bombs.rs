//! Small files that would take much memory or time.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::damage::chunk;
use super::*;

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A PNG of one colour type and depth 8 with this data.
fn png(width: u32, height: u32, colour: u8, data: &[u8]) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, colour, 0, 0, 0]);
    [
        &b"\x89PNG\r\n\x1A\n"[..],
        &chunk(b"IHDR", &header),
        &chunk(b"IDAT", data),
        &chunk(b"IEND", &[]),
    ]
    .concat()
}

#[test]
fn more_pixels_than_the_data_can_hold_are_refused_before_memory_is_asked_for() {
    let mut jpeg = encode(&gradient(16, 16), ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xFF, 0xC0])
        .unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x2E, 0xE0, 0x2E, 0xE0]);
    let mut gif = encode(&gradient(16, 16).to_rgba8().into(), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[0xE0, 0x2E, 0xE0, 0x2E]);
    let mut bmp = encode(&gradient(16, 16), ImageFormat::Bmp);
    for at in [18, 22] {
        bmp[at..at + 4].copy_from_slice(&12_000_u32.to_le_bytes());
    }
    for (format, bytes) in [
        ("JPEG", jpeg),
        ("GIF", gif),
        ("BMP", bmp),
        ("PNG", png(12_000, 12_000, 6, &packed(&[0; 1000]))),
    ] {
        let refused = DecodeError::TooLittle {
            format,
            width: 12_000,
            height: 12_000,
            bytes: bytes.len(),
        };
        assert_eq!(decode(&bytes), Err(refused.clone()));
        assert_eq!(size(&bytes, Orientation::Exif), Err(refused));
    }
}

#[test]
fn the_most_pixels_are_a_rule() {
    let bytes = encode(&gradient(40, 30), ImageFormat::Jpeg);
    let rules = |max_pixels| Rules {
        max_pixels,
        ..Orientation::Exif.into()
    };
    assert!(decode_rgb(&bytes, rules(1200)).is_ok());
    let err = decode_rgb(&bytes, rules(1199)).unwrap_err();
    assert_eq!(
        err.to_string(),
        "40x30 pixels, allowed are 1 to 1199 (--max-pixels)"
    );
    assert_eq!(size(&bytes, rules(1199)), Err(err));
}

#[test]
fn metadata_is_not_unpacked() {
    let row = [&[0][..], &[7; 24]].concat();
    let plain = png(8, 8, 2, &packed(&row.repeat(8)));
    assert_eq!(decode(&plain).unwrap().pixels, [7; 8 * 24]);
    let bomb = packed(&vec![0; 8 << 20]);
    assert!(bomb.len() < 10_000);
    let (head, rest) = plain.split_at(33);
    for (name, content) in [
        (b"iCCP", [b"p\0\0".as_slice(), &bomb].concat()),
        (b"zTXt", [b"p\0\0".as_slice(), &bomb].concat()),
        (b"iTXt", [b"p\0\x01\0\0\0".as_slice(), &bomb].concat()),
        (
            b"iTXt",
            [b"XML:com.adobe.xmp\0\x01\0\0\0".as_slice(), &bomb].concat(),
        ),
        (
            b"zTXt",
            [b"Raw profile type exif\0\0".as_slice(), &bomb].concat(),
        ),
    ] {
        let bytes = [head, &chunk(name, &content), rest].concat();
        // What reaches the decoder has no such chunk.
        assert_eq!(super::super::png::of_pixels(&bytes), plain);
        assert_eq!(decode(&bytes), decode(&plain));
    }
}

#[test]
fn an_image_that_takes_more_than_the_budget_is_refused() {
    let bytes = png(3000, 2000, 2, &packed(&vec![0; 2000 * 9001]));
    let mut decoder = Decoder::sharing(&Budget::of_bytes(17 << 20));
    let err = decoder.decode(&bytes, Orientation::Exif).unwrap_err();
    assert_eq!(err, DecodeError::Memory { bytes: 18_000_000 });
    let mut decoder = Decoder::sharing(&Budget::of_bytes(18_000_000));
    for _ in 0..3 {
        assert_eq!(
            decoder.decode(&bytes, Orientation::Exif).unwrap().width,
            3000
        );
    }
    decoder.release();
    let small = encode(&gradient(40, 30), ImageFormat::Png);
    let mut decoder = Decoder::sharing(&Budget::of_bytes(0));
    assert!(decoder.decode(&small, Orientation::Exif).is_ok());
}
