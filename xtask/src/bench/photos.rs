//! The images that `cargo xtask bench` builds shards of: drawn here, about as large and as busy as photos.
//!
//! Invariant: a photo's bytes depend on its number and size alone, so that two machines measure the same work.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

const QUALITY: u8 = 90;
const CLASSES: usize = 10;

/// Writes `count` photos of `width` x `height` and, where `samples` is a folder, copies of its JPEG files into `folder/train/<class>/`.
/// What is there already is kept.
pub fn write(
    folder: &Path,
    count: usize,
    [width, height]: [u16; 2],
    samples: Option<&Path>,
) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let work = folder.with_extension("tmp");
    let _ = fs::remove_dir_all(&work); // what a killed run left
    for nth in 0..count {
        let class = work.join(format!("train/class-{}", nth % CLASSES));
        fs::create_dir_all(&class).with_context(|| class.display().to_string())?;
        let path = class.join(format!("{nth:04}.jpg"));
        let bytes = jpeg(nth as u64, width, height)?;
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    }
    if let Some(samples) = samples.filter(|folder| folder.is_dir()) {
        let class = work.join("train/samples");
        fs::create_dir_all(&class).with_context(|| class.display().to_string())?;
        for entry in fs::read_dir(samples).with_context(|| samples.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|ext| ext == "JPEG") {
                let to = class.join(path.file_name().context("a file has a name")?);
                fs::write(&to, fs::read(&path)?).with_context(|| to.display().to_string())?;
            }
        }
    }
    fs::rename(&work, folder).with_context(|| folder.display().to_string())
}

/// Photo number `nth` as a JPEG file.
fn jpeg(nth: u64, width: u16, height: u16) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    let pixels = pixels(nth, width.into(), height.into());
    encoder.encode(&pixels, width, height, ColorType::Rgb)?;
    Ok(bytes)
}

/// Slow waves, some flat discs with sharp edges, and noise: a sky, things, and grain.
fn pixels(nth: u64, width: usize, height: usize) -> Vec<u8> {
    let mut dice = Dice(nth + 1);
    let phase = nth as f32;
    let wave = |length: f32, count: usize| -> Vec<f32> {
        let at = |i: usize| (i as f32 / length + phase).sin();
        (0..count).map(at).collect()
    };
    let (across, down) = (wave(61.0, width), wave(23.0, height));
    let fine = wave(2.3, width + 2 * height);
    let discs: Vec<[i64; 6]> = (0..12)
        .map(|_| {
            let [x, y] = [width, height].map(|side| dice.below(side as u64));
            let radius = 10 + dice.below(height as u64 / 5);
            let colour = [(); 3].map(|()| dice.below(120) - 60);
            [x, y, radius * radius, colour[0], colour[1], colour[2]]
        })
        .collect();
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let base = 128.0 + 34.0 * across[x] + 24.0 * down[y] + 12.0 * fine[x + 2 * y];
            let disc = discs.iter().find(|[cx, cy, square, ..]| {
                (x as i64 - cx).pow(2) + (y as i64 - cy).pow(2) < *square
            });
            let grain = dice.below(32) - 16;
            for channel in 0..3 {
                let colour = disc.map_or(0, |disc| disc[3 + channel]);
                let value = base as i64 + colour + grain;
                pixels.push(value.clamp(0, 255) as u8);
            }
        }
    }
    pixels
}

/// A linear congruential generator; enough for grain.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 32) * n) >> 32) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_is_its_number_and_as_large_as_photos_are() {
        let one = jpeg(7, 500, 375).unwrap();
        assert_eq!(one, jpeg(7, 500, 375).unwrap());
        assert_ne!(one, jpeg(8, 500, 375).unwrap());
        assert!((60_000..160_000).contains(&one.len()), "{}", one.len());
    }
}
