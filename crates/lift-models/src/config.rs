//! Sizes of the two towers: from Hugging Face's `config.json`, or from the tensors' shapes.
//!
//! Shapes do not tell the number of heads and the activation. `config.json` says both; so does `open_clip_config.json`.
//! A bare file is taken for one of OpenAI's: heads of 64 and QuickGELU.
//! Invariant: what is read from a file is bounded, so that sizes can be multiplied without overflow.

mod hugging_face;
mod openai;
#[cfg(test)]
mod published;

pub(crate) use openai::OpenClipConfig;

/// The MLP's activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`, OpenAI's CLIP.
    QuickGelu,
    /// Exact GELU, open_clip's LAION models and timm.
    Gelu,
}

/// Sizes of the image tower.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Side of the square input in pixels.
    pub resolution: i64,
    /// Side of a patch in pixels.
    pub patch_size: i64,
    /// Width of the class token.
    pub width: i64,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads a block.
    pub heads: i64,
    /// Hidden width of the MLP.
    pub mlp_width: i64,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f64,
    /// The MLP's activation.
    pub activation: Activation,
}

impl VisionConfig {
    /// Patches and the class token: `(resolution / patch_size)^2 + 1`.
    pub fn tokens(&self) -> i64 {
        (self.resolution / self.patch_size).pow(2) + 1
    }
}

/// Sizes of the text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Longest text in tokens, start and end included.
    pub context_length: i64,
    /// Rows of the token embedding.
    pub vocab_size: i64,
    /// Width of a token.
    pub width: i64,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads a block.
    pub heads: i64,
    /// Hidden width of the MLP.
    pub mlp_width: i64,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f64,
    /// The MLP's activation.
    pub activation: Activation,
    /// Id of the end-of-text token, whose feature stands for the text.
    pub end_of_text: i64,
}

impl TextConfig {
    /// Whether the tower can read these ids: each has an embedding, and the end-of-text token is there.
    ///
    /// # Errors
    /// Says which id, or that the token is missing.
    pub fn check_ids(&self, ids: &[i64]) -> std::result::Result<(), String> {
        if let Some(id) = ids.iter().find(|id| !(0..self.vocab_size).contains(id)) {
            return Err(format!(
                "token id {id}, but config.json says that the vocabulary has {} tokens",
                self.vocab_size
            ));
        }
        if !ids.contains(&self.end_of_text) {
            return Err(format!(
                "no token id {}, which config.json says is the end of text",
                self.end_of_text
            ));
        }
        Ok(())
    }
}

/// Sizes of a whole CLIP.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipConfig {
    /// The image tower.
    pub vision: VisionConfig,
    /// The text tower.
    pub text: TextConfig,
    /// Width of the joint space.
    pub embed_dim: i64,
}

impl ClipConfig {
    /// What every configuration keeps to, or which field does not.
    fn check(&self) -> std::result::Result<(), String> {
        self.vision.check()?;
        let t = &self.text;
        check_sizes(&[
            ("the context length", t.context_length),
            ("the vocabulary size", t.vocab_size),
            ("the text tower's width", t.width),
            ("the text tower's number of heads", t.heads),
            ("the text tower's MLP width", t.mlp_width),
            ("the joint space's width", self.embed_dim),
        ])?;
        check_tower("text", t.layers, t.layer_norm_eps)?;
        if !(0..t.vocab_size).contains(&t.end_of_text) {
            return Err(format!(
                "the end-of-text token is {}, but the vocabulary has {} tokens",
                t.end_of_text, t.vocab_size
            ));
        }
        Ok(())
    }
}

impl VisionConfig {
    /// What every image tower keeps to, or which field does not.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        check_sizes(&[
            ("the image size", self.resolution),
            ("the patch size", self.patch_size),
            ("the image tower's width", self.width),
            ("the image tower's number of heads", self.heads),
            ("the image tower's MLP width", self.mlp_width),
        ])?;
        check_tower("image", self.layers, self.layer_norm_eps)
    }
}

fn check_sizes(sizes: &[(&str, i64)]) -> std::result::Result<(), String> {
    let outside = sizes
        .iter()
        .find(|(_, size)| !(1..=MOST_SIZE).contains(size));
    match outside {
        Some((what, size)) => Err(format!("{what} is {size}, expected 1 to {MOST_SIZE}")),
        None => Ok(()),
    }
}

fn check_tower(tower: &str, layers: usize, eps: f64) -> std::result::Result<(), String> {
    if !(1..=MOST_LAYERS).contains(&layers) {
        return Err(format!(
            "the {tower} tower has {layers} layers, expected 1 to {MOST_LAYERS}"
        ));
    }
    if !eps.is_finite() || eps <= 0.0 {
        return Err(format!(
            "the {tower} tower's layer_norm_eps is {eps}, expected a number above 0"
        ));
    }
    Ok(())
}

const MOST_SIZE: i64 = 1 << 20;
const MOST_LAYERS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_the_model_does_not_know_are_refused() {
        let config = TextConfig {
            context_length: 5,
            vocab_size: 10,
            width: 8,
            layers: 1,
            heads: 1,
            mlp_width: 16,
            layer_norm_eps: 1e-5,
            activation: Activation::QuickGelu,
            end_of_text: 9,
        };
        assert_eq!(config.check_ids(&[8, 0, 9]), Ok(()));
        let message = config.check_ids(&[8, 10, 9]).unwrap_err();
        assert_eq!(
            message,
            "token id 10, but config.json says that the vocabulary has 10 tokens"
        );
        for ids in [&[8, 0, 7][..], &[]] {
            let message = config.check_ids(ids).unwrap_err();
            assert!(message.starts_with("no token id 9, which config.json"));
        }
    }
}
