//! `--tensorboard` from the command line: event files hold what the other files of a run say.

use std::{collections::BTreeMap, path::Path};

use lift_train::{command, config::TrainConfig, stop::Stop};

use super::{init::inputs, methods::succeed, resume::tiny};

/// Steps at which sessions start in an event file.
fn starts(file: &Path) -> Vec<u64> {
    let bytes = std::fs::read(file).unwrap();
    let mut starts = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let event = fields(&rest[12..12 + length]);
        rest = &rest[12 + length + 4..];
        let session = event.iter().find(|(number, _)| *number == 7);
        let Some((_, Field::Bytes(session))) = session else {
            continue;
        };
        // tensorflow/core/util/event.proto: SessionLog.status is field 1, START is 1.
        assert!(matches!(fields(session)[..], [(1, Field::Number(1))]));
        let step = event.iter().find(|(number, _)| *number == 2).unwrap();
        let Field::Number(step) = step.1 else {
            panic!("a step is a number")
        };
        starts.push(step);
    }
    starts
}

/// The scalars of an event file by tag, read by the published layout and not by the writer's code: TFRecord lengths,
/// then protobuf fields.
fn scalars(file: &Path) -> BTreeMap<String, Vec<(u64, f32)>> {
    let bytes = std::fs::read(file).unwrap();
    let mut all: BTreeMap<String, Vec<(u64, f32)>> = BTreeMap::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let event = fields(&rest[12..12 + length]);
        rest = &rest[12 + length + 4..];
        let step = match event.iter().find(|(number, _)| *number == 2) {
            Some((_, Field::Number(step))) => *step,
            _ => 0,
        };
        for (number, summary) in event {
            let (5, Field::Bytes(summary)) = (number, summary) else {
                continue;
            };
            for (_, value) in fields(summary) {
                let Field::Bytes(value) = value else {
                    panic!("{value:?}")
                };
                let [(1, Field::Bytes(tag)), (2, Field::Four(scalar))] = fields(value)[..] else {
                    panic!("{value:?}")
                };
                let tag = String::from_utf8(tag.to_vec()).unwrap();
                all.entry(tag)
                    .or_default()
                    .push((step, f32::from_le_bytes(scalar)));
            }
        }
    }
    all
}

#[derive(Debug)]
enum Field<'a> {
    Number(u64),
    Eight,
    Four([u8; 4]),
    Bytes(&'a [u8]),
}

fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let end = message.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let (number, rest) = message.split_at(end + 1);
        *message = rest;
        number
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
    }
    let mut all = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => {
                message = &message[8..];
                Field::Eight
            }
            5 => {
                let (four, rest) = message.split_first_chunk::<4>().unwrap();
                message = rest;
                Field::Four(*four)
            }
            2 => {
                let length = varint(&mut message) as usize;
                let (bytes, rest) = message.split_at(length);
                message = rest;
                Field::Bytes(bytes)
            }
            other => panic!("wire type {other}"),
        };
        all.push((key >> 3, field));
    }
    all
}

#[test]
fn event_files_hold_what_the_metrics_and_the_report_say() {
    let dir = tempfile::tempdir().unwrap();
    let (shards, model) = inputs(dir.path());
    let run = dir.path().join("run");
    let out = run.display().to_string();
    let mut args = vec!["--shards", &shards, "--model", &model, "--out", &out];
    args.extend([
        "--init",
        "random",
        "--epochs",
        "3",
        "--log-every",
        "1",
        "--batch-size",
        "90",
    ]);
    args.extend(["--tensorboard", "--device", "cpu", "--expand", "5"]);
    succeed(&args);
    let mut files: Vec<_> = std::fs::read_dir(run.join("tensorboard"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let (training, end) = (scalars(&files[0]), scalars(&files[1]));
    assert_eq!(files.len(), 2);

    let lines = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 9);
    for (tag, key) in [
        ("train/loss", "loss"),
        ("train/lr", "lr"),
        ("speed/images_per_second", "images_per_second"),
        ("speed/data_wait_share", "data_wait_share"),
    ] {
        let wanted: Vec<(u64, f32)> = lines
            .iter()
            .map(|line| {
                (
                    line["step"].as_u64().unwrap(),
                    line[key].as_f64().unwrap() as f32,
                )
            })
            .collect();
        assert_eq!(training[tag], wanted, "{tag}");
    }
    let report = std::fs::read(run.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    for (i, name) in ["plain", "five-crop"].into_iter().enumerate() {
        let overall = report["evaluations"][i]["metrics"]["overall"]
            .as_f64()
            .unwrap();
        assert_eq!(end[&format!("{name}/overall")], [(9, overall as f32)]);
        // Two images a class: all classes are few.
        assert!(
            end.contains_key(&format!("{name}/few")) && !end.contains_key(&format!("{name}/many"))
        );
    }
}

/// A reader keeps of earlier files what lies before the step at which a session starts (tensorboard's event_accumulator,
/// `_CheckForRestartAndMaybePurge`): then every step is there once.
#[test]
fn a_run_that_goes_on_takes_back_what_it_wrote_behind_its_checkpoint() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        tensorboard: true,
        log_every: 1,
        checkpoint_every: 4,
        ..tiny(dir.path())
    };
    command::train_until(&config, &[], &Stop::after(6)).unwrap_err();
    // As after a kill: the checkpoint is of step 4, and two steps more are in the log and in the events.
    let folder = config.out.join("checkpoint");
    let kept = dir.path().join("kept");
    let again = TrainConfig {
        out: dir.path().join("again"),
        ..config.clone()
    };
    command::train_until(&again, &[], &Stop::after(4)).unwrap_err();
    std::fs::rename(&folder, &kept).unwrap();
    std::fs::rename(again.out.join("checkpoint"), &folder).unwrap();
    let log = "metrics.jsonl";
    std::fs::copy(again.out.join(log), config.out.join(log)).unwrap();
    command::resume(&config, &Stop::default()).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(config.out.join("tensorboard"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 3);
    let of_files: Vec<Vec<u64>> = files.iter().map(|file| starts(file)).collect();
    assert_eq!(of_files, [vec![], vec![5], vec![]]);
    let mut steps: Vec<u64> = Vec::new();
    for file in &files {
        if let Some(&start) = starts(file).first() {
            steps.retain(|&step| step < start);
        }
        let of_file = scalars(file);
        let losses = of_file.get("train/loss").into_iter().flatten();
        steps.extend(losses.map(|(step, _)| *step));
    }
    assert_eq!(steps, (1..=26).collect::<Vec<u64>>());
}
