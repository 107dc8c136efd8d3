//! What is typed where images are asked for: files, folders, tar files, lists, folders of shards, `-` for paths on standard
//! input.
//!
//! It opens no image. Invariant: images are in the order in which they were typed, within a folder in that of their names;
//! what is passed over is said.

use std::{
    fs::{self, File},
    io::{self, BufRead},
    path::{Path, PathBuf},
    sync::Arc,
};

use lift_files::Purpose;
use lift_image::decode::{Orientation, Rules, is_named_image};
use lift_loader::{FileImage, ImageFiles, Images, Place};
use lift_page::{escape::visible, number::plain, terminal};
use lift_shards::{layout::shard_dirs, shard::ShardReader, table_file};
use tar::Archive;

use crate::error::{Error, Result};

/// Opens what was typed; images that follow each other as files are one group.
///
/// # Errors
/// When one is not there, or holds no image.
pub fn open(typed: &[PathBuf]) -> Result<Vec<Images>> {
    let mut groups = Vec::new();
    let mut files = Vec::new();
    for path in typed {
        let shards = if path.is_dir() {
            shard_dirs(path)?
        } else {
            Vec::new()
        };
        match shards.as_slice() {
            [] => files.extend(image_files(path)?),
            [dir] => {
                close(&mut files, &mut groups);
                groups.push(Arc::new(ShardReader::open(dir)?).into());
            }
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|dir| visible(&dir.to_string_lossy()))
                    .collect();
                return Err(Error::Usage(format!(
                    "{}: shards of {} splits\nhint: name those that are meant: {}",
                    path.display(),
                    several.len(),
                    names.join(", ")
                )));
            }
        }
    }
    close(&mut files, &mut groups);
    Ok(groups)
}

fn close(files: &mut Vec<FileImage>, groups: &mut Vec<Images>) {
    if !files.is_empty() {
        let rules = Rules::from(Orientation::Exif);
        groups.push(Arc::new(ImageFiles::new(std::mem::take(files), rules)).into());
    }
}

fn image_files(path: &Path) -> Result<Vec<FileImage>> {
    if path == Path::new("-") {
        let lines: io::Result<Vec<String>> = io::stdin().lock().lines().collect();
        let lines = lines.map_err(Error::io("standard input"))?;
        return listed(path, Path::new(""), lines.into_iter());
    }
    if path.is_dir() {
        return in_folder(path);
    }
    fs::metadata(path).map_err(Error::io(path))?;
    let name = path.to_string_lossy().to_lowercase();
    let ends_in = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let folder = path.parent().unwrap_or(Path::new(""));
    if ends_in(&[".tar"]) {
        in_tar(path)
    } else if ends_in(&[".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz", ".zip"]) {
        Err(Error::Usage(format!(
            "{}: a compressed archive, in which images cannot be found by their place\nhint: unpack it, and name the folder or the .tar",
            path.display()
        )))
    } else if ends_in(&[".txt", ".lst", ".list"]) {
        let text = lift_files::text(path, Purpose::List).map_err(Error::io(path))?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        listed(path, folder, lines.into_iter())
    } else if ends_in(&[".csv", ".parquet"]) {
        let pairs = table_file::read_pairs(path, "path", "path")?;
        let paths = pairs.into_iter().map(|(path, _)| path.unwrap_or_default());
        listed(path, folder, paths)
    } else {
        Ok(vec![of_path(path.into())])
    }
}

fn of_path(path: PathBuf) -> FileImage {
    FileImage {
        name: path.to_string_lossy().into_owned(),
        place: Place::File(path),
    }
}

/// The paths of a list, relative to its folder; what is not there becomes an image that cannot be read.
fn listed(
    list: &Path,
    folder: &Path,
    lines: impl Iterator<Item = String>,
) -> Result<Vec<FileImage>> {
    let found: Vec<FileImage> = lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| of_path(folder.join(line.trim_end_matches('\r'))))
        .collect();
    if found.is_empty() {
        let list = if list == Path::new("-") {
            "standard input".into()
        } else {
            list.display().to_string()
        };
        return Err(Error::Usage(format!(
            "{list}: names no image\nhint: a line is the path of one"
        )));
    }
    Ok(found)
}

/// The images below a folder, by their endings; links to folders are not followed, hidden files not looked at.
fn in_folder(root: &Path) -> Result<Vec<FileImage>> {
    let (mut found, mut others) = (Vec::new(), 0);
    walk(root, &mut found, &mut others)?;
    if found.is_empty() {
        return Err(Error::Usage(format!(
            "{}: no image in it\nhint: images end in .jpg, .png, .webp, .gif, .bmp or .tif; a single file may be called anything",
            root.display()
        )));
    }
    pass_over(root, others);
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<FileImage>, others: &mut u64) -> Result<()> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect);
    let mut entries: Vec<fs::DirEntry> = entries.map_err(Error::io(folder))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let kind = entry.file_type().map_err(Error::io(&path))?;
        if name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX" {
            continue;
        }
        if kind.is_dir() {
            walk(&path, found, others)?;
        } else if is_image(&path) {
            found.push(of_path(path));
        } else {
            *others += 1;
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    is_named_image(extension.as_deref())
}

/// The images of a tar file, by their endings; they stay where they are.
fn in_tar(path: &Path) -> Result<Vec<FileImage>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let tar: Arc<Path> = path.into();
    let (mut found, mut others) = (Vec::new(), 0);
    let mut archive = Archive::new(file);
    for entry in archive.entries_with_seek().map_err(Error::io(path))? {
        let entry = entry.map_err(Error::io(path))?;
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() || !is_image(Path::new(&name)) {
            others += 1;
            continue;
        }
        found.push(FileImage {
            name: format!("{}/{name}", path.display()),
            place: Place::Member {
                tar: Arc::clone(&tar),
                offset: entry.raw_file_position(),
                bytes: entry.size(),
            },
        });
    }
    if found.is_empty() {
        return Err(Error::Usage(format!(
            "{}: no image in it\nhint: members of a tar file are images by their endings, .jpg, .png and so on",
            path.display()
        )));
    }
    pass_over(path, others);
    Ok(found)
}

fn pass_over(path: &Path, others: u64) {
    if others > 0 {
        terminal::say(format_args!(
            "note: {}: {} passed over, whose names do not end like an image's",
            path.display(),
            plain(others, "file")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(images: &Images) -> Vec<String> {
        (0..images.len())
            .map(|row| images.name(row).to_owned())
            .collect()
    }

    #[test]
    fn folders_tars_and_lists_in_the_order_they_were_typed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("photos/b")).unwrap();
        for name in [
            "photos/z.JPG",
            "photos/b/1.png",
            "photos/b/notes.md",
            "photos/.hidden.jpg",
            "photos/a.jpeg",
        ] {
            fs::write(at(name), name).unwrap();
        }
        fs::write(at("list.txt"), "photos/a.jpeg\r\n\nnot there.jpg\n").unwrap();
        fs::write(at("table.csv"), "label,path\n1,photos/z.JPG\n").unwrap();
        let mut tar = tar::Builder::new(File::create(at("some.tar")).unwrap());
        tar.append_path_with_name(at("photos/b/1.png"), "x/1.png")
            .unwrap();
        tar.append_path_with_name(at("photos/b/notes.md"), "x/1.md")
            .unwrap();
        tar.into_inner().unwrap();
        let typed = ["photos", "some.tar", "list.txt", "table.csv"].map(at);
        let groups = open(&typed).unwrap();
        assert_eq!(groups.len(), 1);
        let wanted = [
            "photos/a.jpeg",
            "photos/b/1.png",
            "photos/z.JPG",
            "some.tar/x/1.png",
            "photos/a.jpeg",
            "not there.jpg",
            "photos/z.JPG",
        ];
        let wanted: Vec<String> = wanted
            .iter()
            .map(|name| at(name).display().to_string())
            .collect();
        assert_eq!(names(&groups[0]), wanted);
        let Images::Files(files) = &groups[0] else {
            panic!("files")
        };
        let mut bytes = Vec::new();
        files.read(3, &mut bytes).unwrap();
        assert_eq!(bytes, b"photos/b/1.png", "the member's bytes");

        for (name, text, message) in [
            ("empty.txt", "\n \n", "names no image"),
            ("photos.tar.gz", "x", "a compressed archive"),
        ] {
            fs::write(at(name), text).unwrap();
            let error = open(&[at(name)]).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let error = open(&[at("nothing")]).unwrap_err().to_string();
        assert!(error.contains("nothing: "), "{error}");
        fs::create_dir(at("bare")).unwrap();
        let error = open(&[at("bare")]).unwrap_err().to_string();
        assert!(error.contains("no image in it"), "{error}");
    }
}
