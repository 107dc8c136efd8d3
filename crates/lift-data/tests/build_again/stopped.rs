//! A build that is stopped by a signal says how to go on, and ends as a program ends that a signal stops.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{BUILD, large_photos};

/// Whether a process handles a signal, as Linux says it.
fn handles(process: u32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask & (1 << (signal - 1)) != 0
}

#[test]
fn a_signal_says_how_to_go_on_and_ends_a_build_that_waits() {
    let place = large_photos();
    place.run(&format!("{BUILD} --out whole"));
    place.run(&format!("{BUILD} --out shards --part 1/2"));
    let building = place.path("shards/train/.lift-building");
    let lock = |name: &str| {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(building.join(name));
        let file = file.unwrap();
        file.try_lock().unwrap();
        file
    };
    for (name, signal) in [("INT", 2), ("TERM", 15)] {
        // It waits for what joins parts, which never ends here.
        let joining = [lock("commit.lock"), lock("lock")];
        let child = Command::new(env!("CARGO_BIN_EXE_lift-data"))
            .args(format!("{BUILD} --out shards --part 2/2").split_whitespace())
            .current_dir(place.path(""))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while !handles(child.id(), signal) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let sent = Command::new("kill")
            .args(["-s", name, &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.signal(), Some(signal), "{said}");
        assert_eq!(
            said,
            "stopped\nhint: run the same command again; finished shards are kept\n"
        );
        drop(joining);
    }
    let again = place.run(&format!("{BUILD} --out shards"));
    assert!(again.contains("finished before"), "{again}");
    assert_eq!(place.files("shards"), place.files("whole"));
}
