//! Pre-trains the tiny CLIP of the demo by contrast, on captioned drawings that are not in `shapes-lt`.
//!
//! The drawings have seeds and a style of their own, and 28 of the 100 colour-shape pairs are never shown. A caption
//! counts for every drawing of the batch that it is true of. Nothing here looks at the dataset: progress is judged on
//! further drawings of the pre-training style. Run it through `cargo xtask pretrain-demo`.

mod captions;
mod model;

use std::{path::PathBuf, sync::mpsc::sync_channel, thread, time::Instant};

use anyhow::{Result, bail};
use captions::Caption;
use clap::Parser;
use lift_image::resize::{Resizer, RgbView};
use lift_loader::{image_rng, mda_crop};
use lift_models::{Clip, NoHooks, Normalisation, Tokenizer, normalize};
use lift_shapes::{Dice, Domain, Drawing, Pair, Purpose, draw, held_out_pairs};
use rayon::prelude::*;
use tch::{
    Device, Kind, Tensor,
    nn::{self, OptimizerConfig},
};

#[derive(Parser)]
struct Args {
    /// Folder for config.json, model.safetensors, tokenizer.json
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 2000)]
    steps: usize,
    #[arg(long, default_value_t = 192)]
    batch_size: usize,
    #[arg(long, default_value_t = 1.5e-3)]
    lr: f64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Drawings as pixels (images, r, r, 3), and a caption each.
struct Batch {
    pixels: Vec<u8>,
    drawings: Vec<Drawing>,
    captions: Vec<Caption>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let config = model::config();
    let resolution = config.vision.resolution as u32;
    tch::manual_seed(args.seed as i64);
    let vs = nn::VarStore::new(Device::Cpu);
    let clip = model::trainable(&vs, &config)?;
    // The tokenizer is read the way users' tokenizers are.
    model::save(&clip, &args.out)?;
    let tokenizer = Tokenizer::of_model(&args.out)?;
    let mut optimiser = nn::AdamW {
        wd: 0.05,
        beta2: 0.98,
        ..Default::default()
    }
    .build(&vs, args.lr)?;

    let shown: Vec<Pair> = {
        let held_out = held_out_pairs();
        Pair::all()
            .into_iter()
            .filter(|pair| !held_out.contains(pair))
            .collect()
    };
    let (sender, batches) = sync_channel(2);
    let (seed, steps, size) = (args.seed, args.steps, args.batch_size);
    let pairs = shown.clone();
    thread::spawn(move || {
        for step in 0..steps {
            let images = step * size..(step + 1) * size;
            if sender
                .send(batch(&pairs, seed, Purpose::Pretrain, images, resolution))
                .is_err()
            {
                return;
            }
        }
    });

    let started = Instant::now();
    let mut running = 0.0;
    for (step, batch) in batches.into_iter().enumerate() {
        let progress = step as f64 / steps as f64;
        let warm_up = ((step + 1) as f64 / 100.0).min(1.0);
        optimiser.set_lr(args.lr * warm_up * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()));
        let texts: Vec<String> = batch
            .captions
            .iter()
            .map(|caption| caption.text.clone())
            .collect();
        let loss = contrastive_loss(&clip, &batch, &tokenize(&tokenizer, &texts, &config)?);
        optimiser.backward_step(&loss);
        // CLIP keeps the factor on the similarities below 100.
        tch::no_grad(|| {
            let _ = clip.logit_scale.shallow_clone().clamp_max_(100f64.ln());
        });
        running += loss.double_value(&[]);
        if (step + 1) % 50 == 0 {
            let speed = ((step + 1) * size) as f64 / started.elapsed().as_secs_f64();
            eprintln!(
                "step {:5}/{steps}  loss {:.4}  {speed:.0} images/s",
                step + 1,
                running / 50.0
            );
            running = 0.0;
        }
    }
    model::save(&clip, &args.out)?;

    // Prediction as it will be used: from the files, in float16's precision.
    let clip = Clip::load(&args.out)?;
    for (what, pairs) in [
        ("pairs that were shown", shown),
        ("pairs that were not", held_out_pairs()),
    ] {
        let accuracy = zero_shot(&clip, &tokenizer, &pairs, seed, resolution)?;
        println!(
            "zero-shot among all 100 classes, new drawings of {what}: {:.1} %",
            100.0 * accuracy
        );
    }
    Ok(())
}

/// Draws images of random pairs; each depends on nothing but its number.
fn batch(
    pairs: &[Pair],
    seed: u64,
    purpose: Purpose,
    images: std::ops::Range<usize>,
    resolution: u32,
) -> Batch {
    let bytes = (resolution * resolution * 3) as usize;
    let mut pixels = vec![0; bytes * images.len()];
    let (drawings, captions) = pixels
        .par_chunks_mut(bytes)
        .zip(images.into_par_iter())
        .map_init(Resizer::new, |resizer, (out, i)| {
            let mut dice = Dice::new(seed, purpose, 0, i as u64);
            let pair = pairs[dice.below(pairs.len() as u32) as usize];
            let drawing = Drawing::random(pair, Domain::Pretrain, &mut dice);
            let image = draw(&drawing);
            let (width, height) = image.dimensions();
            let crop = mda_crop(width, height, 0.6, &mut image_rng(seed, 0, i as u64));
            let view = RgbView {
                width,
                height,
                pixels: image.as_raw(),
            };
            resizer
                .crop_resize(view, crop, resolution, resolution, out)
                .expect("the crop lies in the image");
            let caption = Caption::random(&drawing, &mut dice);
            (drawing, caption)
        })
        .unzip();
    Batch {
        pixels,
        drawings,
        captions,
    }
}

/// Images (b, 3, r, r) of a batch.
fn images(batch: &Batch, resolution: i64) -> Tensor {
    let pixels = Tensor::from_slice(&batch.pixels).view([-1, resolution, resolution, 3]);
    Normalisation::CLIP.apply(&pixels, Device::Cpu)
}

fn tokenize(
    tokenizer: &Tokenizer,
    texts: &[String],
    config: &lift_models::ClipConfig,
) -> Result<Tensor> {
    let context = config.text.context_length as usize;
    let mut flat = vec![0i64; texts.len() * context];
    for (row, text) in flat.chunks_mut(context).zip(texts) {
        let ids = tokenizer.encode(text, context)?;
        if ids.contains(&0) {
            bail!("{text:?} has a word that is not in the vocabulary");
        }
        row[..ids.len()].copy_from_slice(&ids);
    }
    Ok(Tensor::from_slice(&flat).view([texts.len() as i64, context as i64]))
}

/// Cross entropy in both directions, shared evenly among all captions (drawings) that fit.
fn contrastive_loss(clip: &Clip, batch: &Batch, ids: &Tensor) -> Tensor {
    let images = images(batch, clip.config.vision.resolution);
    let image = normalize(&clip.visual.embed(&clip.visual.features(&images, &NoHooks)));
    let text = normalize(&clip.text.embed(&clip.text.features(ids)));
    let logits = image.matmul(&text.tr()) * clip.logit_scale.exp();
    let fits: Vec<f32> = batch
        .drawings
        .iter()
        .flat_map(|drawing| {
            batch
                .captions
                .iter()
                .map(|caption| f32::from(caption.fits(drawing)))
        })
        .collect();
    let n = batch.drawings.len() as i64;
    let fits = Tensor::from_slice(&fits).view([n, n]);
    let towards = |logits: &Tensor, fits: &Tensor| {
        let target = fits / fits.sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
        -(target * logits.log_softmax(1, Kind::Float))
            .sum_dim_intlist([1i64].as_slice(), false, Kind::Float)
            .mean(Kind::Float)
    };
    (towards(&logits, &fits) + towards(&logits.tr(), &fits.tr())) / 2.0
}

/// Share of 1,000 new drawings of `pairs` whose nearest class prompt, among all 100, is their own.
fn zero_shot(
    clip: &Clip,
    tokenizer: &Tokenizer,
    pairs: &[Pair],
    seed: u64,
    resolution: u32,
) -> Result<f64> {
    let all = Pair::all();
    let prompts: Vec<String> = all
        .iter()
        .map(|pair| Caption::class_prompt(&pair.name()))
        .collect();
    let ids = tokenize(tokenizer, &prompts, &clip.config)?;
    let batch = batch(pairs, seed, Purpose::PretrainCheck, 0..1000, resolution);
    let nearest: Vec<i64> = tch::no_grad(|| {
        let texts = normalize(&clip.text.embed(&clip.text.features(&ids)));
        let features = clip
            .visual
            .features(&images(&batch, clip.config.vision.resolution), &NoHooks);
        Vec::try_from(
            normalize(&clip.visual.embed(&features))
                .matmul(&texts.tr())
                .argmax(1, false),
        )
    })?;
    let right = nearest
        .iter()
        .zip(&batch.drawings)
        .filter(|&(&label, drawing)| all[label as usize] == drawing.pair)
        .count();
    Ok(right as f64 / batch.drawings.len() as f64)
}
