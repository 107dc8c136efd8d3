//! How libtorch's threads wait, as libgomp itself shows it when it is loaded.

use std::process::Command;

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
