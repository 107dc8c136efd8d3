//! `cargo xtask gpu-bundle`: one folder that a machine with a GPU, PyTorch and nothing else can check and measure LIFT with.
//!
//! Runs nothing on a GPU itself; `gpu-check.sh` in the folder does. Invariant: a folder that is not a bundle is never
//! removed, and one that is larger than [`MOST_BYTES`] is an error.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::bench;
use crate::checkout::Checkout;
use crate::setup;
use crate::steps::{Steps, succeed};

/// What a bundle may have in all.
const MOST_BYTES: u64 = 64 << 20;
/// Its presence says that a folder is a bundle.
const SCRIPT: &str = "gpu-check.sh";
const PROGRAMS: [&str; 2] = ["lift-data", "lift-train"];

/// The golden values that `lift-train parity` replays, below `golden/` of the reference data: models and inputs.
const GOLDENS: [&str; 3] = ["clip-openai-layout", "vit-timm-layout", "train-inputs"];
/// Reference runs, below `golden/tuners/`: one a module, one a classifier, two losses. The large ones are left out.
const RUNS: [&str; 14] = [
    "adapter",
    "adaptformer",
    "adaptformer+lora",
    "adaptformer-l2normclassifier",
    "adaptformer-layernormclassifier",
    "adaptformer-linearclassifier",
    "adaptformer-loss-lade",
    "adaptformer-loss-ldam",
    "bitfit",
    "lora",
    "ssf",
    "timm-adaptformer-class-mean",
    "vpt-deep",
    "vpt-shallow",
];

/// Sets up, builds the programs and fills `out`, by default `target/gpu-bundle`.
pub fn run(checkout: &Checkout, steps: &mut Steps, out: Option<&Path>) -> Result<()> {
    let target = bench::target_folder()?;
    let out = match out {
        Some(out) => std::path::absolute(out).with_context(|| out.display().to_string())?,
        None => target.join("gpu-bundle"),
    };
    let jpeg = setup::run(checkout, steps)?;
    steps.command(
        "cargo build --release --locked --bin lift-data --bin lift-train",
        checkout
            .cargo()
            .args(["build", "--release", "--locked"])
            .args(jpeg.cargo_args())
            .args(["--bin", "lift-data", "--bin", "lift-train"]),
    )?;
    let work = target.join("gpu-bundle.tmp");
    assemble(checkout, steps, &target.join("release"), &work, &out)?;
    let (table, bytes) = contents(&out)?;
    println!("{table}");
    check_size(&out, bytes)?;
    println!("bundle: {}; run `bash {SCRIPT}` in it", out.display());
    Ok(())
}

/// Fills a fresh `out` with the programs of the folder `programs`, and what they are checked with; `work` is scratch.
fn assemble(
    checkout: &Checkout,
    steps: &mut Steps,
    programs: &Path,
    work: &Path,
    out: &Path,
) -> Result<()> {
    remove_bundle(out)?;
    let _ = fs::remove_dir_all(work); // what a killed run left
    create_folder(out)?;
    steps.run("scripts and kernels", || {
        let root = &checkout.root;
        copy_files(&root.join("xtask/gpu"), out, &["py", "sh"])?;
        let kernels = root.join("crates/lift-train/kernels");
        if kernels.is_dir() {
            copy_files(&kernels, &out.join("kernels"), &["cu", "cuh"])?;
        }
        let model = "shapes-clip";
        copy_files(
            &root.join("models").join(model),
            &out.join(model),
            &["json", "safetensors"],
        )
    })?;
    steps.run("programs", || pack(programs, work, out))?;
    steps.run("shards of drawn shapes", || {
        let lift_data = || checkout.command(programs.join("lift-data"));
        let images = work.join("shapes");
        succeed(
            lift_data()
                .args(["draw", "shapes-lt", "--out"])
                .arg(&images),
        )?;
        let small = "--encoding jpeg --quality 90 --short-side 64 --max-per-class 16";
        succeed(
            lift_data()
                .args(["build", "shapes-lt", "--source"])
                .arg(&images)
                .arg("--out")
                .arg(out.join("shapes"))
                .args(small.split(' ')),
        )
    })?;
    steps.run("golden values", || {
        copy_goldens(&shared(checkout).join("golden"), &out.join("goldens"))
    })?;
    fs::remove_dir_all(work).with_context(|| work.display().to_string())
}

/// Stripped copies of the programs as `programs.tar.gz`, a third of their size.
fn pack(programs: &Path, work: &Path, out: &Path) -> Result<()> {
    let bin = work.join("bin");
    create_folder(&bin)?;
    for name in PROGRAMS {
        copy(&programs.join(name), &bin.join(name))?;
        let stripped = Command::new("strip")
            .arg(bin.join(name))
            .stderr(Stdio::null())
            .status();
        if !stripped.is_ok_and(|status| status.success()) {
            eprintln!("not stripped: {name}: `strip` does not run\nhint: apt-get install binutils");
        }
    }
    let archive = out.join("programs.tar.gz");
    succeed(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "-C"])
            .arg(&bin)
            .arg("-czf")
            .arg(archive)
            .args(PROGRAMS),
    )
}

/// The folder of reference data, whether it is there or not.
fn shared(checkout: &Checkout) -> PathBuf {
    let given = env::var_os("LIFT_SHARED").map(PathBuf::from);
    given.unwrap_or_else(|| checkout.root.join("../shared"))
}

/// Copies [`GOLDENS`] and [`RUNS`]; where they are not on this machine the bundle does without, and says so.
fn copy_goldens(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        eprintln!(
            "skipped: no golden values in the bundle: {} is not there\nhint: set LIFT_SHARED",
            from.display()
        );
        return Ok(());
    }
    create_folder(&to.join("tuners"))?;
    let runs = RUNS.iter().map(|name| format!("tuners/{name}"));
    for name in GOLDENS.iter().map(|name| (*name).to_owned()).chain(runs) {
        let file = format!("{name}.safetensors");
        copy(&from.join(&file), &to.join(&file))?;
    }
    Ok(())
}

/// Copies the files of a folder that end in one of `extensions`.
fn copy_files(from: &Path, to: &Path, extensions: &[&str]) -> Result<()> {
    create_folder(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| extensions.contains(&extension)) {
            copy(
                &path,
                &to.join(path.file_name().context("a file has a name")?),
            )?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("{} -> {}", from.display(), to.display()))?;
    Ok(())
}

fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

/// Removes an earlier bundle; anything else in its place is an error, but for an empty folder.
fn remove_bundle(out: &Path) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    let is_empty = fs::read_dir(out)
        .with_context(|| out.display().to_string())?
        .next()
        .is_none();
    if !is_empty && !out.join(SCRIPT).is_file() {
        bail!(
            "{}: exists and is no bundle\nhint: name another folder with --out",
            out.display()
        );
    }
    fs::remove_dir_all(out).with_context(|| out.display().to_string())
}

/// A line with the size of everything in `out`, and the sum in bytes.
fn contents(out: &Path) -> Result<(String, u64)> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(out).with_context(|| out.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().display().to_string();
        let name = if path.is_dir() { name + "/" } else { name };
        entries.push((name, bytes_of(&path)?));
    }
    entries.sort();
    let sum = entries.iter().map(|(_, bytes)| bytes).sum();
    entries.push(("in all".to_owned(), sum));
    let width = entries.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let lines: Vec<String> = entries
        .iter()
        .map(|(name, bytes)| format!("{name:<width$}  {:>6.2} MiB", mebibytes(*bytes)))
        .collect();
    Ok((lines.join("\n"), sum))
}

fn check_size(out: &Path, bytes: u64) -> Result<()> {
    if bytes > MOST_BYTES {
        bail!(
            "{}: has {:.1} MiB, and a bundle may have {} MiB\n\
             hint: the table says what is large; golden runs are listed in xtask/src/gpu_bundle.rs",
            out.display(),
            mebibytes(bytes),
            MOST_BYTES >> 20
        );
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The size of a file, or of all files below a folder.
fn bytes_of(path: &Path) -> Result<u64> {
    if !path.is_dir() {
        let data = path
            .metadata()
            .with_context(|| path.display().to_string())?;
        return Ok(data.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        sum += bytes_of(&entry?.path())?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own, removed when it ends well.
    fn scratch(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("lift-xtask-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn only_a_bundle_is_replaced() {
        let root = scratch("bundle");
        let out = root.join("out");
        remove_bundle(&out).unwrap();
        fs::create_dir(&out).unwrap();
        remove_bundle(&out).unwrap();
        assert!(!out.exists(), "an empty folder is nobody's");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("mine"), "").unwrap();
        let message = remove_bundle(&out).unwrap_err().to_string();
        assert!(message.contains("is no bundle\nhint: "), "{message}");
        assert!(out.join("mine").exists());
        fs::write(out.join(SCRIPT), "").unwrap();
        remove_bundle(&out).unwrap();
        assert!(!out.exists());
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_is_in_it_is_listed_and_bounded() {
        let root = scratch("contents");
        fs::create_dir_all(root.join("deep/er")).unwrap();
        fs::write(root.join("deep/er/a"), vec![0; 3 << 19]).unwrap();
        fs::write(root.join("b"), vec![0; 1 << 19]).unwrap();
        let (table, bytes) = contents(&root).unwrap();
        assert_eq!(bytes, 2 << 20);
        let expected = "b         0.50 MiB\ndeep/     1.50 MiB\nin all    2.00 MiB";
        assert_eq!(table, expected);
        assert!(check_size(&root, 64 << 20).is_ok());
        let message = check_size(&root, (64 << 20) + 1).unwrap_err().to_string();
        assert!(message.contains("may have 64 MiB\nhint: "), "{message}");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_programs_are_packed_so_that_they_run_again() {
        let root = scratch("pack");
        let programs = root.join("programs");
        fs::create_dir(&programs).unwrap();
        for name in PROGRAMS {
            fs::copy("/bin/true", programs.join(name)).unwrap();
        }
        pack(&programs, &root.join("work"), &root).unwrap();
        let unpacked = Command::new("tar")
            .arg("-xzf")
            .arg(root.join("programs.tar.gz"))
            .arg("-C")
            .arg(&root)
            .status();
        assert!(unpacked.unwrap().success());
        for name in PROGRAMS {
            succeed(&mut Command::new(root.join(name))).unwrap();
        }
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn golden_values_are_taken_where_they_are() {
        let root = scratch("goldens");
        let (from, to) = (root.join("from"), root.join("to"));
        copy_goldens(&from, &to).unwrap();
        assert!(!to.exists(), "there are none");
        fs::create_dir_all(from.join("tuners")).unwrap();
        for name in GOLDENS {
            fs::write(from.join(format!("{name}.safetensors")), name).unwrap();
        }
        let missing = format!("{:#}", copy_goldens(&from, &to).unwrap_err());
        assert!(missing.contains("tuners/adapter.safetensors"), "{missing}");
        for name in RUNS {
            fs::write(from.join(format!("tuners/{name}.safetensors")), name).unwrap();
        }
        copy_goldens(&from, &to).unwrap();
        let copied = fs::read_dir(to.join("tuners")).unwrap().count();
        assert_eq!(copied, RUNS.len());
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_scripts_are_well_formed() {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("gpu");
        succeed(Command::new("bash").arg("-n").arg(scripts.join(SCRIPT))).unwrap();
        let parse = "import ast, glob, sys\n\
                     files = glob.glob(sys.argv[1] + '/*.py')\n\
                     for file in files: ast.parse(open(file).read(), file)\n\
                     assert len(files) >= 5, files";
        succeed(Command::new("python3").args(["-c", parse]).arg(&scripts)).unwrap();
    }
}
