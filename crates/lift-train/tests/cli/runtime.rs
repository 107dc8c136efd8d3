//! libtorch's threads: how they wait, as libgomp itself shows it when it is loaded, and that weights do not follow their number.

use std::{fs, process::Command};

use super::{demo_model, prepare};

/// The values that libgomp shows for `name`, one for each time that it was loaded.
fn shown(name: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_lift-train"));
    program.args(["compare", "no-such-run"]);
    let removed = "OMP_WAIT_POLICY GOMP_SPINCOUNT OMP_NUM_THREADS MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_ GLIBC_TUNABLES";
    for variable in removed.split(' ') {
        program.env_remove(variable);
    }
    program
        .env("OMP_DISPLAY_ENV", "verbose")
        .envs(environment.iter().copied());
    let output = program.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "the run is not there");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let start = format!("{name} = '");
    stderr
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(&start)?.strip_suffix('\''))
        .map(str::to_owned)
        .collect()
}

#[test]
fn waiting_threads_sleep_soon() {
    let counts = shown("GOMP_SPINCOUNT", &[]);
    assert_eq!(counts.last().map(String::as_str), Some("10000"));
    assert_eq!(counts.len(), 2, "it was started once more: {counts:?}");
}

#[test]
fn the_user_s_word_on_waiting_stands() {
    let active = [("OMP_WAIT_POLICY", "active")];
    let policy = shown("OMP_WAIT_POLICY", &active);
    assert_eq!(policy, ["ACTIVE", "ACTIVE"], "once more for the memory");
    let counts = shown("GOMP_SPINCOUNT", &active);
    assert_ne!(counts.last().map(String::as_str), Some("10000"));
    let counts = shown("GOMP_SPINCOUNT", &[("GOMP_SPINCOUNT", "77")]);
    assert_eq!(counts, ["77", "77"]);
}

#[test]
fn where_the_user_has_decided_all_nothing_is_started_again() {
    let counts = shown(
        "GOMP_SPINCOUNT",
        &[
            ("GOMP_SPINCOUNT", "77"),
            ("MALLOC_TRIM_THRESHOLD_", "200000"),
        ],
    );
    assert_eq!(counts, ["77"]);
}

/// Of every kind of tuned tensor: linears of modules, biases, LayerNorms, prompts, the embeddings of a whole tower.
#[test]
fn weights_are_the_same_from_one_two_and_four_threads() {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !cpu.contains("GenuineIntel") {
        eprintln!("skipped: MKL keeps to one order of sums on Intel's CPUs alone");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let run = |tuner: &str, threads: &str| {
        let out = dir.path().join(format!("{tuner}-{threads}"));
        let mut program = Command::new(env!("CARGO_BIN_EXE_lift-train"));
        program
            .current_dir(dir.path())
            .env_remove("OMP_NUM_THREADS")
            .env_remove("MKL_NUM_THREADS");
        program.args([
            "--shards",
            "shards",
            "--head",
            "head.safetensors",
            "--tte",
            "none",
        ]);
        program.args(["--device", "cpu", "--epochs", "1", "--batch-size", "100"]);
        program.args(["--tuner", tuner, "--threads", threads, "--model"]);
        let output = program.arg(demo_model()).arg("--out").arg(&out).output();
        let output = output.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tuner}: {error}");
        fs::read(out.join("tuned.safetensors")).unwrap()
    };
    for tuner in ["adaptformer,lora,vpt-deep", "bitfit,layer-norm,ssf", "full"] {
        let one = run(tuner, "1");
        // Others cut tensors where libtorch's vectors do not end (docs/performance.md).
        for threads in ["2", "4"] {
            assert!(one == run(tuner, threads), "{tuner}, {threads} threads");
        }
    }
}
