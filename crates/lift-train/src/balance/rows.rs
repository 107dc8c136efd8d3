//! Logits of a split, a batch at a time: of a tuned model alone, or with those of the model before tuning added.
//!
//! The sum is that of Generalised Logit Adjustment (Zhu et al. 2023, arXiv 2310.08106, section 4): `z + z_0 - log q`, z_0
//! being the zero-shot logits and q the label prior that CLIP has from its pre-training. q is not known; here it is what
//! makes the mean of `softmax(z_0 - log q)` the shares that classes shall have, each class weighing alike, which is where the
//! cross entropy of balanced images is smallest in q. Invariant: both files are of the same images in the same order.

use tch::{Kind, Tensor};

use crate::{
    error::{Error, Result},
    logits::{Batch, LogitsFile},
};

/// Rounds of fitting q; each reads the file once.
const MOST_ROUNDS: usize = 200;

/// The fit ends where no log q moves by more.
const CLOSE: f64 = 1e-4;

/// Where logits come from.
#[derive(Debug)]
pub struct Rows {
    own: LogitsFile,
    text: Option<Text>,
}

/// The zero-shot logits of the same images, without the prior in them.
#[derive(Debug)]
struct Text {
    file: LogitsFile,
    /// Minus log q (K).
    bias: Vec<f64>,
}

impl Rows {
    /// The logits of one file.
    pub fn new(own: LogitsFile) -> Self {
        Self { own, text: None }
    }

    /// With zero-shot logits of the same images added, the prior in them removed; an image weighs what its class in
    /// `weights` does.
    ///
    /// # Errors
    /// When they are of other images, classes or crops, or cannot be read.
    pub fn with_text(self, file: LogitsFile, weights: &[f64]) -> Result<Self> {
        let (ours, theirs) = (self.own.about(), file.about());
        let differing = [
            ("classes", ours.class_hash == theirs.class_hash),
            ("shards", ours.shards == theirs.shards),
            ("ensembling", ours.tte == theirs.tte),
            (
                "crops",
                (ours.crops, ours.expand) == (theirs.crops, theirs.expand),
            ),
        ];
        let differing = differing.iter().find(|(_, same)| !same);
        let hint = format!(
            "hint: `lift-train zero-shot --shards DIR --split {} --logits FILE.parquet`, with the ensembling of the run's logits",
            ours.split
        );
        let bad = |reason: String| Error::BadRun {
            path: file.path().into(),
            reason: format!("{reason}\n{hint}"),
        };
        if let Some((what, _)) = differing {
            let of = self.own.path().display();
            return Err(bad(format!("not of the same {what} as {of}")));
        }
        if let Some(tuned) = &theirs.tuned {
            return Err(bad(format!(
                "these are logits of a tuned model, {} (hash {tuned}), not zero-shot",
                theirs.run
            )));
        }
        let bias = without_prior(&file, weights)?;
        Ok(Self {
            text: Some(Text { file, bias }),
            ..self
        })
    }

    /// What is added with zero-shot logits, so that CLIP's label prior is not in them (K); none without them.
    pub fn text_bias(&self) -> Option<&[f64]> {
        self.text.as_ref().map(|text| text.bias.as_slice())
    }

    /// The run's own logits.
    pub fn own(&self) -> &LogitsFile {
        &self.own
    }

    /// All images, from the first on.
    ///
    /// # Errors
    /// When a file cannot be read, or the two are not of the same images.
    pub fn batches(&self) -> Result<impl Iterator<Item = Result<Batch>> + '_> {
        let text = self.text.as_ref();
        let mut others = text.map(|text| text.file.batches()).transpose()?;
        let bias = text.map(|text| Tensor::from_slice(&text.bias).to_kind(Kind::Float));
        Ok(self.own.batches()?.map(move |batch| {
            let mut batch = batch?;
            if let (Some(others), Some(bias), Some(text)) = (&mut others, &bias, text) {
                let other = others.next().transpose()?;
                let other = other.filter(|other| other.ids == batch.ids);
                let other = other.ok_or_else(|| Error::BadRun {
                    path: text.file.path().into(),
                    reason: format!(
                        "not of the images of {}, or in another order",
                        self.own.path().display()
                    ),
                })?;
                batch.logits = batch.logits + other.logits + bias;
            }
            Ok(batch)
        }))
    }
}

/// The number for each class that, added to these logits, makes classes come alike.
fn without_prior(file: &LogitsFile, weights: &[f64]) -> Result<Vec<f64>> {
    let classes = weights.len();
    // What a class shall have: as much as its images weigh.
    let mut wanted = vec![0.0; classes];
    for &label in &file.labels()? {
        wanted[label as usize] += weights[label as usize];
    }
    let of_class = Tensor::from_slice(weights);
    let mut bias = vec![0.0; classes];
    for _ in 0..MOST_ROUNDS {
        let added = Tensor::from_slice(&bias);
        let mut sums = Tensor::zeros([classes as i64], tch::kind::DOUBLE_CPU);
        for batch in file.batches()? {
            let batch = batch?;
            let shares = (batch.logits.to_kind(Kind::Double) + &added).softmax(1, Kind::Double);
            let weight = of_class.index_select(0, &Tensor::from_slice(&batch.labels));
            sums += (shares * weight.unsqueeze(1)).sum_dim_intlist(
                [0i64].as_slice(),
                false,
                Kind::Double,
            );
        }
        let found = Vec::<f64>::try_from(&sums).map_err(lift_models::Error::from)?;
        let mut moved: f64 = 0.0;
        for ((bias, wanted), found) in bias.iter_mut().zip(&wanted).zip(found) {
            // A class without images here says nothing of its prior.
            if *wanted > 0.0 && found > 0.0 {
                let step = (wanted / found).ln();
                moved = moved.max(step.abs());
                *bias += step;
            }
        }
        if moved < CLOSE {
            break;
        }
    }
    Ok(bias)
}
