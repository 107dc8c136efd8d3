//! Class names -> rows: encode, project into the joint space, carry back through the image projection.
//!
//! `w = normalize(normalize(t P_text) P_image^T)`, one row a class: the transpose of the image projection brings the
//! text embedding into the space of the class-token feature (semantic-aware initialisation, arXiv 2309.10019). Several
//! texts of a class are ensembled: each normalised, their mean normalised. Memory holds [`TOGETHER`] texts and one vector
//! a class, however many texts there are.

use std::path::Path;

use lift_files::memory::total_bytes;
use lift_models::{
    Clip, Footprint, Head, TextConfig, Tokenizer, hub, is_finite,
    memory::{MemorySize, there},
    normalize,
    out_of_memory::halving,
};
use lift_page::{progress::Reporting, terminal};
use lift_shards::classes::ClassNames;
use tch::{Device, Kind, Tensor};

use crate::{
    findings::{Findings, shown},
    prompts::Prompts,
};

/// Texts that are sorted by length together: a batch is as wide as its longest text.
const TOGETHER: usize = 1024;

/// How the rows are made.
#[derive(Clone, Debug)]
pub struct ClassifierOptions {
    /// The texts of each class.
    pub prompts: Prompts,
    /// Texts a forward pass, at most.
    pub batch_size: usize,
    /// How much memory passes may take; none: what there is.
    pub max_memory: Option<MemorySize>,
    /// Whether classes that cannot be told apart are gone on with.
    pub allow_identical: bool,
    /// Where the text tower runs.
    pub device: Device,
}

/// Why there is no classifier.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model or its tokenizer cannot be used, or memory does not suffice.
    #[error(transparent)]
    Clip(#[from] lift_models::Error),
    /// Texts that cannot classify.
    #[error("{0}")]
    Texts(String),
    /// The limit of memory is too low.
    #[error("{0}")]
    Memory(String),
}

/// Makes the classifier of `classes` with the model in `model`. What is found of the texts is printed on standard error.
///
/// # Errors
/// When the model or its tokenizer cannot be loaded, the two do not belong together, memory does not suffice, or classes
/// cannot be told apart and that is not allowed.
pub fn build_head(
    model: &Path,
    classes: &ClassNames,
    options: &ClassifierOptions,
) -> Result<Head, Error> {
    let mut clip = Clip::load(model)?;
    let tokenizer = Tokenizer::of_model(model)?;
    let context_length = clip.config.text.context_length as usize;
    let findings = Findings::of(classes, &options.prompts, &tokenizer, context_length)?;
    let table = findings.table();
    if !table.is_empty() {
        terminal::say(table.trim_end());
    }
    require_texts(&findings, classes, options)?;
    clip.text.fold();
    clip.text.convert(options.device, Kind::Float);
    let proj = clip.image_projection().to_device(options.device);
    let image_tower = clip.visual.named_tensors();
    let others = image_tower.iter().map(|(_, t)| t.numel() as u64).sum();
    let footprint = Footprint::of_texts(&clip.text, others);
    let one = "encoding one text at once";
    let mut at_once = footprint
        .fitting(options.batch_size.max(1), options.max_memory, one)
        .map_err(Error::Memory)?;
    let classes_and_texts = classes.as_slice().iter().enumerate();
    let mut texts = classes_and_texts.flat_map(|(label, name)| {
        let texts = options.prompts.texts(label, name);
        texts.into_iter().map(move |text| (label as i64, text))
    });
    let mut sums = Tensor::zeros(
        [classes.len() as i64, clip.config.embed_dim],
        (Kind::Float, options.device),
    );
    let total = options.prompts.count(classes.len()) as u64;
    let progress = Reporting::Stderr.start_of("encode", "texts", total);
    loop {
        let (labels, some): (Vec<i64>, Vec<String>) = texts.by_ref().take(TOGETHER).unzip();
        if some.is_empty() {
            break;
        }
        let ids = token_ids(&tokenizer, &some, &clip.config.text)?;
        let mut by_length: Vec<i64> = (0..ids.len() as i64).collect();
        by_length.sort_by_key(|&text| ids[text as usize].len());
        let mut embeds = Vec::new();
        let mut rest = &by_length[..];
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(at_once.min(rest.len()));
            let ids: Vec<&[i64]> = batch.iter().map(|&text| &ids[text as usize][..]).collect();
            let ids = padded(&ids);
            let found = halving(&mut at_once, "texts", |at_once| {
                let parts = ids.split(at_once as i64, 0);
                let embed = |ids| clip.text.embed(&clip.text.features(ids));
                Tensor::cat(&parts.iter().map(embed).collect::<Vec<_>>(), 0)
            });
            embeds.push(found.map_err(|refused| {
                let hint = "a smaller --model takes less";
                let there = there(options.device, options.max_memory, total_bytes());
                refused.error(options.device, there, one, hint)
            })?);
            progress.advance(batch.len() as u64);
            rest = others;
        }
        // Summed in their own order, whatever batches they were in.
        let place = Tensor::from_slice(&by_length)
            .argsort(0, false)
            .to_device(options.device);
        let embeds = Tensor::cat(&embeds, 0).index_select(0, &place);
        let labels = Tensor::from_slice(&labels).to_device(options.device);
        let _ = sums.index_add_(0, &labels, &normalize(&embeds));
    }
    progress.finish();
    let text_embeds = normalize(&sums);
    let weight = normalize(&text_embeds.matmul(&proj.tr()));
    let head = Head {
        weight: weight.to_device(Device::Cpu),
        text_embeds: Some(text_embeds.to_device(Device::Cpu)),
        class_names: classes.as_slice().to_vec(),
        class_hash: classes.hash(),
        template: options.prompts.summary(),
        model: hub::short_name(model),
        logit_scale: clip.logit_scale.exp().double_value(&[]),
    };
    require_rows(&head, options)?;
    Ok(head)
}

/// Refuses texts that cannot classify, which the table has named.
fn require_texts(
    findings: &Findings,
    classes: &ClassNames,
    options: &ClassifierOptions,
) -> Result<(), Error> {
    let name = |label: usize| shown(&classes.as_slice()[label]);
    if let Some(label) = findings.blank() {
        return Err(Error::Texts(format!(
            "class {label} ({}) has a text without a word that the tokenizer knows\nhint: give it a name, or texts of its own with --descriptors",
            name(label)
        )));
    }
    match findings.alike() {
        Some([first, second, ..]) if !options.allow_identical => Err(Error::Texts(format!(
            "classes {first} ({}) and {second} ({}) have the same texts, so that nothing can tell them apart\n\
             hint: give them names or --descriptors of their own, join them, or go on with --allow-identical",
            name(*first),
            name(*second)
        ))),
        _ => Ok(()),
    }
}

/// Refuses rows that cannot classify, whatever their texts.
fn require_rows(head: &Head, options: &ClassifierOptions) -> Result<(), Error> {
    let name = |label: usize| shown(&head.class_names[label]);
    let broken = (0..head.class_names.len()).find(|&label| {
        let row = |rows: &Tensor| is_finite(&rows.get(label as i64));
        !row(&head.weight) || !head.text_embeds.as_ref().is_none_or(row)
    });
    if let Some(label) = broken {
        return Err(Error::Texts(format!(
            "the row of class {label} ({}) is not finite, though the model's tensors are\nhint: its numbers grow too large for fp32; use another model",
            name(label)
        )));
    }
    if !head.logit_scale.is_finite() {
        return Err(Error::Texts(
            "the model's factor on cosines, exp(logit_scale), is not finite\nhint: use another model".into(),
        ));
    }
    match head.identical().first().map(Vec::as_slice) {
        Some([first, second, ..]) if !options.allow_identical => Err(Error::Texts(format!(
            "classes {first} ({}) and {second} ({}) have the same row, though their texts differ\n\
             hint: the model says the same of both; give them --descriptors of their own, join them, or go on with --allow-identical",
            name(*first),
            name(*second)
        ))),
        _ => Ok(()),
    }
}

/// Ids of each text.
///
/// # Errors
/// When the tokenizer gives ids that are not the model's.
fn token_ids(
    tokenizer: &Tokenizer,
    texts: &[String],
    config: &TextConfig,
) -> Result<Vec<Vec<i64>>, lift_models::Error> {
    let encode = |text: &String| {
        let ids = tokenizer.encode(text, config.context_length as usize)?;
        config
            .check_ids(&ids)
            .map_err(|reason| lift_models::Error::Tokenizer {
            path: tokenizer.path().into(),
            reason: format!(
                "{text:?}: {reason}\nhint: tokenizer.json and config.json must be the same model's"
            ),
        })?;
        Ok(ids)
    };
    texts.iter().map(encode).collect()
}

/// Ids (b, n), n the longest text of the batch; shorter ones are filled with zeros after their end token.
fn padded(rows: &[&[i64]]) -> Tensor {
    let longest = rows.iter().map(|ids| ids.len()).max().unwrap_or(1);
    let mut flat = vec![0i64; rows.len() * longest];
    for (row, ids) in flat.chunks_mut(longest).zip(rows) {
        row[..ids.len()].copy_from_slice(ids);
    }
    Tensor::from_slice(&flat).view([rows.len() as i64, longest as i64])
}
