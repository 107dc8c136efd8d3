//! Captions for drawings, the words they are made of, and which caption fits which drawing.

use lift_shapes::{Background, Colour, Dice, Drawing, Shape};

/// Every word of the captions and of the usual prompts; the place is the token id. The text's start and end follow.
const WORDS: [&str; 30] = [
    "[UNK]",
    "a",
    "an",
    "the",
    "of",
    "on",
    "with",
    "in",
    "and",
    ".",
    ",",
    "photo",
    "picture",
    "image",
    "drawing",
    "sketch",
    "something",
    "shape",
    "background",
    "small",
    "large",
    "plain",
    "striped",
    "checkered",
    "gradient",
    "good",
    "bad",
    "this",
    "is",
    "one",
];

/// What a caption says; what it leaves open fits everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Caption {
    colour: Option<Colour>,
    shape: Option<Shape>,
    background: Option<&'static str>,
    /// The words.
    pub text: String,
}

impl Caption {
    /// A random caption that is true of `drawing`: colour and shape, or one of them alone, which is what makes the
    /// words compose to pairs that were never shown.
    pub fn random(drawing: &Drawing, dice: &mut Dice) -> Self {
        let (colour, shape) = match dice.unit() {
            x if x < 0.28 => (None, Some(drawing.pair.shape)),
            x if x < 0.5 => (Some(drawing.pair.colour), None),
            _ => (Some(drawing.pair.colour), Some(drawing.pair.shape)),
        };
        let noun = shape.map_or("shape", Shape::word);
        let thing = colour.map_or_else(
            || noun.to_owned(),
            |colour| format!("{} {noun}", colour.word()),
        );
        let background = dice.chance(0.1).then(|| background_word(drawing));
        let text = match (background, dice.below(5)) {
            (Some(background), _) => format!("a {thing} on a {background} background."),
            (None, 0) => thing,
            (None, 1) => format!("a {thing}."),
            (None, 2) => format!("a drawing of a {thing}."),
            (None, _) => format!("a photo of a {thing}."),
        };
        Self {
            colour,
            shape,
            background,
            text,
        }
    }

    /// The prompt that the classifier is made of.
    pub fn class_prompt(name: &str) -> String {
        format!("a photo of a {name}.")
    }

    /// Whether all that the caption says is true of `drawing`.
    pub fn fits(&self, drawing: &Drawing) -> bool {
        self.colour
            .is_none_or(|colour| colour == drawing.pair.colour)
            && self.shape.is_none_or(|shape| shape == drawing.pair.shape)
            && self
                .background
                .is_none_or(|word| word == background_word(drawing))
    }
}

fn background_word(drawing: &Drawing) -> &'static str {
    match drawing.background {
        Background::Plain(_) => "plain",
        Background::Gradient(..) => "gradient",
        Background::Striped(..) => "striped",
        Background::Checkered(..) => "checkered",
    }
}

/// The vocabulary in the order of the ids; the last two are the start and the end of a text.
pub fn vocabulary() -> Vec<String> {
    let mut words: Vec<String> = WORDS.map(str::to_owned).to_vec();
    words.extend(Colour::ALL.map(|colour| colour.word().to_owned()));
    words.extend(Shape::ALL.map(|shape| shape.word().to_owned()));
    words.extend(["<|startoftext|>", "<|endoftext|>"].map(str::to_owned));
    words
}

/// `tokenizer.json` in the format of Hugging Face's `tokenizers`: whole words, lower case.
pub fn tokenizer_json() -> serde_json::Value {
    let words = vocabulary();
    let (start, end) = (words.len() - 2, words.len() - 1);
    let ids: serde_json::Map<String, serde_json::Value> = words
        .iter()
        .enumerate()
        .map(|(id, word)| (word.clone(), id.into()))
        .collect();
    let special = |id: usize| {
        serde_json::json!({"id": id, "content": words[id], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let template =
        |id: usize| serde_json::json!({"id": words[id], "ids": [id], "tokens": [words[id]]});
    serde_json::json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(start), special(end)],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": words[start], "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": words[end], "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {words[start].clone(): template(start), words[end].clone(): template(end)},
        },
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "[UNK]"},
    })
}
