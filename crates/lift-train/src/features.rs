//! Features of images that no step changes, computed once before the first one: those of a tower that is not tuned, of training images
//! where it looks at each in one way, and of those of `val`. Steps and validations cost what is behind the tower then.
//!
//! They lie in a file of the run's folder that has no name, so that none is left behind, however the run ends; a run that goes on
//! computes them again. Invariant: a row's features are computed in batches of the rows' order, whatever the epochs' order
//! is and wherever the run began, so that they are the same to the last bit.

use std::{
    fs::File,
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use lift_loader::{Draw, Draws, View};
use lift_page::progress::Reporting;
use lift_shards::ShardReader;
use tch::{Device, Kind, Tensor};

use crate::{
    error::{Error, Result},
    footprint::of_passes,
    model::TunedModel,
    passes::{Passes, Passing, require_finite},
    transfer::{Input, Transfer},
};

/// The features of all images of a split, on disk.
pub struct Features {
    file: File,
    labels: Vec<i64>,
    width: i64,
    device: Device,
}

impl Features {
    /// Passes all images through the tower.
    ///
    /// # Errors
    /// When an image cannot be loaded, a feature is not finite, memory does not suffice, or the file cannot be written.
    pub fn compute(
        images: &Arc<ShardReader>,
        model: &TunedModel,
        transfer: &Transfer,
        passing: Passing,
        folder: &Path,
    ) -> Result<Self> {
        let (tower, tuner) = (&model.visual, &model.tuner);
        let width = tower.config().width;
        let passes = Passes::open(
            Arc::clone(images),
            tower,
            transfer,
            (View::Center, "features"),
            of_passes(tower, model.parameter_counts().tuned(), width as u64),
            passing,
        )?;
        let file = tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
        let mut out = BufWriter::new(file);
        let progress = Reporting::Stderr.start("features", images.len() as u64);
        let mut labels: Vec<i64> = Vec::with_capacity(images.len());
        let mut bytes = Vec::new();
        let forward = |patches: &Tensor| tower.features(patches, tuner);
        passes.each(
            Draws::in_order(images.len()),
            forward,
            |features, _, of_batch| {
                let features = features.to_device(Device::Cpu).contiguous();
                let begin = labels.len();
                require_finite(&features, "features", images, |place| begin + place)?;
                bytes.resize(features.numel() * 4, 0);
                features
                    .f_copy_data_u8(&mut bytes, features.numel())
                    .map_err(lift_models::Error::from)?;
                out.write_all(&bytes).map_err(Error::io(folder))?;
                labels.extend(of_batch);
                progress.advance(of_batch.len() as u64);
                Ok(())
            },
        )?;
        progress.finish();
        let file = out
            .into_inner()
            .map_err(|e| Error::io(folder)(e.into_error()))?;
        Ok(Self {
            file,
            labels,
            width,
            device: tower.device(),
        })
    }

    /// The batches of these draws.
    pub fn feed(&self, draws: Draws, batch_size: usize) -> KeptFeed<'_> {
        KeptFeed {
            features: self,
            draws,
            batch_size,
            number: 0,
        }
    }

    /// Features (b, d) and labels (b) of some rows.
    fn of(&self, draws: &[Draw]) -> Result<Input> {
        let a_row = self.width as usize * 4;
        let mut bytes = vec![0; draws.len() * a_row];
        for (row, draw) in bytes.chunks_exact_mut(a_row).zip(draws) {
            let place = (draw.row * a_row) as u64;
            self.file
                .read_exact_at(row, place)
                .map_err(Error::io("the kept features"))?;
        }
        let shape = [draws.len() as i64, self.width];
        let features = Tensor::f_from_data_size(&bytes, &shape, Kind::Float);
        let features = features.map_err(lift_models::Error::from)?;
        let host_labels: Vec<i64> = draws.iter().map(|draw| self.labels[draw.row]).collect();
        Ok(Input {
            pixels: features.to_device(self.device),
            labels: Tensor::from_slice(&host_labels).to_device(self.device),
            host_labels,
        })
    }
}

/// Batches of kept features.
pub struct KeptFeed<'a> {
    features: &'a Features,
    draws: Draws,
    batch_size: usize,
    number: usize,
}

impl Iterator for KeptFeed<'_> {
    type Item = Result<Input>;

    fn next(&mut self) -> Option<Result<Input>> {
        let draws: Vec<Draw> = self.draws.batch(self.number, self.batch_size).collect();
        self.number += 1;
        (!draws.is_empty()).then(|| self.features.of(&draws))
    }
}
