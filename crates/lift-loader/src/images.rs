//! What a loader loads: rows of shards, or image files as they lie.

use std::sync::Arc;

use lift_shards::ShardReader;

use crate::files::ImageFiles;

/// The images of a loader.
#[derive(Clone, Debug)]
pub enum Images {
    /// Of one split of a dataset, with labels.
    Shards(Arc<ShardReader>),
    /// Without labels: 0 stands for each.
    Files(Arc<ImageFiles>),
}

impl From<Arc<ShardReader>> for Images {
    fn from(reader: Arc<ShardReader>) -> Self {
        Self::Shards(reader)
    }
}

impl From<Arc<ImageFiles>> for Images {
    fn from(files: Arc<ImageFiles>) -> Self {
        Self::Files(files)
    }
}

impl Images {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Shards(reader) => reader.len(),
            Self::Files(files) => files.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The label of the image at `row`.
    pub fn label(&self, row: usize) -> i64 {
        match self {
            Self::Shards(reader) => i64::from(reader.row(row).label),
            Self::Files(_) => 0,
        }
    }

    /// The name of the image at `row`, as the user knows it.
    pub fn name(&self, row: usize) -> &str {
        match self {
            Self::Shards(reader) => reader.path(row),
            Self::Files(files) => &files.image(row).name,
        }
    }

    /// Bytes of the shards; files are not looked at.
    pub(crate) fn num_bytes(&self) -> u64 {
        match self {
            Self::Shards(reader) => reader.num_bytes(),
            Self::Files(_) => 0,
        }
    }

    /// Tells the system that the image at `row` will be loaded soon.
    pub(crate) fn will_need(&self, row: usize) {
        if let Self::Shards(reader) = self {
            reader.will_need(row);
        }
    }
}
