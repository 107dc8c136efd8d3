//! Learned words of the prompt (CoOp, Zhou et al. 2022, arXiv 2109.01134): one context for all classes.
//!
//! A prompt is start, context and class name in the chosen order, full stop, end; a context that starts from a phrase has learned
//! its full stop as well, as the authors' has. Its texts are a function of the context and are computed anew for every step. What
//! all prompts begin with, usually start and context, is computed once, since attention is causal. Where the graph of all texts
//! fits, it is kept until the loss has been passed back to them; else they are computed without it, and once more with it, a
//! chunk of classes at a time, so that memory does not grow with the number of classes.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use lift_files::memory::total_bytes;
use lift_models::{
    TextTower, Tokenizer,
    memory::there,
    out_of_memory::{Refused, caught, halving},
};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{
    error::{Error, Result},
    tuner::Init,
};

/// Texts that are encoded at once, at most.
const CHUNK: usize = 128;

/// The share of all memory that the kept graph of the texts may take.
const GRAPH_SHARE: u64 = 4;

/// What backward keeps of a token in a block, and what the block has beside it, in multiples of the width: the frozen
/// linears of the text tower are folded, as [`crate::footprint`] counts them.
const KEPT: u64 = 11;
const BESIDE_KEPT: u64 = 10;

/// Where the learned words stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ContextPosition {
    /// Before the name, which ends the prompt.
    #[default]
    End,
    /// One half before the name, the other half after it.
    Middle,
    /// After the name, which begins the prompt.
    Front,
}

/// The learned words, and what makes texts of them.
#[derive(Debug)]
pub struct Context {
    /// (words, d), fp32.
    vectors: Tensor,
    encoder: Option<Encoder>,
    /// The texts (K, e) of this step with their graph.
    kept: RefCell<Option<Tensor>>,
}

impl Context {
    /// Words without what encodes them: enough where the texts are kept.
    pub fn of_vectors(vectors: Tensor) -> Self {
        Self {
            vectors,
            encoder: None,
            kept: RefCell::new(None),
        }
    }

    /// Random words: normal, deviation 0.02.
    pub fn random(words: i64, tower: &TextTower, seed: u64) -> Self {
        let shape = [words, tower.config().width];
        Self::of_vectors(Init::new(seed).normal_values(&shape) * 0.02)
    }

    /// The words of a phrase, such as "a photo of a", and the full stop that ends its prompts.
    ///
    /// # Errors
    /// When the tokenizer refuses it, or it has no word.
    pub fn of_phrase(phrase: &str, tower: &TextTower, tokenizer: &Tokenizer) -> Result<Self> {
        let mut ids = words(phrase.trim_end_matches(['.', ' ']), tower, tokenizer)?;
        if ids.is_empty() {
            return Err(Error::Usage(format!(
                "--coop-init {phrase:?} has no word in it"
            )));
        }
        ids.extend(words(".", tower, tokenizer)?);
        let ids = Tensor::from_slice(&ids).to_device(tower.token_embedding.device());
        let vectors = tower.token_embedding.index_select(0, &ids);
        Ok(Self::of_vectors(vectors.to_kind(Kind::Float)))
    }

    /// How many there are.
    pub fn words(&self) -> usize {
        self.vectors.size()[0] as usize
    }

    /// The learned tensor (words, d).
    pub fn vectors(&self) -> &Tensor {
        &self.vectors
    }

    pub(super) fn vectors_mut(&mut self) -> &mut Tensor {
        &mut self.vectors
    }

    /// Gives the words what encodes them.
    pub fn encode_with(&mut self, encoder: Encoder) {
        self.encoder = Some(encoder);
    }

    /// The class texts (K, e), not normalised, as a leaf that requires a gradient; none where nothing encodes them. Their graph
    /// is kept for [`Context::backward`] where it fits.
    ///
    /// # Errors
    /// When memory does not suffice for one text at once.
    pub fn texts(&self) -> std::result::Result<Option<Tensor>, Refused> {
        let Some(encoder) = &self.encoder else {
            return Ok(None);
        };
        self.let_go();
        if encoder.keeps_graph() {
            let all = (0, encoder.classes() as i64);
            if let Ok(texts) = caught(|| encoder.embeds(&self.vectors, all)) {
                let leaf = texts.detach().set_requires_grad(true);
                self.kept.replace(Some(texts));
                return Ok(Some(leaf));
            }
            // It fits less than was thought.
            encoder.graph_bytes.set(0);
        }
        let mut at_once = encoder.at_once.get();
        let texts = halving(&mut at_once, "texts", |at_once| {
            let chunks = encoder.chunks(at_once);
            let chunks: Vec<Tensor> = chunks.map(|at| encoder.embeds(&self.vectors, at)).collect();
            Tensor::cat(&chunks, 0)
        })?;
        encoder.at_once.set(at_once);
        Ok(Some(texts.set_requires_grad(true)))
    }

    /// Lets go of a kept graph.
    pub(super) fn let_go(&self) {
        drop(self.kept.take());
    }

    /// Bytes that the texts take: their tower, and those that are encoded at once with what backward keeps of them.
    pub fn bytes(&self) -> u64 {
        let encoder = self.encoder.as_ref();
        encoder.map_or(0, |encoder| {
            let texts = match encoder.keeps_graph() {
                true => encoder.classes(),
                false => encoder.at_once.get() as u64,
            };
            encoder.tower_bytes() + texts * encoder.text_bytes()
        })
    }

    /// Lets as many texts be encoded at once as fit into so many bytes, at least one; and their graph be kept if it does.
    pub fn keep_to(&self, bytes: u64) {
        if let Some(encoder) = &self.encoder {
            encoder.graph_bytes.set(bytes);
            let most = (bytes / encoder.text_bytes()).max(1) as usize;
            encoder.at_once.set(encoder.at_once.get().min(most));
        }
    }

    /// Passes the gradient of the texts (K, e) back to the words.
    pub fn backward(&self, gradient: &Tensor) {
        let Some(encoder) = &self.encoder else { return };
        if let Some(texts) = self.kept.take() {
            (texts * gradient).sum(Kind::Float).backward();
            return;
        }
        for (start, length) in encoder.chunks(encoder.at_once.get()) {
            let embeds = encoder.embeds(&self.vectors, (start, length));
            (embeds * gradient.narrow(0, start, length))
                .sum(Kind::Float)
                .backward();
        }
    }
}

/// The frozen text tower, and where in each prompt stands what.
#[derive(Debug)]
pub struct Encoder {
    /// Its token embedding has the tokens that occur, and no others.
    tower: TextTower,
    /// Rows of that embedding, the learned words behind it, that all prompts begin with (p).
    before: Tensor,
    /// The same of what each has behind them (K, n).
    pieces: Tensor,
    /// Place of each prompt's end token among those (K).
    ends: Tensor,
    /// Texts at once; it falls where memory does not suffice.
    at_once: Cell<usize>,
    /// Bytes that the kept graph may take.
    graph_bytes: Cell<u64>,
}

impl Encoder {
    /// Prompts of these classes with `length` learned words, the last of which is the full stop where that is learned too.
    ///
    /// # Errors
    /// When a name is too long for the tower, or the tokenizer is another model's.
    pub fn new(
        mut tower: TextTower,
        tokenizer: &Tokenizer,
        names: &[String],
        (length, has_stop): (usize, bool),
        position: ContextPosition,
        (device, kind): (Device, Kind),
    ) -> Result<Self> {
        let most = tower.config().context_length as usize;
        let full_stop = ids(".", &tower, tokenizer)?;
        let (start, stop, end) = between(&full_stop)?;
        // The learned words are known before the table's length is: counted from -1 downwards.
        let learned: Vec<i64> = (1..=length as i64).map(|i| -i).collect();
        let (learned, stop) = match has_stop {
            true => learned.split_at(length - 1),
            false => (&learned[..], stop),
        };
        let (before, after) = match position {
            ContextPosition::End => (learned, &[][..]),
            ContextPosition::Middle => learned.split_at(learned.len() / 2),
            ContextPosition::Front => (&[][..], learned),
        };
        let mut rows = Vec::new();
        for name in names {
            let name_ids = words(&name.replace('_', " "), &tower, tokenizer)?;
            let row = [&[start][..], before, &name_ids, after, stop, &[end]].concat();
            if row.len() > most {
                return Err(Error::Config(format!(
                    "class {name:?}: its prompt has {} tokens with {length} learned words, the text tower reads {most}\nhint: fewer learned words (--tuner coop:N), or a shorter name",
                    row.len()
                )));
            }
            rows.push(row);
        }
        // What all begin with, the end token left out.
        let first = rows.first().map_or(&[][..], Vec::as_slice);
        let alike = |at: &usize| {
            rows.iter()
                .all(|row| *at + 1 < row.len() && row[*at] == first[*at])
        };
        let before = (0..first.len()).take_while(alike).count();
        let widest = rows.iter().map(Vec::len).max().unwrap_or(before + 1) - before;
        let ends: Vec<i64> = rows
            .iter()
            .map(|row| (row.len() - before) as i64 - 1)
            .collect();
        let tokens: Vec<i64> = rows.iter().flatten().copied().filter(|&t| t >= 0).collect();
        let mut place: BTreeMap<i64, i64> = tokens.iter().map(|&token| (token, 0)).collect();
        place.values_mut().zip(0..).for_each(|(at, row)| *at = row);
        let table_rows = place.len() as i64;
        let piece = |token: &i64| match place.get(token) {
            Some(&row) => row,
            None => table_rows - token - 1,
        };
        let mut pieces = Vec::with_capacity(rows.len() * widest);
        for row in &rows {
            let own = &row[before..];
            pieces.extend(own.iter().map(piece));
            // What follows the end is never looked at.
            pieces.resize(pieces.len() + widest - own.len(), 0);
        }
        let before: Vec<i64> = first[..before].iter().map(piece).collect();
        let used: Vec<i64> = place.keys().copied().collect();
        tower.fold();
        tower.convert(device, kind);
        let used = Tensor::from_slice(&used).to_device(device);
        // The others of a large vocabulary are let go.
        tower.token_embedding = tower.token_embedding.index_select(0, &used);
        let memory = there(device, None, total_bytes());
        let graph_bytes = memory.map_or(0, |memory| memory.bytes / GRAPH_SHARE);
        Ok(Self {
            before: Tensor::from_slice(&before).to_device(device),
            pieces: Tensor::from_slice(&pieces)
                .view([names.len() as i64, widest as i64])
                .to_device(device),
            ends: Tensor::from_slice(&ends).to_device(device),
            at_once: Cell::new(CHUNK),
            graph_bytes: Cell::new(graph_bytes),
            tower,
        })
    }

    fn classes(&self) -> u64 {
        self.pieces.size()[0] as u64
    }

    /// Whether the graph of all texts fits.
    fn keeps_graph(&self) -> bool {
        self.classes() * self.text_bytes() <= self.graph_bytes.get()
    }

    /// First class and number of classes of each chunk.
    fn chunks(&self, at_once: usize) -> impl Iterator<Item = (i64, i64)> {
        let classes = self.pieces.size()[0];
        (0..classes)
            .step_by(at_once)
            .map(move |start| (start, (at_once as i64).min(classes - start)))
    }

    fn tower_bytes(&self) -> u64 {
        let tensors = self.tower.named_tensors();
        let bytes = |t: &Tensor| (t.numel() * t.kind().elt_size_in_bytes()) as u64;
        tensors.iter().map(|(_, t)| bytes(t)).sum()
    }

    fn text_bytes(&self) -> u64 {
        let config = self.tower.config();
        let of_kind = self.tower.token_embedding.kind().elt_size_in_bytes() as u64;
        let tokens = self.pieces.size()[1] as u64 * config.width as u64 * of_kind;
        tokens * (KEPT * config.layers as u64 + BESIDE_KEPT)
    }

    /// Texts of a chunk (k, e).
    fn embeds(&self, vectors: &Tensor, (start, length): (i64, i64)) -> Tensor {
        let known = &self.tower.token_embedding;
        let table = Tensor::cat(&[known, &vectors.to_kind(known.kind())], 0);
        let of = |pieces: &Tensor| Tensor::embedding(&table, pieces, -1, false, false);
        let tokens = of(&self.pieces.narrow(0, start, length));
        let ends = self.ends.narrow(0, start, length);
        let features = self
            .tower
            .features_behind(&of(&self.before), &tokens, &ends);
        self.tower.embed(&features)
    }
}

/// Ids of a text with start and end.
pub(super) fn ids(text: &str, tower: &TextTower, tokenizer: &Tokenizer) -> Result<Vec<i64>> {
    let ids = tokenizer.encode(text, usize::MAX)?;
    tower.config().check_ids(&ids).map_err(|reason| {
        let path = tokenizer.path().display();
        Error::Config(format!(
            "{path}: {text:?}: {reason}\nhint: tokenizer.json and config.json must be the same model's"
        ))
    })?;
    Ok(ids)
}

/// Start, words and end of a text's ids.
fn between(ids: &[i64]) -> Result<(i64, &[i64], i64)> {
    match ids {
        [start, words @ .., end] => Ok((*start, words, *end)),
        _ => Err(Error::Config(
            "the tokenizer gives no start and end\nhint: tokenizer.json must be a CLIP's".into(),
        )),
    }
}

/// Ids of a text without start and end.
fn words(text: &str, tower: &TextTower, tokenizer: &Tokenizer) -> Result<Vec<i64>> {
    Ok(between(&ids(text, tower, tokenizer)?)?.1.to_vec())
}
