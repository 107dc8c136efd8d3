//! Opcodes put together by hand, as Python 2 wrote CIFAR's files, and as Python 3 writes the same.

use proptest::prelude::*;

use super::*;

/// `{'labels': [6, 9], 'data': <2 x 3 array of u1>}` as Python 2 pickles it with protocol 2.
fn python2(columns_first: bool) -> Vec<u8> {
    let mut bytes = b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x06K\x09eU\x04dataq\x04".to_vec();
    bytes.extend(b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07");
    bytes.extend(b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09");
    bytes.extend(b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb");
    bytes.push(if columns_first { 0x88 } else { 0x89 });
    bytes.extend(b"T\x06\x00\x00\x00abcdeftbu.");
    bytes
}

#[test]
fn python_2_arrays_are_read_in_both_orders() {
    for (columns_first, rows) in [(false, b"abcdef"), (true, b"acebdf")] {
        let bytes = python2(columns_first);
        let pickle = Pickle::read(&bytes).unwrap();
        assert_eq!(pickle.numbers("labels").unwrap(), [6, 9]);
        assert_eq!(pickle.rows("data", 3).unwrap().as_ref(), rows);
        assert!(pickle.rows("data", 2).is_err());
        assert!(pickle.rows("labels", 3).is_err());
        assert_eq!(pickle.numbers("none").unwrap_err(), "there is no `none`");
    }
}

#[test]
fn python_3_byte_strings_are_read() {
    // python3: pickle.dumps({'labels': [1, 300, 70000, -2, 2**40], 'data': bytes([0, 255, 65])}, protocol)
    let protocol2 = b"\x80\x02}q\x00(X\x06\x00\x00\x00labelsq\x01]q\x02(K\x01M,\x01Jp\x11\x01\x00J\xfe\xff\xff\xff\
\x8a\x06\x00\x00\x00\x00\x00\x01eX\x04\x00\x00\x00dataq\x03c_codecs\nencode\nq\x04X\x04\x00\x00\x00\x00\xc3\xbfAq\x05\
X\x06\x00\x00\x00latin1q\x06\x86q\x07Rq\x08u.";
    let protocol4 = b"\x80\x04\x956\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x06labels\x94]\x94(K\x01M,\x01Jp\x11\x01\x00\
J\xfe\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01e\x8c\x04data\x94C\x03\x00\xffA\x94u.";
    for bytes in [&protocol2[..], protocol4] {
        let pickle = Pickle::read(bytes).unwrap();
        assert_eq!(
            pickle.numbers("labels").unwrap(),
            [1, 300, 70_000, -2, 1 << 40]
        );
        assert_eq!(pickle.rows("data", 3).unwrap().as_ref(), [0, 255, 65]);
    }
}

#[test]
fn other_classes_and_opcodes_are_refused_by_name() {
    for (bytes, message) in [
        (
            &b"cos\nsystem\n(U\x02lstR."[..],
            "byte 10: `os.system` is not one of CIFAR's classes",
        ),
        (b"\x80\x05N.", "protocol 5 is not known"),
        (b"I1\n.", "opcode 0x49 is not one of CIFAR's files"),
        (b"", "the file ends too early"),
        (b"U\x05ab.", "the file ends too early"),
        (b"T\xff\xff\xff\xffab.", "the file ends too early"),
        (b"(K\x01t(.", "an opcode without its operand"),
        (b"h\x07.", "object 7 is not known"),
        (b"}(K\x01u.", "a key without its value"),
        (
            b"cnumpy\ndtype\nU\x02f4\x85R.",
            "an array of `f4`, not of bytes",
        ),
        (b"NN\x86b.", "an opcode without its operand"),
        (b"\x8a\x09123456789.", "more than 64 bits"),
    ] {
        let err = Pickle::read(bytes).unwrap_err().to_string();
        assert!(err.contains(message), "{err}");
    }
    assert!(Pickle::read(b"N.").unwrap().numbers("x").is_err());
}

#[test]
fn a_small_pickle_cannot_become_large() {
    // The same text is turned into bytes again and again.
    let mut bytes = b"\x80\x02}c_codecs\nencode\nq\x01X\x00\x10\x00\x00".to_vec();
    bytes.extend([b'a'; 4096]);
    bytes.extend(b"X\x06\x00\x00\x00latin1\x86q\x02");
    let call = b"h\x01h\x02R";
    for _ in 0..100 {
        bytes.extend(call);
    }
    bytes.push(b'.');
    let err = Pickle::read(&bytes).unwrap_err().to_string();
    assert!(err.contains("larger than the file"), "{err}");
    // A dictionary that holds itself is read without end nowhere.
    let cycle = Pickle::read(b"}q\x01U\x01ah\x01s.").unwrap();
    assert!(cycle.numbers("a").is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_pickle(
        noise in prop::collection::vec(any::<u8>(), 0..64),
        at in 0_usize..200,
        byte in any::<u8>(),
    ) {
        let _ = Pickle::read(&noise);
        let mut bytes = python2(false);
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(pickle) = Pickle::read(&bytes) {
            let _ = (pickle.numbers("labels"), pickle.rows("data", 3));
        }
        let cut = &python2(true)[..at];
        prop_assert!(Pickle::read(cut).is_err());
    }
}
