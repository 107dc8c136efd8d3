//! `lift-train adjust` on a run of a random tower: the curve, the temperature and the estimate as numpy has them, what is
//! kept, obeyed and refused.

use std::{fs, path::Path, sync::Arc};

use lift_shards::ShardReader;
use lift_train::{adjustment::Adjustment, command, config::TrainConfig};
use serde_json::Value;

use super::{
    demo_model, export_onnx, lift_train,
    logits::{about, add_val, fail, python, succeed, text, write},
    prepare,
    resume::tiny,
    stderr,
};

/// A finished run, with a val split beside its shards.
fn finished(dir: &Path) -> TrainConfig {
    let config = tiny(dir);
    add_val(&config.shards);
    command::train(&config).unwrap();
    config
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn close(found: &Value, expected: f64, within: f64) {
    let found = found.as_f64().unwrap();
    assert!(
        (found - expected).abs() < within,
        "{found} is not {expected}"
    );
}

/// Mean class accuracy and bands over tau, the temperature at the best, its losses and errors; EM on all images.
const NUMPY: &str = "
import sys, json
import numpy as np, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
z = np.array(table['logits'].to_pylist(), dtype=np.float32)
y = np.array(table['label'].to_pylist())
counts = np.array(json.loads(open(sys.argv[2]).read()), dtype=np.float64)
K = len(counts)
log_p = np.log(counts / counts.sum()); log_p -= log_p.mean()
def accuracy(s):
    hit = s.argmax(1) == y
    return np.array([hit[y == c].mean() for c in range(K)])
taus = np.round(np.arange(-1, 1.05, 0.1), 9)
curve = [accuracy(z.astype(np.float64) - t * log_p).mean() for t in taus]
best = max(curve)
tau = min((abs(t), t) for t, c in zip(taus, curve) if c == best)[1]
s = z.astype(np.float64) - tau * log_p
def log_softmax(s):
    s = s - s.max(1, keepdims=True)
    return s - np.log(np.exp(s).sum(1, keepdims=True))
w = (1 / np.bincount(y, minlength=K))[y] / K
nll = lambda beta: -(w * log_softmax(beta * s)[np.arange(len(y)), y]).sum()
low, high = 0.01, 100.0
for _ in range(200):
    a, b = low + (high - low) * 0.382, low + (high - low) * 0.618
    if nll(a) < nll(b): high = b
    else: low = a
beta = (low + high) / 2
r = np.exp(log_softmax(beta * s)); q = np.full(K, 1 / K)
for _ in range(3000):
    post = q * r; post /= post.sum(1, keepdims=True); q = post.mean(0)
print(json.dumps({'curve': curve, 'tau': tau, 'temperature': 1 / beta, 'nll': nll(beta), 'q': q.tolist()}))
";

#[test]
fn the_curve_the_temperature_and_the_estimate_are_numpys() {
    let dir = tempfile::tempdir().unwrap();
    let config = finished(dir.path());
    let run = text(&config.out);
    // Class counts with a tail, so that shifts shift: 2 images each, as trained, would not.
    let counts: Vec<u64> = (0..100).map(|class| 300 / (1 + class)).collect();
    with_counts(&config.out, &counts);
    let (logits, table) = (
        dir.path().join("val.parquet"),
        dir.path().join("counts.json"),
    );
    fs::write(&table, serde_json::to_string(&counts).unwrap()).unwrap();
    made_up(&config.out, &logits, 500);
    let found = parse(&succeed(&[
        "adjust",
        run,
        "--logits",
        text(&logits),
        "--json",
    ]));
    let curve = found["curve"].as_array().unwrap();
    assert_eq!(curve.len(), 21, "around 0, where the loss knew the counts");
    let mean = |point: &Value| point["mean_class"].as_f64().unwrap();
    let spread: Vec<f64> = curve.iter().map(mean).collect();
    assert!(spread.iter().any(|value| *value != spread[0]), "{spread:?}");
    let estimated = parse(&succeed(&[
        "adjust",
        run,
        "--logits",
        text(&logits),
        "--prior",
        "estimate",
        "--unlabelled",
        text(&logits),
        "--json",
    ]));
    let estimate = &estimated["prior"]["estimated"];
    assert_eq!(estimate["settled"], true);
    let shares = estimate["shares"].as_array().unwrap();
    let sum: f64 = shares.iter().map(|share| share.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    for (share, interval) in shares.iter().zip(estimate["intervals"].as_array().unwrap()) {
        let [low, high] = [0, 1].map(|end| interval[end].as_f64().unwrap());
        assert!(
            low <= high && high <= 1.0 && low >= 0.0,
            "{interval} {share}"
        );
    }

    let Some(numpy) = python(NUMPY, &[&logits, &table]) else {
        return;
    };
    for (ours, theirs) in curve.iter().zip(numpy["curve"].as_array().unwrap()) {
        close(theirs, mean(ours), 1e-12);
    }
    let chosen = &found["adjustment"]["chosen"];
    close(&chosen["tau"], numpy["tau"].as_f64().unwrap(), 1e-9);
    let calibration = &found["calibration"][2];
    let temperature = numpy["temperature"].as_f64().unwrap();
    close(&calibration["temperature"], temperature, 1e-4 * temperature);
    close(
        &calibration["negative_log_likelihood"],
        numpy["nll"].as_f64().unwrap(),
        1e-6,
    );
    for (ours, theirs) in shares.iter().zip(numpy["q"].as_array().unwrap()) {
        close(ours, theirs.as_f64().unwrap(), 2e-3);
    }
}

/// Logits of so many images, as if the run had given them: classes of which the first come more often, the label's logit
/// above the noise of the others, and those of frequent classes above all.
fn made_up(run: &Path, path: &Path, images: usize) {
    let mut state = 1u64;
    let mut unit = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let (mut labels, mut logits) = (Vec::new(), Vec::new());
    for image in 0..images {
        // Every class comes once; the others as the square of an even draw.
        let label = if image < 100 {
            image
        } else {
            (unit().powi(2) * 100.0) as usize
        };
        labels.push(label as i32);
        for class in 0..100 {
            let noise: f32 = (0..4).map(|_| unit() - 0.5).sum::<f32>() * 2.0;
            let own = if class == label { 2.5 } else { 0.0 };
            logits.push(noise + own - 0.01 * class as f32);
        }
    }
    let mut about = about(images, 100);
    let tuned = run.join("tuned.safetensors");
    let metadata = lift_models::TensorFile::read(&tuned).unwrap().metadata;
    about["class_hash"] = metadata["class_hash"].as_str().into();
    about["tuned"] = lift_train::file_hash::of_file(&tuned).unwrap().into();
    write(path, &labels, &logits, &about);
}

/// Gives a run's tuned tensors other class counts.
fn with_counts(run: &Path, counts: &[u64]) {
    let path = run.join("tuned.safetensors");
    let mut file = lift_models::TensorFile::read(&path).unwrap();
    let counts = serde_json::to_string(counts).unwrap();
    file.metadata.insert("class_counts".into(), counts);
    file.write(&path).unwrap();
}

#[test]
fn what_is_chosen_is_kept_obeyed_left_out_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let config = finished(dir.path());
    let run = text(&config.out);
    with_counts(
        &config.out,
        &(0..100).map(|class| 300 / (1 + class)).collect::<Vec<_>>(),
    );
    let eval = |more: &[&str]| {
        let args = [
            &[
                "eval", "--run", run, "--split", "val", "--device", "cpu", "--json",
            ][..],
            more,
        ];
        parse(&succeed(&args.concat()))["evaluations"][0].clone()
    };
    let before = eval(&[]);

    let (svg, html) = (dir.path().join("curve.svg"), dir.path().join("curve.html"));
    let args = ["adjust", run, "--device", "cpu", "--tau", "-0.5:1:0.25"];
    let files = ["--chart", text(&svg), "--html", text(&html)];
    let table = succeed(&[&args[..], &files].concat());
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[2].starts_with("tau         overall  mean class"),
        "{table}"
    );
    assert!(lines[3].starts_with("as trained"), "{table}");
    assert_eq!(table.matches(" <\n").count(), 1, "{table}");
    assert!(table.contains("kept: "), "{table}");
    let (svg, html) = (
        fs::read_to_string(svg).unwrap(),
        fs::read_to_string(html).unwrap(),
    );
    assert!(
        svg.starts_with("<svg xmlns=") && svg.contains(">few</text>"),
        "{svg}"
    );
    assert!(html.contains("<svg class=\"chart wide\"") && html.contains("as trained"));

    // Asked again it computes nothing, and finds the same.
    let again = lift_train(&[&args[..], &["--json"]].concat());
    assert!(!stderr(&again).contains("computing"), "{}", stderr(&again));
    let found = parse(&String::from_utf8(again.stdout).unwrap());
    let kept = Adjustment::of_run(&config.out).unwrap().unwrap();
    let chosen = &found["curve"][found["chosen"].as_u64().unwrap() as usize];
    assert_eq!(chosen["tau"], kept.chosen.tau);

    let after = eval(&[]);
    assert_eq!(after["adjusted"]["tau"], kept.chosen.tau);
    close(
        &after["metrics"]["mean_class"],
        chosen["mean_class"].as_f64().unwrap(),
        1e-12,
    );
    // One image a class: weighed by class is weighed alike.
    let error = &found["calibration"][2]["calibration_error"];
    close(
        &after["metrics"]["calibration_error"],
        error.as_f64().unwrap(),
        1e-5,
    );
    let error = &found["calibration"][0]["calibration_error"];
    close(
        &before["metrics"]["calibration_error"],
        error.as_f64().unwrap(),
        1e-5,
    );
    let output = lift_train(&["eval", "--run", run, "--device", "cpu"]);
    assert!(
        stderr(&output).contains("its adjustment is in force: tau "),
        "{}",
        stderr(&output)
    );
    assert!(super::stdout(&output).contains("plain, adjusted"));
    assert_eq!(eval(&["--no-adjust"])["metrics"], before["metrics"]);
    // What the run's report says is of the model as it was trained.
    succeed(&["report", run]);

    // The tensors change: what was chosen is not theirs.
    let tuned = config.out.join("tuned.safetensors");
    let bytes = fs::read(&tuned).unwrap();
    with_counts(&config.out, &[1; 100]);
    let said = fail(1, &["eval", "--run", run, "--device", "cpu"]);
    assert!(
        said.contains("adjust.toml: it was chosen for another tuned.safetensors"),
        "{said}"
    );
    fs::write(&tuned, bytes).unwrap();

    succeed(&["adjust", run, "--reset"]);
    assert_eq!(eval(&[])["metrics"], before["metrics"]);
    assert!(Adjustment::of_run(&config.out).unwrap().is_none());
    succeed(&["adjust", run, "--device", "cpu", "--dry-run"]);
    assert!(Adjustment::of_run(&config.out).unwrap().is_none());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = finished(dir.path());
    let run = text(&config.out);
    let logits = dir.path().join("test.parquet");
    let logits = text(&logits);
    succeed(&["eval", "--run", run, "--device", "cpu", "--logits", logits]);
    let prior = dir.path().join("prior.csv");
    fs::write(&prior, "class,frequency\nno such class,1\n").unwrap();
    let cases: [(i32, &[&str], &str); 8] = [
        (2, &["--split", "test"], "looks better there than it is"),
        (2, &["--split", "train"], "a model knows the images"),
        (2, &["--logits", logits], "--split test: what is chosen"),
        (2, &["--prior", "estimate"], "--unlabelled gives none"),
        (2, &["--tau", "1:0:1"], "is no range"),
        (
            2,
            &["--temperature", "0"],
            "--temperature 0 must be above 0",
        ),
        (
            1,
            &["--prior", text(&prior)],
            "row 1: the run has no class \"no such class\"",
        ),
        (1, &["--prior", "unifrm"], "unifrm"),
    ];
    for (code, more, message) in cases {
        let output = lift_train(&[&["adjust", run, "--device", "cpu"][..], more].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {said}");
        assert!(said.contains(message), "{more:?}: {said}");
    }
    succeed(&["adjust", run, "--logits", logits, "--i-know"]);
    let kept = Adjustment::of_run(&config.out).unwrap().unwrap();
    assert_eq!(
        kept.chosen.split,
        lift_shards::Split::Test,
        "and it says so"
    );

    let other = TrainConfig {
        out: dir.path().join("other"),
        seed: 1,
        ..config.clone()
    };
    command::train(&other).unwrap();
    let said = fail(
        1,
        &["adjust", text(&other.out), "--logits", logits, "--i-know"],
    );
    assert!(
        said.contains("logits of other tuned tensors than the run"),
        "{said}"
    );
}

/// Zero-shot logits without their prior, by class means, added to a run's; the accuracy at tau 0.
const GLA: &str = "
import sys, json
import numpy as np, pyarrow.parquet as pq
read = lambda p: np.array(pq.read_table(p)['logits'].to_pylist(), dtype=np.float64)
z, zero = read(sys.argv[1]), read(sys.argv[2])
y = np.array(pq.read_table(sys.argv[1])['label'].to_pylist())
K = z.shape[1]
b = np.zeros(K)
for _ in range(2000):
    s = zero + b; s = np.exp(s - s.max(1, keepdims=True)); s /= s.sum(1, keepdims=True)
    b += np.log(1 / K) - np.log(s.mean(0))
hit = (z + zero + b).argmax(1) == y
print(json.dumps(hit.mean()))
";

#[test]
fn zero_shot_logits_are_added_without_their_prior() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    add_val(&dir.path().join("shards"));
    let (run, model) = (path("run"), demo_model().display().to_string());
    let (shards, head) = (path("shards"), path("head.safetensors"));
    let inputs = [
        "--shards", &shards, "--model", &model, "--head", &head, "--device", "cpu",
    ];
    succeed(
        &[
            &inputs[..],
            &["--epochs", "1", "--tte", "none", "--out", &run],
        ]
        .concat(),
    );
    let (own, zero) = (path("own.parquet"), path("zero.parquet"));
    succeed(&[
        "eval", "--run", &run, "--split", "val", "--device", "cpu", "--logits", &own,
    ]);
    succeed(
        &[
            &["zero-shot", "--split", "val", "--logits", &zero][..],
            &inputs,
        ]
        .concat(),
    );
    let args = [
        "adjust",
        &run,
        "--logits",
        &own,
        "--toward-text",
        &zero,
        "--tau",
        "0",
        "--json",
    ];
    let found = parse(&succeed(&args));
    assert!(found["kept"].is_null());
    assert_eq!(Adjustment::of_run(run.as_ref()).unwrap(), None);
    if let Some(numpy) = python(GLA, &[own.as_ref(), zero.as_ref()]) {
        // A class's log prior is fitted to 1e-4, so that an image at the edge may fall to either side.
        close(
            &found["curve"][0]["overall"],
            numpy.as_f64().unwrap(),
            0.0101,
        );
    }
    let args = ["adjust", &run, "--logits", &own, "--toward-text", &own];
    let said = fail(1, &args);
    assert!(said.contains("logits of a tuned model, run"), "{said}");

    // Of class texts the same comes out, and is kept: what judges and answers obeys it.
    let logits_of_text = found;
    let args = [
        "adjust",
        &run,
        "--toward-text",
        &head,
        "--tau",
        "0",
        "--device",
        "cpu",
        "--json",
    ];
    let found = parse(&succeed(&args));
    assert!(found["kept"].is_string(), "{found}");
    close(
        &found["curve"][0]["overall"],
        logits_of_text["curve"][0]["overall"].as_f64().unwrap(),
        0.0101,
    );
    let (judged, asked) = (path("judged.csv"), path("asked.csv"));
    let eval = ["eval", &run, "--split", "val", "--device", "cpu", "--json"];
    let report = parse(&succeed(&[&eval[..], &["--predictions", &judged]].concat()));
    let evaluation = &report["evaluations"][0];
    assert_eq!(evaluation["adjusted"]["with_text"], true);
    close(
        &evaluation["metrics"]["overall"],
        found["curve"][0]["overall"].as_f64().unwrap(),
        0.0101,
    );
    let as_trained = path("as_trained.csv");
    succeed(&[&eval[..], &["--no-adjust", "--predictions", &as_trained]].concat());
    let val = path("shards/val");
    succeed(&["predict", &run, &val, "--device", "cpu", "--out", &asked]);
    let column = |file: &str, name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap();
        let mut rows = text
            .lines()
            .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let at = rows
            .next()
            .unwrap()
            .iter()
            .position(|found| found == name)
            .unwrap();
        rows.map(|row| row[at].clone()).collect()
    };
    assert_eq!(column(&judged, "predicted"), column(&asked, "label"));
    assert_ne!(
        column(&judged, "predicted"),
        column(&as_trained, "predicted")
    );
    let said = fail(2, &[&eval[..], &["--logits", &path("no.parquet")]].concat());
    assert!(
        said.contains("adds others to them\nhint: give --no-adjust"),
        "{said}"
    );

    // It travels in a folder and in a graph, where it is a second tower; the other forms have no place for it.
    let taken = path("taken");
    let said = fail(1, &["export", &run, "--format", "merged", "--out", &taken]);
    assert!(
        said.contains("adjust.toml: adds zero-shot logits"),
        "{said}"
    );
    let graph = path("graph");
    succeed(&["export", &run, "--format", "onnx", "--out", &graph]);
    if let Some(python) = export_onnx::python() {
        let split = Arc::new(ShardReader::open(val.as_ref()).unwrap());
        let metadata = export_onnx::same_as_eval(&python, graph.as_ref(), &split, judged.as_ref());
        let said = metadata["adjustment"].as_str().unwrap();
        assert!(said.starts_with("zero-shot logits added, "), "{said}");
    }
    succeed(&["export", &run, "--format", "folder", "--out", &taken]);
    let shards = [
        "--shards", &shards, "--split", "val", "--device", "cpu", "--json",
    ];
    let again = parse(&succeed(&[&["eval", &taken][..], &shards].concat()));
    assert_eq!(again["evaluations"][0]["metrics"], evaluation["metrics"]);
    succeed(&["adjust", &run, "--reset"]);
    assert!(!std::path::Path::new(&path("run/adjust-texts.safetensors")).exists());
}
