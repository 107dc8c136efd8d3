//! What is cut, damaged or padded: a bad image, or the pixels that it has; never pixels that it has not.

use flate2::Crc;

use super::fixtures::file;
use super::*;

/// A photo-like JPEG in one scan, or progressive.
fn photo(is_progressive: bool) -> Vec<u8> {
    let wave = |x: u32, y: u32, a: u32, b: u32| {
        let noise = (x * 7919 + y * 104_729 + x * y * 31) % 23;
        (100.0 + 80.0 * (f64::from(x * a + y * b) / 17.0).sin()) as u8 + noise as u8
    };
    let image = image::RgbImage::from_fn(200, 150, |x, y| {
        Rgb([wave(x, y, 3, 1), wave(x, y, 1, 4), wave(x, y, 2, 2)])
    });
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::R_4_2_0);
    encoder.set_progressive(is_progressive);
    encoder
        .encode(&image, 200, 150, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    bytes
}

/// Where the coded data begins.
fn data_start(jpeg: &[u8]) -> usize {
    let scan = jpeg
        .windows(2)
        .position(|pair| pair == [0xFF, 0xDA])
        .unwrap();
    scan + 2 + usize::from(jpeg[scan + 3])
}

const END: [u8; 2] = [0xFF, 0xD9];

fn damaged_files() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for jpeg in [photo(false), photo(true)] {
        let (start, length) = (data_start(&jpeg), jpeg.len() - data_start(&jpeg));
        for percent in [5, 50, 95] {
            // Not between the two bytes of a marker or of a 255.
            let mut end = start + length * percent / 100;
            end += usize::from(jpeg[end - 1] == 0xFF);
            files.push([&jpeg[..end], &END[..]].concat());
            // What a download makes that was gone on with from the beginning.
            files.push([&jpeg[..end], &jpeg[..]].concat());
        }
        let (from, to) = (start + length / 3, start + length * 8 / 15);
        files.push([&jpeg[..from], &jpeg[to..]].concat());
    }
    let restarts = file("rgb-restarts.jpg");
    let lost = restarts
        .windows(2)
        .position(|pair| pair == [0xFF, 0xD2])
        .unwrap();
    files.push([&restarts[..lost], &restarts[lost + 2..]].concat());
    files
}

#[test]
fn damaged_jpegs_are_refused() {
    for (nth, bytes) in damaged_files().iter().enumerate() {
        let err = decode(bytes).unwrap_err();
        let is_named = matches!(
            err,
            DecodeError::Damaged { format: "JPEG", .. } | DecodeError::Truncated { .. }
        );
        assert!(is_named, "{nth}: {err}");
    }
    #[cfg(feature = "turbojpeg")]
    assert_eq!(
        decode(&damaged_files()[0]).unwrap_err().to_string(),
        "JPEG: damaged: premature end of data segment"
    );
}

#[test]
fn damage_is_kept_and_marked_where_that_is_asked_for() {
    let rules = Rules {
        damaged: Damaged::Keep,
        ..Orientation::Exif.into()
    };
    let mut decoder = Decoder::default();
    let whole = photo(false);
    let (start, end) = (data_start(&whole), whole.len() - 2);
    let half = [&whole[..(start + end) / 2 + 1], &END[..]].concat();
    let image = decoder.decode(&half, rules).unwrap().pixels.to_vec();
    let reason = decoder.damage().unwrap();
    assert!(
        reason.starts_with("JPEG: damaged: premature end of data"),
        "{reason}"
    );
    // The first rows are there.
    let expected = decode(&whole).unwrap();
    assert_eq!(image.len(), expected.pixels.len());
    assert_eq!(image[..200 * 3 * 32], expected.pixels[..200 * 3 * 32]);
    // A whole one is no other for it.
    assert_eq!(
        decoder.decode(&whole, rules).unwrap().pixels,
        expected.pixels
    );
    assert_eq!(decoder.damage(), None);
    // What no decoder reads is no image all the same.
    assert!(decoder.decode(b"\xFF\xD8\xFF\xD9", rules).is_err());
}

#[test]
fn stray_bytes_cost_no_pixels() {
    for jpeg in [photo(false), photo(true)] {
        let whole = decode(&jpeg).unwrap();
        let (head, body) = jpeg.split_at(20);
        let data = &jpeg[..jpeg.len() - 2];
        let sos = data_start(&jpeg) - 14;
        for padded in [
            [data, &[0; 17], &END].concat(),
            [data, &[0; 5000], &END].concat(),
            [data, &[1, 2, 3], &END].concat(),
            [data, &[0xFF; 9], &END].concat(),
            [head, &[0, 7, 9], body].concat(),
            [&jpeg[..sos], &[0xFF; 4], &jpeg[sos..]].concat(),
            [&jpeg[..], &[1, 2, 3, 4]].concat(),
            [&jpeg[..], &jpeg[..]].concat(),
            [&jpeg[..], &jpeg[..500]].concat(),
        ] {
            assert!(
                decode(&padded).as_ref() == Ok(&whole),
                "{} bytes",
                padded.len()
            );
            assert_eq!(size(&padded, Orientation::Exif), Ok((200, 150)));
        }
    }
}

#[test]
fn the_end_belongs_to_the_image() {
    let jpeg = photo(false);
    let cut = &jpeg[..jpeg.len() * 6 / 10];
    let err = Err(DecodeError::Truncated { format: "JPEG" });
    assert_eq!(size(&[cut, &jpeg].concat(), Orientation::Exif), err);
    assert_eq!(size(cut, Orientation::Exif), err);
    assert!(decode(&[cut, &jpeg].concat()).is_err());
    assert_eq!(
        decode(cut).map(|_| ()),
        Err(DecodeError::Truncated { format: "JPEG" })
    );
}

#[test]
fn no_format_is_filled_in() {
    let image = gradient(60, 40);
    let mut files: Vec<_> = [
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::WebP,
    ]
    .map(|format| (format!("{format:?}"), encode(&image, format)))
    .into();
    files.push((
        "Gif".to_owned(),
        encode(&image.to_rgba8().into(), ImageFormat::Gif),
    ));
    for name in [
        "palette.gif",
        "palette.tif",
        "big.tif",
        "associated.tif",
        "exif.webp",
        "exif.png",
        "alpha-0-v5.bmp",
    ] {
        files.push((name.to_owned(), file(name)));
    }
    for (name, bytes) in files {
        decode(&bytes).unwrap();
        // A GIF's last byte says that nothing follows; its image is there without it.
        let last = if name.to_lowercase().ends_with("gif") {
            1
        } else {
            0
        };
        for end in (1..bytes.len() - last).rev().step_by(7) {
            assert!(
                decode(&bytes[..end]).is_err(),
                "{name}: {end} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn run_length_codes_go_to_the_last_row() {
    // 4 x 2 pixels of 8 bits with a palette of two colours: black and red.
    let bmp = |codes: &[u8]| {
        let mut file = b"BM".to_vec();
        for field in [
            0,
            0,
            62,
            40,
            4,
            2,
            8 << 16 | 1,
            1,
            codes.len() as u32,
            0,
            0,
            2,
            0,
        ] {
            file.extend(u32::to_le_bytes(field));
        }
        file.extend([0, 0, 0, 0, 0, 0, 255, 0]);
        file.extend(codes);
        file
    };
    let (black, red) = ([0, 0, 0], [255, 0, 0]);
    // The lower row red; of the upper one, two values as they are and a run.
    let codes = [4, 1, 0, 0, 0, 3, 0, 1, 0, 0, 1, 1, 0, 1];
    let pixels = [black, red, black, red, red, red, red, red].concat();
    assert_eq!(decode(&bmp(&codes)).unwrap().pixels, pixels);
    for end in (0..12).step_by(2) {
        assert!(decode(&bmp(&codes[..end])).is_err(), "{end}");
        // Ended in order, but early.
        if end < 4 {
            let early = [&codes[..end], &[0, 1]].concat();
            let cut = DecodeError::Truncated { format: "BMP" };
            assert_eq!(decode(&bmp(&early)), Err(cut));
        }
    }
}

#[cfg(feature = "turbojpeg")]
#[test]
fn a_jpeg_within_a_tiff_is_whole_too() {
    let tiff = file("jpeg.tif");
    assert!(decode(&tiff).is_ok());
    // A fifth of the data within it, zeroed.
    let data = tiff
        .windows(2)
        .position(|pair| pair == [0xFF, 0xDA])
        .unwrap();
    let end = tiff[data..].windows(2).position(|pair| pair == END);
    let end = data + end.unwrap();
    let (from, to) = (data + (end - data) / 2, data + (end - data) * 7 / 10);
    let mut zeroed = tiff.clone();
    zeroed[from..to].fill(0);
    let err = decode(&zeroed).unwrap_err();
    assert!(
        matches!(err, DecodeError::Damaged { format: "JPEG", .. }),
        "{err}"
    );
}

#[test]
fn a_frame_that_ends_early_is_no_frame() {
    let gif = file("palette.gif");
    // The frame's only block of data ends the file: length, data, no more blocks, no more frames.
    let at = (0..gif.len())
        .rev()
        .find(|&at| at + 1 + usize::from(gif[at]) + 2 == gif.len())
        .unwrap();
    let half = gif[at] / 2;
    let short = [
        &gif[..at],
        &[half],
        &gif[at + 1..at + 1 + usize::from(half)],
        &[0, 0x3B],
    ]
    .concat();
    assert!(decode(&short).is_err());
}

/// A PNG's chunk.
pub(super) fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(name);
    crc.update(content);
    [
        &(content.len() as u32).to_be_bytes(),
        &name[..],
        content,
        &crc.sum().to_be_bytes(),
    ]
    .concat()
}

#[test]
fn a_png_without_its_last_rows_is_refused_though_its_chunks_are_right() {
    let png = encode(&gradient(60, 40), ImageFormat::Png);
    let at = png.windows(4).position(|name| name == b"IDAT").unwrap();
    let length = u32::from_be_bytes(png[at - 4..at].try_into().unwrap()) as usize;
    let half = chunk(b"IDAT", &png[at + 4..at + 4 + length / 2]);
    let short = [&png[..at - 4], &half, &chunk(b"IEND", &[])].concat();
    let err = decode(&short).unwrap_err();
    assert!(
        matches!(err, DecodeError::Malformed { format: "PNG", .. }),
        "{err}"
    );
}
