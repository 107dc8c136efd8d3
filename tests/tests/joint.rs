//! Class texts as the classifier: learned words against lift-text's prompts, gradients, and whole runs.

use lift_data::dataset::DatasetSpec;
use lift_models::{Clip, Head, Tokenizer};
use lift_shards::ClassNames;
use lift_tests::{demo_model, largest_difference, shapes_run};
use lift_train::{
    classifier::ClassifierKind,
    command::{self, EvalSettings, HeadFile},
    config::TrainConfig,
    eval::Tte,
    joint::{ClassFeatures, Context, ContextPosition, Encoder, Joint, TEMPLATE, TextPart},
    tuner::{TunerOptions, Tuners},
};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};

fn classes() -> ClassNames {
    let shapes = DatasetSpec::find("shapes-lt").unwrap();
    shapes.known_class_names().unwrap()
}

/// Words of `phrase` at `position`, with what encodes the shapes' names.
fn joint(phrase: &str, position: ContextPosition) -> Joint {
    let tokenizer = Tokenizer::of_model(&demo_model()).unwrap();
    let clip = Clip::load(&demo_model()).unwrap();
    let mut context = Context::of_phrase(phrase, &clip.text, &tokenizer).unwrap();
    let words = context.words();
    let options = TunerOptions::new("coop".parse::<Tuners>().unwrap());
    let names = classes();
    let place = (Device::Cpu, Kind::Float);
    let encoder = Encoder::new(
        clip.text,
        &tokenizer,
        names.as_slice(),
        (words, true),
        position,
        place,
    );
    context.encode_with(encoder.unwrap());
    let words = Some(TextPart::Words(context));
    let mut joint = Joint::new(&options, &clip.visual, words).unwrap();
    joint.to_device(Device::Cpu);
    joint
}

fn texts(joint: &Joint) -> Tensor {
    joint.words().unwrap().texts().unwrap().unwrap()
}

/// lift-text's embeddings for a template.
fn prompted(template: &str) -> Tensor {
    let prompts = lift_text::Prompts::templates(vec![template.parse().unwrap()], None, &classes());
    let options = lift_text::ClassifierOptions {
        prompts: prompts.unwrap(),
        batch_size: 32,
        max_memory: None,
        allow_identical: false,
        device: Device::Cpu,
    };
    let head = lift_text::build_head(&demo_model(), &classes(), &options).unwrap();
    head.text_embeds.unwrap()
}

#[test]
fn the_words_of_a_phrase_make_lift_texts_prompts() {
    for (phrase, position, template) in [
        ("a photo of a", ContextPosition::End, "a photo of a {}."),
        ("a photo of a", ContextPosition::Middle, "a photo {} of a."),
        ("in a picture", ContextPosition::Front, "{} in a picture."),
    ] {
        let ours = lift_models::normalize(&texts(&joint(phrase, position)));
        let difference = largest_difference(&ours, &prompted(template));
        assert!(difference < 1e-5, "{template}: {difference}");
    }
}

#[test]
fn what_both_towers_tune_starts_from_lift_texts_prompts() {
    let tokenizer = Tokenizer::of_model(&demo_model()).unwrap();
    let clip = Clip::load(&demo_model()).unwrap();
    let names = classes();
    let frozen = ClassFeatures::of(&clip.text, &tokenizer, names.as_slice()).unwrap();
    let texts = lift_models::normalize(&frozen.features.matmul(&frozen.projection));
    let difference = largest_difference(&texts, &prompted(TEMPLATE));
    assert!(difference < 1e-5, "{difference}");
}

/// The authors learn "a photo of a" and the full stop behind the name: five vectors.
#[test]
fn the_full_stop_of_a_phrase_is_learned() {
    let tokenizer = Tokenizer::of_model(&demo_model()).unwrap();
    let clip = Clip::load(&demo_model()).unwrap();
    let stop = tokenizer.encode(".", 77).unwrap()[1];
    let stop = clip.text.token_embedding.get(stop);
    for phrase in ["a photo of a", "a photo of a."] {
        let context = Context::of_phrase(phrase, &clip.text, &tokenizer).unwrap();
        assert_eq!(context.words(), 5, "{phrase}");
        assert_eq!(context.vectors().get(4), stop);
    }
    // And it ends the prompt: another vector there changes every text.
    let joint = joint("a photo of a", ContextPosition::End);
    let before = texts(&joint);
    let _ = tch::no_grad(|| joint.words().unwrap().vectors().get(4).fill_(0.5));
    let moved = (texts(&joint) - &before)
        .abs()
        .amax([1i64].as_slice(), false);
    assert!(moved.min().double_value(&[]) > 1e-4);
}

#[test]
fn the_gradient_of_learned_words_is_that_of_finite_differences() {
    tch::manual_seed(1);
    let joint = joint("a photo of a", ContextPosition::End);
    let context = joint.words().unwrap();
    let texts_now = texts(&joint);
    let weight = Tensor::randn(texts_now.size(), FLOAT_CPU);
    context.backward(&weight);
    let gradient = context.vectors().grad();
    assert!(gradient.abs().max().double_value(&[]) > 1e-2);

    let direction = Tensor::randn(gradient.size(), FLOAT_CPU);
    let step = 1e-3;
    let start = context.vectors().copy();
    let value = |distance: f64| {
        tch::no_grad(|| {
            let moved = &start + &direction * distance;
            context.vectors().shallow_clone().copy_(&moved);
        });
        (texts(&joint) * &weight)
            .sum(Kind::Double)
            .double_value(&[])
    };
    let (above, below) = (value(step), value(-step));
    let measured = (above - below) / (2.0 * step);
    let predicted = (gradient * direction).sum(Kind::Double).double_value(&[]);
    assert!(
        (measured - predicted).abs() < 2e-2 * predicted.abs().max(1.0),
        "{measured} {predicted}"
    );
}

/// Where memory is short the texts are encoded in chunks, and twice: the same texts and the same gradient.
#[test]
fn chunks_of_texts_have_the_gradient_of_all() {
    tch::manual_seed(2);
    let gradient = |joint: &Joint| {
        let context = joint.words().unwrap();
        let texts = texts(joint);
        let weight = Tensor::arange(texts.numel() as i64, FLOAT_CPU).sin();
        context.backward(&weight.view_as(&texts));
        (texts, context.vectors().grad())
    };
    for position in [ContextPosition::End, ContextPosition::Front] {
        let whole = gradient(&joint("a photo of a", position));
        let chunked = joint("a photo of a", position);
        // Bytes for a few texts.
        chunked.words().unwrap().keep_to(1 << 20);
        let chunked = gradient(&chunked);
        assert!(largest_difference(&whole.0, &chunked.0) < 1e-5);
        let scale = whole.1.abs().max().double_value(&[]);
        assert!(scale > 1e-2);
        assert!(largest_difference(&whole.1, &chunked.1) < 1e-4 * scale);
    }
}

#[test]
fn class_texts_as_they_are_judge_as_zero_shot_does() {
    let dir = tempfile::tempdir().unwrap();
    let run = shapes_run(dir.path());
    let head = Head::read(run.head.as_deref().unwrap()).unwrap();
    assert!((head.logit_scale - 25.0).abs() > 1.0 && (head.logit_scale - 100.0).abs() > 1.0);
    let config = TrainConfig {
        epochs: 0,
        classifier: ClassifierKind::Text,
        // Class texts have the model's own.
        scale: None,
        tuner: Tuners::default(),
        tte: Tte::None,
        ..run
    };
    let report = command::train(&config).unwrap();
    let settings = EvalSettings::of_run(&config, Tte::None, Device::Cpu);
    let head = HeadFile::new(config.head.as_deref().unwrap(), false);
    let zero_shot = command::zero_shot(&config.model, head, None, &settings).unwrap();
    assert_eq!(
        report.evaluations[0].metrics,
        zero_shot.evaluations[0].metrics
    );
    assert_eq!(report.parameters.unwrap().tuned(), 0);
}
