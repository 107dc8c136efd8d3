//! EXIF and XMP in all the ways that programs write them; what Pillow 13.0 makes of each stands beside it.

use super::*;

/// A JPEG of 16 x 8 with these APP1 segments.
fn with_app1(payloads: &[Vec<u8>]) -> Vec<u8> {
    let jpeg = encode(&gradient(16, 8), ImageFormat::Jpeg);
    let mut bytes = jpeg[..2].to_vec();
    for payload in payloads {
        bytes.extend([0xFF, 0xE1]);
        bytes.extend((payload.len() as u16 + 2).to_be_bytes());
        bytes.extend(payload);
    }
    bytes.extend(&jpeg[2..]);
    bytes
}

fn is_turned(payloads: &[Vec<u8>]) -> bool {
    let bytes = with_app1(payloads);
    let image = decode(&bytes).unwrap();
    assert_eq!(
        size(&bytes, Orientation::Exif),
        Ok((image.width, image.height))
    );
    match (image.width, image.height) {
        (8, 16) => true,
        (16, 8) => false,
        other => panic!("{other:?}"),
    }
}

/// EXIF with the orientation tag of a kind, so many values and their bytes: little-endian.
fn exif(kind: u16, count: u32, values: &[u8]) -> Vec<u8> {
    let mut bytes = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01".to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    let mut field = values.to_vec();
    if values.len() > 4 {
        field = 26_u32.to_le_bytes().to_vec();
    }
    field.resize(4, 0);
    bytes.extend(field);
    bytes.extend([0; 4]);
    if values.len() > 4 {
        bytes.extend(values);
    }
    bytes
}

fn xmp(text: &str) -> Vec<u8> {
    [b"http://ns.adobe.com/xap/1.0/\0", text.as_bytes()].concat()
}

#[test]
fn any_kind_of_number_turns() {
    let float = 6.0_f32.to_le_bytes();
    let double = 6.0_f64.to_le_bytes();
    for (kind, count, values) in [
        (3, 1, &[6, 0][..]),
        (3, 2, &[6, 0, 0, 0]),
        (4, 1, &[6, 0, 0, 0]),
        (4, 2, &[6, 0, 0, 0, 0, 0, 0, 0]),
        (5, 1, &[6, 0, 0, 0, 1, 0, 0, 0]),
        (6, 1, &[6]),
        (8, 1, &[6, 0]),
        (9, 1, &[6, 0, 0, 0]),
        (9, 2, &[6, 0, 0, 0, 0, 0, 0, 0]),
        (10, 1, &[6, 0, 0, 0, 1, 0, 0, 0]),
        (11, 1, &float),
        (12, 1, &double),
        (13, 1, &[6, 0, 0, 0]),
        (16, 1, &[6, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        assert!(
            is_turned(&[exif(kind, count, values)]),
            "kind {kind}, {count}"
        );
    }
    // Bytes and text are no numbers, and some numbers are no orientation.
    for (kind, count, values) in [
        (1, 1, &[6][..]),
        (2, 2, b"6\0"),
        (7, 1, &[6]),
        (3, 0, &[6, 0]),
        (3, 1, &[0, 0]),
        (3, 1, &[9, 0]),
        (4, 1, &[6, 0, 1, 0]),
        (99, 1, &[6, 0]),
    ] {
        assert!(
            !is_turned(&[exif(kind, count, values)]),
            "kind {kind}, {count}"
        );
    }
    let big_endian = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x06\0\0\0\0";
    assert!(is_turned(&[big_endian.to_vec()]));
}

#[test]
fn headers_may_be_doubled_and_segments_split() {
    let whole = exif(3, 1, &[6, 0]);
    let doubled = [b"Exif\0\0", whole.as_slice()].concat();
    assert!(is_turned(&[doubled]));
    // More than a segment holds: the rest follows in the next.
    let (first, second) = whole.split_at(15);
    let second = [b"Exif\0\0", second].concat();
    assert!(is_turned(&[first.to_vec(), second]));
    assert!(is_turned(&[b"Exif\0\0".to_vec(), whole.clone()]));
    // Of two the first counts; of a tag that stands twice as well.
    let upside_down = exif(3, 1, &[3, 0]);
    assert!(!is_turned(&[upside_down, whole]));
}

#[test]
fn xmp_counts_where_exif_says_nothing() {
    let attribute = xmp(r#"<a tiff:Orientation="6"/>"#);
    assert!(is_turned(std::slice::from_ref(&attribute)));
    assert!(is_turned(&[xmp("<tiff:Orientation>6</tiff:Orientation>")]));
    assert!(!is_turned(&[xmp("<a tiff:Orientation='6'/>")]));
    // The last packet.
    assert!(is_turned(&[
        xmp(r#"<a tiff:Orientation="3"/>"#),
        attribute.clone()
    ]));
    // EXIF without the tag.
    let mut other = exif(3, 1, &[3, 0]);
    other[16] = 0x13;
    assert!(is_turned(&[other, attribute.clone()]));
    for says_no in [
        exif(3, 1, &[1, 0]),
        exif(3, 1, &[0, 0]),
        b"Exif\0\0garbage!".to_vec(),
    ] {
        assert!(!is_turned(&[says_no, attribute.clone()]));
    }
}

#[test]
fn what_is_cut_or_nonsense_turns_nothing() {
    let whole = exif(4, 2, &[6, 0, 0, 0, 0, 0, 0, 0]);
    for end in 6..whole.len() {
        assert!(!is_turned(&[whole[..end].to_vec()]), "{end}");
    }
    // A directory that says it has more entries than there are.
    let mut more = exif(3, 1, &[6, 0]);
    more[14] = 200;
    assert!(is_turned(&[more]));
    let mut far = exif(3, 1, &[6, 0]);
    far[10..14].copy_from_slice(&[0xFF; 4]);
    assert!(!is_turned(&[far]));
}
