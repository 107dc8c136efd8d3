//! `lift-train sweep`: the runs of a grid, one after the other or one a device, and a table of what came out.
//!
//! Each run is a process of its own, with its messages in a file beside its folder: what one run leaves in memory or on a
//! device is no other's, and one that fails ends no other. Invariant: a finished run is not done again, an unfinished one goes
//! on, and one that was made with other settings than the file has now is refused.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use lift_page::{number::plain, terminal};
use lift_shards::atomic;

use super::{print_json, print_text};
use crate::{
    error::{Error, Result},
    report::Report,
    run,
    stop::Stop,
    sweep::{Outcome, Point, Sweep, table},
};

/// One run of a sweep.
struct Job<'a> {
    point: &'a Point,
    seed: u64,
    run: PathBuf,
}

/// Does what is left of a sweep in the folder `out`, on each of these devices one run at a time, and prints the table.
///
/// # Errors
/// When a run was made with other settings, the folder cannot be written, runs fail, or `stop` wants it.
pub fn sweep(sweep: &Sweep, out: &Path, devices: &[String], json: bool, stop: &Stop) -> Result<()> {
    let mut jobs = Vec::new();
    for point in &sweep.points {
        for &seed in &sweep.seeds {
            let run = out.join(&point.name).join(format!("seed-{seed}"));
            jobs.push(Job { point, seed, run });
        }
    }
    for job in &jobs {
        prepare(sweep, job)?;
    }
    let left: Vec<&Job<'_>> = jobs.iter().filter(|job| !is_finished(&job.run)).collect();
    let done = jobs.len() - left.len();
    terminal::say(format_args!(
        "{}: {}, {done} finished before",
        out.display(),
        plain(jobs.len() as u64, "run")
    ));
    let failed = do_all(&left, devices, stop);
    let outcomes = outcomes(sweep, &jobs)?;
    if json {
        print_json(&outcomes)?;
    } else {
        print_text(&table(&outcomes))?;
    }
    if stop.is_wanted(0) {
        return Err(Error::Config(format!(
            "{}: stopped; the same command goes on",
            out.display()
        )));
    }
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(Error::BadRun {
            path: log_of(first),
            reason: format!(
                "{} failed; the last lines of this file say why\nhint: the same command tries again what has failed",
                plain(failed.len() as u64, "run")
            ),
        }),
    }
}

fn is_finished(run: &Path) -> bool {
    run.join("report.json").exists()
}

fn log_of(run: &Path) -> PathBuf {
    run.with_extension("log")
}

fn recipe_of(run: &Path) -> PathBuf {
    run.with_extension("toml")
}

/// Writes the recipe of a run beside its folder, where it is not there yet.
fn prepare(sweep: &Sweep, job: &Job<'_>) -> Result<()> {
    let path = recipe_of(&job.run);
    let text = sweep.recipe(job.point, job.seed, &job.run);
    match fs::read_to_string(&path) {
        Ok(found) if found == text => Ok(()),
        Ok(_) if job.run.exists() => Err(Error::BadRun {
            path,
            reason: "the run was made with other settings than the sweep has now\nhint: choose another --out, or remove this file and the folder beside it".into(),
        }),
        _ => {
            let folder = job.run.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
            Ok(atomic::write(&path, text.as_bytes())?)
        }
    }
}

/// Runs that failed, in the order of the sweep.
fn do_all(left: &[&Job<'_>], devices: &[String], stop: &Stop) -> Vec<PathBuf> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let work = |device: Option<&String>| {
        while !stop.is_wanted(0) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = left.get(number) else {
                return;
            };
            let name = job.run.display();
            terminal::say(format_args!("{} of {}: {name}", number + 1, left.len()));
            let ended = start(job, device);
            if !is_finished(&job.run) && !stop.is_wanted(0) {
                terminal::say(match ended {
                    Ok(status) => format!(
                        "{name}: failed ({status}), see {}",
                        log_of(&job.run).display()
                    ),
                    Err(error) => format!("{name}: failed: {error}"),
                });
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push((number, job.run.clone()));
            }
        }
    };
    let devices: Vec<Option<&String>> = match devices {
        [] => vec![None],
        devices => devices.iter().map(Some).collect(),
    };
    thread::scope(|scope| {
        for device in devices {
            scope.spawn(move || work(device));
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort();
    failed.into_iter().map(|(_, run)| run).collect()
}

/// Begins a run or goes on with it, and waits for its end.
fn start(job: &Job<'_>, device: Option<&String>) -> Result<ExitStatus> {
    let program = std::env::current_exe().map_err(Error::io("lift-train"))?;
    let log = log_of(&job.run);
    let file = File::create(&log).map_err(Error::io(&log))?;
    let also = file.try_clone().map_err(Error::io(&log))?;
    let mut command = Command::new(program);
    if run::read_config(&job.run).is_ok() {
        command.arg("resume").arg(&job.run);
    } else {
        command
            .arg("train")
            .arg("--config")
            .arg(recipe_of(&job.run));
    }
    if let Some(device) = device {
        command.args(["--device", device]);
    }
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(also)
        .status();
    status.map_err(Error::io(&log))
}

fn outcomes(sweep: &Sweep, jobs: &[Job<'_>]) -> Result<Vec<Outcome>> {
    let of_point = |point: &Point| {
        let runs = jobs.iter().filter(|job| job.point == point);
        let finished = runs.filter(|job| is_finished(&job.run));
        let reports: Result<Vec<Report>> = finished.map(|job| Report::read(&job.run)).collect();
        Ok(Outcome::new(&point.name, &reports?))
    };
    sweep.points.iter().map(of_point).collect()
}
