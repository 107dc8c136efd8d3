//! Data in forms that LIFT does not read as they are, known by their names and first bytes, with how to bring them into one that
//! it does.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use lift_page::escape;

/// Refuses a folder that `save_to_disk` of Hugging Face's datasets wrote, and a file that is compressed as a whole.
///
/// # Errors
/// When `source` is one of them.
pub(crate) fn refuse(source: &Path) -> Result<()> {
    if source.is_dir() {
        saved_to_disk(source).map_or(Ok(()), Err)
    } else {
        compressed(source).map_or(Ok(()), Err)
    }
}

fn wrong(path: &Path, reason: String, hint: String) -> Error {
    Error::Source {
        path: path.to_owned(),
        reason,
        hint,
    }
}

fn saved_to_disk(dir: &Path) -> Option<Error> {
    let has = |name: &str| dir.join(name).is_file();
    let written = |of: &str, write: &str| {
        let hint = format!(
            "write it as Parquet and build that with `lift-data build hf --source PARQUET`: python -c \"from datasets import \
             load_from_disk; {write}\""
        );
        let hint = hint.replace("DIR", &escape::path(dir));
        wrong(
            dir,
            format!("{of} that `save_to_disk` wrote, which is not read as it is"),
            hint,
        )
    };
    if has("dataset_dict.json") {
        return Some(written(
            "splits of a Hugging Face dataset",
            "[d.to_parquet(f'PARQUET/{name}.parquet') for name, d in load_from_disk('DIR').items()]",
        ));
    }
    (has("state.json") && has("dataset_info.json")).then(|| {
        written(
            "a split of a Hugging Face dataset",
            "load_from_disk('DIR').to_parquet('PARQUET/train.parquet')",
        )
    })
}

fn compressed(file: &Path) -> Option<Error> {
    let mut head = Vec::new();
    lift_files::open(file)
        .ok()?
        .take(6)
        .read_to_end(&mut head)
        .ok()?;
    let shown = escape::path(file);
    let (what, unpack) = match head.as_slice() {
        [0x1F, 0x8B, ..] => ("gzip", format!("gunzip --keep {shown}")),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => ("Zstandard", format!("unzstd {shown}")),
        [0xFD, b'7', b'z', b'X', b'Z', 0] => ("xz", format!("unxz --keep {shown}")),
        [b'B', b'Z', b'h', ..] => ("bzip2", format!("bunzip2 --keep {shown}")),
        [b'P', b'K', 3, 4, ..] => {
            let hint = format!("unpack it and name what is in it: unzip {shown} -d FOLDER");
            return Some(wrong(file, "a zip archive".to_owned(), hint));
        }
        _ => return None,
    };
    let hint = format!("unpack it, since images are read from where they lie in it: {unpack}");
    Some(wrong(file, format!("compressed with {what}"), hint))
}

/// Refuses a folder whose tars are all compressed.
///
/// # Errors
/// When there are some, and none that is not.
pub(super) fn refuse_compressed_tars(dir: &Path) -> Result<()> {
    const ENDS: [&str; 8] = [
        ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.xz", ".txz", ".tar.bz2", ".tbz2",
    ];
    let names = fs::read_dir(dir).map_err(Error::read(dir))?;
    let names = names.filter_map(|entry| {
        Some(
            entry
                .ok()?
                .file_name()
                .to_string_lossy()
                .to_ascii_lowercase(),
        )
    });
    let mut packed: Vec<String> = names
        .filter(|name| ENDS.iter().any(|end| name.ends_with(end)))
        .collect();
    packed.sort();
    match packed.first() {
        None => Ok(()),
        Some(first) => Err(wrong(
            dir,
            format!("its tars are compressed ({}, such as {})", packed.len(), escape::visible(first)),
            "unpack them, since images are read from where they lie in them: gunzip, unzstd, unxz or bunzip2".to_owned(),
        )),
    }
}
