//! Reading ahead for images that lie in Parquet files and are asked for in another order than theirs.
//!
//! A shuffled build names the rows of its next images, some at a time, so that each row group is read once
//! for all of them and not once for each. Invariant: what is read ahead changes how long a build takes, and
//! neither what is built nor what goes wrong.

use std::sync::{Arc, Mutex, PoisonError};

use crate::source::{Content, Item, RowStore};

/// The images of a run of jobs, read before the first of them is done.
pub(super) struct ReadAhead<F> {
    /// The image of a job; none behind the last.
    item_of: F,
    /// Jobs whose images are read at once; 0: none are.
    jobs: usize,
    /// How many such runs have been read.
    read: Mutex<usize>,
}

impl<'a, F: Fn(usize) -> Option<&'a Item>> ReadAhead<F> {
    /// Reads nothing yet.
    pub(super) fn new(item_of: F) -> Self {
        let jobs = match item_of(0).map(|item| &item.content) {
            Some(Content::Row { store, .. }) => store.rows_per_fetch(),
            _ => 0,
        };
        Self {
            item_of,
            jobs,
            read: Mutex::new(0),
        }
    }

    /// Sees to it that the image of `job` is at hand.
    pub(super) fn reach(&self, job: usize) {
        if self.jobs == 0 {
            return;
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        while *read <= job / self.jobs {
            let jobs = *read * self.jobs..(*read + 1) * self.jobs;
            fetch(jobs.map_while(&self.item_of));
            *read += 1;
        }
    }
}

/// Reads those of the images that lie in Parquet files, for who asks for them next.
pub(super) fn fetch<'a>(items: impl Iterator<Item = &'a Item>) {
    /// A store and the rows wanted of it, each by its file and number.
    type Wanted<'a> = (&'a Arc<RowStore>, Vec<(u32, u64)>);
    let mut stores: Vec<Wanted<'a>> = Vec::new();
    for item in items {
        let Content::Row { store, file, row } = &item.content else {
            continue;
        };
        match stores
            .iter_mut()
            .find(|(known, _)| Arc::ptr_eq(known, store))
        {
            Some((_, rows)) => rows.push((*file, *row)),
            None => stores.push((store, vec![(*file, *row)])),
        }
    }
    for (store, rows) in stores {
        store.fetch(rows);
    }
}
