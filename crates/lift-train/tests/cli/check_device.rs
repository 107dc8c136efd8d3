//! `lift-train check-device`: the CPU's own path, and a device that cannot be there.

use super::{lift_train, stderr, stdout};

#[test]
fn the_cpu_makes_what_libtorch_makes_and_a_missing_device_is_one_line() {
    let output = lift_train(&["check-device", "--device", "cpu"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = stdout(&output);
    // Three kinds, five sizes.
    assert_eq!(lines.lines().count(), 15, "{lines}");
    assert!(
        lines.lines().all(|line| line.ends_with(" equal")),
        "{lines}"
    );
    assert!(
        lines.starts_with("fp32  crops of 224  patches of 16 "),
        "{lines}"
    );

    let output = lift_train(&["check-device", "--device", "cpu", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["format"], "lift-check-device/1");
    assert_eq!(
        (&report["device"], &report["wrong"]),
        (&"cpu".into(), &0.into())
    );
    let compared = report["batches"].as_u64().unwrap();
    let dropped = report["checks"].as_array().unwrap().iter();
    let dropped: u64 = dropped
        .map(|check| check["dropped"].as_u64().unwrap())
        .sum();
    // 12, 5 and 6 batches are taken of each kind and size.
    assert_eq!(compared + dropped, 15 * 23);
    assert!(dropped > 30, "{dropped}");

    let output = lift_train(&["check-device", "--device", "cuda:4096"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.starts_with("error: device cuda:4096: ") && message.lines().count() <= 2,
        "{message}"
    );
    assert_eq!(stdout(&output), "");
}
