//! Where an export is written until it is whole, so that one that failed can be gone on with.
//!
//! `OUT/<split>.unfinished` holds `export.json`, which says what is exported, the folder `images`, and the
//! table once all images are there. Invariant: `OUT/<split>` and `OUT/<split>.csv` appear whole, and nothing is
//! removed but `export.json` and a folder that is empty.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use lift_shards::atomic;

const PLAN: &str = "export.json";

/// More than any plan has.
const MAX_PLAN_BYTES: u64 = 1 << 16;

const IMAGES: &str = "images";
const TABLE: &str = "table.csv";

/// An export that is not whole yet.
pub(super) struct Unfinished {
    dir: PathBuf,
    /// What becomes of its images, where there are any.
    images: Option<PathBuf>,
    /// What becomes of its table.
    table: PathBuf,
    /// Held as long as this process writes; it goes with the process, however that ends.
    _lock: File,
}

impl Unfinished {
    /// Begins the export that `plan` describes, or goes on with it.
    ///
    /// # Errors
    /// When something else is in the way.
    pub(super) fn open(
        out: &Path,
        split: &str,
        plan: &str,
        (images, table): (Option<PathBuf>, PathBuf),
    ) -> Result<Self> {
        let dir = out.join(format!("{split}.unfinished"));
        let exists = |path: &PathBuf| path.symlink_metadata().is_ok();
        // Where the table is finished, its images may have been moved already.
        if !exists(&dir.join(TABLE)) {
            let finished = [&out.join(split), &out.join(format!("{split}.csv"))];
            if let Some(path) = finished.into_iter().find(|path| exists(path)) {
                return Err(lift_shards::Error::OutputExists { path: path.clone() }.into());
            }
        }
        fs::create_dir_all(&dir).map_err(Error::write(&dir))?;
        let lock = File::open(&dir).map_err(Error::read(&dir))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(Error::Source {
                path: dir,
                reason: "another export is writing here".to_owned(),
                hint: "wait for it, or choose another --out".to_owned(),
            });
        }
        let path = dir.join(PLAN);
        match lift_files::bytes(&path, MAX_PLAN_BYTES) {
            Ok(known) if known == plan.as_bytes() => {}
            Ok(_) => {
                return Err(Error::Source {
                    path: dir,
                    reason: "holds an unfinished export of other rows or shards".to_owned(),
                    hint:
                        "export the same again to go on with it, remove it, or choose another --out"
                            .to_owned(),
                });
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                // Of ours nothing but a plan that was half written can be there.
                let ours = atomic::temporary_name(&path);
                for entry in fs::read_dir(&dir).map_err(Error::read(&dir))? {
                    if entry.map_err(Error::read(&dir))?.path() != ours {
                        return Err(lift_shards::Error::OutputExists { path: dir }.into());
                    }
                }
                atomic::write_locked(&path, plan.as_bytes())?;
            }
            Err(err) => return Err(Error::read(path)(err)),
        }
        Ok(Self {
            dir,
            images,
            table,
            _lock: lock,
        })
    }

    /// Writes an image, unless it is there and whole.
    pub(super) fn image(&self, folder: &str, file: &str, bytes: &[u8]) -> Result<()> {
        let dir = self.dir.join(IMAGES).join(folder);
        let path = dir.join(file);
        if lift_files::bytes(&path, bytes.len() as u64).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        fs::create_dir_all(&dir).map_err(Error::write(dir))?;
        let mut file = File::create(&path).map_err(Error::write(&path))?;
        file.write_all(bytes).map_err(Error::write(path))
    }

    /// The table, to be written from its start.
    pub(super) fn table(&self) -> Result<File> {
        let path = self.table_in_progress();
        File::create(&path).map_err(Error::write(path))
    }

    /// Where [`Self::table`] lies until it is whole.
    pub(super) fn table_in_progress(&self) -> PathBuf {
        atomic::temporary_name(&self.dir.join(TABLE))
    }

    /// Gives everything its final name; `table` is written to its end.
    pub(super) fn finish(self, table: File) -> Result<()> {
        let (in_progress, written) = (self.table_in_progress(), self.dir.join(TABLE));
        table.sync_all().map_err(Error::write(&in_progress))?;
        atomic::publish(&in_progress, &written)?;
        let images = self.dir.join(IMAGES);
        if let Some(finished) = &self.images
            && images.is_dir()
        {
            fs::rename(&images, finished).map_err(Error::write(finished))?;
        }
        atomic::publish(&written, &self.table)?;
        let plan = self.dir.join(PLAN);
        fs::remove_file(&plan).map_err(Error::write(plan))?;
        // What somebody else has put there stays.
        let _ = fs::remove_dir(&self.dir);
        Ok(())
    }
}
