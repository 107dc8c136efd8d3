//! The check is worth what it finds: runs that are wrong in one way each, none of which may pass.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use lift_models::TensorFile;

use super::{outcome::Files, *};
use crate::testing::shared;

/// A reference run that was changed, in a file of its own.
struct Mutant {
    name: &'static str,
    of: &'static str,
    change: fn(&mut TensorFile),
}

const MUTANTS: [Mutant; 6] = [
    Mutant {
        name: "a module that neither acts nor learns",
        of: "adaptformer",
        change: |run| {
            for (name, tensor) in &mut run.tensors {
                if name.starts_with("init.") && name.contains(".down.") {
                    *tensor = tensor.zeros_like();
                }
            }
        },
    },
    Mutant {
        name: "no learning",
        of: "adaptformer",
        change: |run| set(run, "lr", "0"),
    },
    Mutant {
        name: "a wrong scale",
        of: "adaptformer",
        change: |run| set(run, "scale", "24"),
    },
    Mutant {
        name: "query and value swapped",
        of: "lora",
        change: swap_query_and_value,
    },
    Mutant {
        name: "no weight decay",
        of: "adaptformer",
        change: |run| set(run, "weight_decay", "0"),
    },
    Mutant {
        name: "no momentum",
        of: "lora",
        change: |run| set(run, "momentum", "0"),
    },
];

fn set(run: &mut TensorFile, key: &str, value: &str) {
    run.metadata.insert(key.into(), value.into());
}

fn swap_query_and_value(run: &mut TensorFile) {
    let swapped = |name: &str| {
        let (q, v) = (".lora.q.", ".lora.v.");
        if name.contains(q) {
            name.replace(q, v)
        } else {
            name.replace(v, q)
        }
    };
    let tensors = std::mem::take(&mut run.tensors).into_iter();
    run.tensors = tensors
        .map(|(name, tensor)| {
            let name = if name.starts_with("init.") {
                swapped(&name)
            } else {
                name
            };
            (name, tensor)
        })
        .collect::<BTreeMap<_, _>>();
}

/// Model, inputs, and the golden run of this name.
fn golden(name: &str) -> Option<[PathBuf; 3]> {
    let folder = shared("golden")?;
    let run = folder.join(format!("tuners/{name}.safetensors"));
    let model = folder.join("clip-openai-layout.safetensors");
    Some([model, folder.join("train-inputs.safetensors"), run])
}

/// In 16 bits the comparison of fp32 with the reference comes first, so that one kind of them is enough here.
#[test]
fn no_mutant_passes() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    for Mutant { name, of, change } in MUTANTS {
        let Some([model, inputs, run]) = golden(of) else {
            return;
        };
        let mutant = dir.path().join("mutant.safetensors");
        write_mutant(&run, change, &mutant);
        for precision in [Precision::Fp32, Precision::Fp16] {
            let place = (Device::Cpu, precision);
            let parity = replay(&model, &inputs, &mutant, place, 1).unwrap();
            assert!(!parity.is_within(), "{name}, {precision}: {parity:?}");
        }
    }
}

fn write_mutant(run: &Path, change: fn(&mut TensorFile), to: &Path) {
    let mut file = TensorFile::read(run).unwrap();
    let names = |file: &TensorFile| file.tensors.keys().cloned().collect::<Vec<String>>();
    let before = names(&file);
    change(&mut file);
    assert_eq!(before, names(&file));
    file.write(to).unwrap();
}

/// A fault that fp32 does not have shows in the comparison with it.
#[test]
fn no_mutant_of_16_bits_passes() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let mut exact: BTreeMap<&str, Replayed> = BTreeMap::new();
    for Mutant { name, of, change } in MUTANTS {
        // What a decay of 5e-4 does to an update in six steps is less than what 8 bits do.
        if name == "no weight decay" {
            continue;
        }
        let Some([model, inputs, run]) = golden(of) else {
            return;
        };
        let exact = exact.entry(of).or_insert_with(|| {
            let files = Files::read(&model, &inputs, &run).unwrap();
            files.replay(Device::Cpu, Precision::Fp32, 1).unwrap()
        });
        let mutant = dir.path().join("mutant.safetensors");
        write_mutant(&run, change, &mutant);
        let mutant = Files::read(&model, &inputs, &mutant).unwrap();
        for precision in [Precision::Bf16, Precision::Fp16] {
            let rounded = mutant.replay(Device::Cpu, precision, 1).unwrap();
            let allowed = Tolerances::of_16_bits(precision).unwrap();
            let found = deviations(&rounded.outcome, &exact.outcome, allowed);
            let is_within = found.iter().all(Deviation::is_within);
            assert!(!is_within, "{name}, {precision}: {found:?}");
        }
    }
}

/// The parts of a step are its whole.
#[test]
fn accumulated_steps_are_the_authors() {
    tch::set_num_threads(1);
    for (name, parts) in [("adaptformer", 2), ("adaptformer-loss-cb", 3), ("lora", 16)] {
        let Some([model, inputs, run]) = golden(name) else {
            return;
        };
        let place = (Device::Cpu, Precision::Fp32);
        let parity = replay(&model, &inputs, &run, place, parts).unwrap();
        assert!(parity.is_within(), "{name}: {parity:?}");
    }
}
