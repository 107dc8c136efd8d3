//! Files that PyTorch wrote (`tests/fixtures/pickle/make.py`), and others that it never would.

use std::{
    fs,
    io::{Cursor, Write},
    path::PathBuf,
};

use proptest::prelude::*;
use tch::Kind;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/pickle")
        .join(name)
}

fn tensors(name: &str) -> BTreeMap<String, Tensor> {
    read(&fixture(name)).unwrap()
}

fn refusal(name: &str) -> String {
    let message = read(&fixture(name)).unwrap_err().to_string();
    let folder = format!("{}/", fixture("").display());
    message
        .replace(folder.trim_end_matches('/'), "")
        .trim_start_matches('/')
        .to_owned()
}

/// Kind, shape and values, which doubles hold exactly here.
fn contents(tensor: &Tensor) -> (Kind, Vec<i64>, Vec<f64>) {
    assert!(tensor.is_contiguous());
    let values = tensor.to_kind(Kind::Double).flatten(0, -1);
    (tensor.kind(), tensor.size(), values.try_into().unwrap())
}

#[test]
fn every_kind_is_read_from_protocols_2_and_4() {
    let expected = [
        (
            "fp32",
            Kind::Float,
            vec![2, 3],
            vec![0.5, -1.25, 3.0, 1e-8_f32.into(), 65504.0, -0.0],
        ),
        ("fp16", Kind::Half, vec![3], vec![0.5, -2.0, 1024.0]),
        ("bf16", Kind::BFloat16, vec![2], vec![1.5, -256.0]),
        ("double", Kind::Double, vec![2], vec![0.1, -1e300]),
        (
            "int64",
            Kind::Int64,
            vec![1, 2],
            vec![1.0, -(2f64.powi(40))],
        ),
        ("int32", Kind::Int, vec![2], vec![7.0, -70000.0]),
        ("int16", Kind::Int16, vec![1], vec![-300.0]),
        ("int8", Kind::Int8, vec![2], vec![-128.0, 127.0]),
        ("uint8", Kind::Uint8, vec![2], vec![0.0, 255.0]),
        ("bool", Kind::Bool, vec![3], vec![1.0, 0.0, 1.0]),
        ("scalar", Kind::Float, vec![], vec![4.5]),
        ("empty", Kind::Float, vec![0, 3], vec![]),
    ];
    for file in [
        "kinds-ordered-dict-with-metadata.bin",
        "kinds-protocol-4.bin",
    ] {
        let read = tensors(file);
        assert_eq!(read.len(), expected.len());
        for (name, kind, size, values) in &expected {
            let expected = (*kind, size.clone(), values.clone());
            assert_eq!(contents(&read[*name]), expected, "{file}: {name}");
        }
    }
}

#[test]
fn views_of_one_storage_become_tensors_of_their_own() {
    let read = tensors("views-of-one-storage.bin");
    let whole: Vec<f64> = (0..12).map(f64::from).collect();
    let turned = [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11].map(f64::from);
    for (name, size, values) in [
        ("base", vec![3, 4], &whole[..]),
        ("transposed", vec![4, 3], &turned),
        ("offset", vec![2, 2], &[5.0, 6.0, 9.0, 10.0]),
        ("every_other", vec![6], &[1.0, 3.0, 5.0, 7.0, 9.0, 11.0]),
        ("repeated", vec![2, 3], &[11.0; 6]),
    ] {
        assert_eq!(
            contents(&read[name]),
            (Kind::Float, size, values.to_vec()),
            "{name}"
        );
    }
    let _ = read["base"].shallow_clone().zero_();
    assert_eq!(contents(&read["offset"]).2, [5.0, 6.0, 9.0, 10.0]);

    let alone = &tensors("transposed-alone.bin")["weight"];
    assert_eq!(
        contents(alone),
        (Kind::Float, vec![3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0])
    );
}

#[test]
fn several_state_dicts_are_read_by_name() {
    let file = fixture("two-state-dicts.pth.tar");
    let read = torch_dictionaries(&file, &["tuner", "head", "optimizer"]).unwrap();
    let down = "tuner.image_encoder.blocks.1.lora.q.down";
    assert_eq!(read.keys().collect::<Vec<_>>(), ["head.weight", down]);
    assert_eq!(
        contents(&read[down]),
        (Kind::Float, vec![2, 1], vec![0.5, 1.5])
    );
    assert_eq!(contents(&read["head.weight"]).0, Kind::Half);
    assert_eq!(torch_dictionaries(&file, &["head"]).unwrap().len(), 1);
    let message = torch_dictionaries(&file, &["model", "epoch"]).unwrap_err();
    let message = message.to_string();
    assert!(
        message.contains("it holds no tensor under model or epoch\nhint: "),
        "{message}"
    );
    let hostile = torch_dictionaries(&fixture("calls-os-system.bin"), &["head"]);
    assert!(
        hostile
            .unwrap_err()
            .to_string()
            .contains("it wants to call `")
    );
}

#[test]
fn parameters_wrapped_state_dicts_and_old_archives_are_read() {
    for file in [
        "parameters.pt",
        "nested-state-dict.pth",
        "state-dict-of-1.7.bin",
    ] {
        let read = tensors(file);
        assert_eq!(read.len(), 2, "{file}");
        assert_eq!(
            contents(&read["weight"]),
            (Kind::Float, vec![1, 2], vec![2.0, -3.0]),
            "{file}"
        );
        assert_eq!(
            contents(&read["bias"]),
            (Kind::Float, vec![1], vec![0.25]),
            "{file}"
        );
    }
}

#[test]
fn what_would_run_a_program_is_refused_by_name() {
    assert_eq!(
        refusal("calls-os-system.bin"),
        "calls-os-system.bin: it wants to call `posix.system`\n\
         hint: nothing in the file was run; a state dict calls only what makes torch's tensors, so do not load it \
         elsewhere unless you trust where it is from"
    );
}

#[test]
fn other_formats_say_how_to_convert_them() {
    let message = refusal("before-1.6.bin");
    assert!(
        message.starts_with(
            "before-1.6.bin: written in the format of PyTorch before 1.6, which LIFT does not read\n\
             hint: convert it with PyTorch: python -c \"import torch; torch.save(torch.load('OLD'"
        ),
        "{message}"
    );
    let message = refusal("torchscript.pt");
    assert!(
        message.starts_with("torchscript.pt: a TorchScript archive (torch.jit.save)")
            && message.contains("torch.jit.load('OLD'"),
        "{message}"
    );
    let message = refusal("make.py");
    let expected = "make.py: not a file of torch.save (no zip archive)\nhint: fetch the file again";
    assert!(message.starts_with(expected), "{message}");
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let problem = read_from(Cursor::new(tar)).unwrap_err();
    assert!(problem.reason.contains("before 1.6"), "{}", problem.reason);
}

/// An archive with this pickle and one storage, `0`.
fn archive(pickle: &[u8], storage: &[u8], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in [("a/data.pkl", pickle), ("a/data/0", storage)] {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn read_pickle(pickle: &[u8]) -> std::result::Result<BTreeMap<String, Tensor>, String> {
    let bytes = archive(pickle, &[0; 48], CompressionMethod::Stored);
    read_from(Cursor::new(bytes)).map_err(|problem| problem.reason)
}

/// A tensor of fp32 in storage `0`, as opcodes; the numbers are opcodes too.
fn tensor(numel: &str, offset: &str, size: &str, stride: &str) -> Vec<u8> {
    let storage =
        format!("(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\00X\x03\0\0\0cpu{numel}tQ");
    let head = format!("ctorch._utils\n_rebuild_tensor_v2\n({storage}{offset}({size}t({stride}t");
    [head.as_bytes(), b"\x89ccollections\nOrderedDict\n)RtR"].concat()
}

fn state_dict(tensor: &[u8]) -> Vec<u8> {
    [b"\x80\x02}X\x01\0\0\0w", tensor, b"s."].concat()
}

#[test]
fn shapes_that_leave_their_storage_are_refused() {
    let whole = state_dict(&tensor("K\x0c", "K\0", "K\x03K\x04", "K\x04K\x01"));
    assert_eq!(read_pickle(&whole).unwrap()["w"].size(), [3, 4]);
    // 0x7f7f7f7f.
    let (large, zero) = ("J\u{7f}\u{7f}\u{7f}\u{7f}", "K\0");
    for (numel, offset, size, stride, reason) in [
        (
            "K\x0c",
            "K\x01",
            "K\x03K\x04",
            "K\x04K\x01",
            "does not fit into its storage of 12 values",
        ),
        ("K\x0c", large, "K\x01", "K\x01", "does not fit"),
        ("K\x0c", "K\0", "K\x02", large, "does not fit"),
        ("K\x0c", "K\0", large, "K\0", "does not fit"),
        (
            "K\x0c",
            "K\0",
            &large.repeat(3),
            "K\0K\0K\0",
            "is too large",
        ),
        (
            "K\x0c",
            "K\0",
            &format!("{zero}{}", large.repeat(3)),
            "K\0K\0K\0K\0",
            "is too large",
        ),
        (
            "K\x0c",
            "K\0",
            &large.repeat(2),
            &large.repeat(2),
            "does not fit",
        ),
        ("K\x0c", "K\0", "K\x03", "K\x04K\x01", "cannot be"),
        (
            "K\x0b",
            "K\0",
            "K\x03",
            "K\x01",
            "data/0 has 48 bytes, which are not 11 values of Float",
        ),
        (large, "K\0", "K\x03", "K\x01", "data/0 has 48 bytes"),
        (
            "K\x0c",
            "K\0",
            &"K\x01".repeat(17),
            "K\x01",
            "a tensor of 17 dimensions",
        ),
        (
            "K\x0c",
            "N",
            "K\x03",
            "K\x01",
            "without a storage or an offset",
        ),
        ("K\x0c", "K\0", "N", "K\x01", "not of whole numbers"),
    ] {
        let message = read_pickle(&state_dict(&tensor(numel, offset, size, stride))).unwrap_err();
        assert!(message.contains(reason), "{message}");
    }
    let mut pickle = state_dict(&tensor("K\x0c", "J\0\0\0\0", "K\x01", "K\x01"));
    let offset = pickle.windows(5).position(|w| w == b"J\0\0\0\0").unwrap();
    pickle[offset + 1..offset + 5].fill(0xff);
    let message = read_pickle(&pickle).unwrap_err();
    assert!(
        message.contains("w: shape [1] with strides [1] from -1 cannot be"),
        "{message}"
    );
}

#[test]
fn a_small_file_cannot_become_large() {
    // The same values under many names.
    let mut pickle = b"\x80\x02}(X\x01\0\0\0w".to_vec();
    pickle.extend(tensor("K\x0c", "K\0", "K\x0c", "K\x01"));
    pickle.extend(b"q\x01");
    for name in 0..200_u8 {
        pickle.extend(
            [
                b"X\x02\0\0\0".as_slice(),
                format!("{name:02x}").as_bytes(),
                b"h\x01",
            ]
            .concat(),
        );
    }
    pickle.extend(b"u.");
    let message = read_pickle(&pickle).unwrap_err();
    assert_eq!(
        message,
        "its tensors are more than 4 times as large as the file"
    );

    let opcodes = [b"\x80\x02".as_slice(), &[b')'; 1 << 20]].concat();
    let message = read_pickle(&opcodes).unwrap_err();
    assert!(message.ends_with("too many opcodes"), "{message}");
    // Deep, and a dictionary that holds itself: nothing follows them.
    let deep = [b"\x80\x02N".as_slice(), &[0x85; 100_000], b"."].concat();
    assert_eq!(
        read_pickle(&deep).unwrap_err(),
        "it holds something else than a dictionary"
    );
    let cycle = read_pickle(b"\x80\x02}q\x01X\x05\0\0\0modelh\x01s.").unwrap_err();
    assert_eq!(cycle, "\"model\" in it is no tensor");
}

#[test]
fn broken_and_foreign_pickles_are_refused() {
    for (pickle, reason) in [
        (&b""[..], "it ends too early"),
        (b"\x80\x06N.", "protocol 6 is not known"),
        (b"X\xff\xff\xff\xffab.", "it ends too early"),
        (b"X\x01\0\0\0\xff.", "text that is not UTF-8"),
        (b"\x8a\x09123456789.", "more than 64 bits"),
        (b"h\x07.", "object 7 is not known"),
        (b"}(K\x01u.", "a key without its value"),
        (b"(K\x01t(.", "an opcode without its operand"),
        (b"t.", "items without their start"),
        (b"NNa.", "items for something that is no list"),
        (b"cos\n", "a name without an end"),
        (b"NNR.", "a call of something that is no function"),
        (
            b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
            "arguments that are not known",
        ),
        (b"NNb.", "a state for something that has none"),
        (b"NQ.", "a reference to something that is no storage"),
        (b"cbuiltins\neval\n.", "it wants to call `builtins.eval`"),
        (
            b"\x8c\x02os\x8c\x06system\x93.",
            "it wants to call `os.system`",
        ),
        (
            b"\x8c\x02os\x8c\x04a\nb\x1b\x93.",
            "it wants to call `os.a\\nb\\u{1b}`",
        ),
        (
            b"ctorch\nUntypedStorage\n.",
            "it wants to call `torch.UntypedStorage`",
        ),
        (
            b"(ios\nsystem\n.",
            "it uses the pickle opcode INST, which LIFT refuses",
        ),
        (
            b"N)\x81.",
            "it uses the pickle opcode NEWOBJ, which LIFT refuses",
        ),
        (
            b"\xff",
            "it uses the pickle opcode 0xff, which LIFT refuses",
        ),
        (b"N.", "it holds something else than a dictionary"),
        (b"}K\x01K\x02s.", "a dictionary with names that are no text"),
        (b"}X\x01\0\0\0wK\x02s.", "\"w\" in it is no tensor"),
    ] {
        let message = read_pickle(pickle).unwrap_err();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn every_cut_of_a_file_is_an_error() {
    let bytes = fs::read(fixture("parameters.pt")).unwrap();
    for end in 0..bytes.len() {
        assert!(read_from(Cursor::new(&bytes[..end])).is_err(), "{end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changed_bytes_are_an_error_or_tensors(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        file in prop::sample::select(vec!["kinds-protocol-4.bin", "views-of-one-storage.bin", "nested-state-dict.pth"]),
    ) {
        let changed = |mut bytes: Vec<u8>| {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes
        };
        let bytes = fs::read(fixture(file)).unwrap();
        let _ = read_from(Cursor::new(changed(bytes.clone())));
        // The pickle by itself, under a checksum that fits: no other changes get past the archive.
        let pickle = Archive::open(Cursor::new(bytes)).unwrap().pickle().unwrap();
        let _ = read_pickle(&changed(pickle));
    }

    #[test]
    fn any_bytes_are_an_error_or_tensors(noise in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = read_pickle(&noise);
        let _ = read_from(Cursor::new([b"PK\x03\x04".as_slice(), &noise].concat()));
    }
}
