//! The quality of a split's images, from the pixels that its shards hold.
//!
//! Every image is decoded once, by as many threads as the pool has. Invariant: images come out in the order
//! of their rows, and sums are whole numbers, so that neither depends on the threads.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::facts::{Facts, facts};
use super::measure::{Measured, measure};
use crate::error::Result;
use lift_image::decode::{Budget, DecodeError, Decoder};
use lift_page::escape;
use lift_page::progress::Reporting;
use lift_shards::manifest::Encoding;
use lift_shards::quarantine::{self, Quarantined};
use lift_shards::shard::ShardReader;

/// Images that cannot be decoded and are named on standard error.
const NAMED: usize = 5;

/// Images that are decoded between two steps of the progress bar.
const CHUNK: usize = 2048;

/// Something about an image that may be a flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// No pixel's channels differ by more than 8 levels.
    Greyscale,
    /// 95 % of the pixels are darker than luma 50.
    Dark,
    /// 95 % of the pixels are brighter than luma 205.
    Bright,
    /// The Laplacian's variance is below 20.
    Blurry,
    /// The lumas' entropy is below 2 bits.
    LowInformation,
    /// A side is at least three times the other.
    OddAspect,
    /// The file is a CMYK (or YCCK) JPEG.
    Cmyk,
    /// The file's EXIF tag turns or mirrors it.
    ExifRotated,
}

impl Flag {
    /// All flags, in the order in which they are shown.
    pub const ALL: [Flag; 8] = [
        Flag::Greyscale,
        Flag::Dark,
        Flag::Bright,
        Flag::Blurry,
        Flag::LowInformation,
        Flag::OddAspect,
        Flag::Cmyk,
        Flag::ExifRotated,
    ];

    /// Its name in files and in `--fail-if`.
    pub fn as_str(self) -> &'static str {
        match self {
            Flag::Greyscale => "greyscale",
            Flag::Dark => "dark",
            Flag::Bright => "bright",
            Flag::Blurry => "blurry",
            Flag::LowInformation => "low_information",
            Flag::OddAspect => "odd_aspect",
            Flag::Cmyk => "cmyk",
            Flag::ExifRotated => "exif_rotated",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Flag::Greyscale => "greyscale",
            Flag::Dark => "too dark",
            Flag::Bright => "too bright",
            Flag::Blurry => "blurry",
            Flag::LowInformation => "low information",
            Flag::OddAspect => "odd aspect",
            Flag::Cmyk => "CMYK",
            Flag::ExifRotated => "rotated by EXIF",
        }
    }

    /// When an image has it.
    pub fn definition(self) -> String {
        match self {
            Flag::Greyscale => "no pixel's channels differ by more than 8 levels".to_owned(),
            Flag::Dark => format!("95 % of the pixels are darker than luma {DARK}"),
            Flag::Bright => format!("95 % of the pixels are brighter than luma {BRIGHT}"),
            Flag::Blurry => {
                format!(
                    "variance of the Laplacian below {BLURRY}, on lumas averaged to at most 128x128"
                )
            }
            Flag::LowInformation => format!("entropy of the lumas below {LOW_BITS} bits of 8"),
            Flag::OddAspect => format!("a side at least {ODD_ASPECT} times the other"),
            Flag::Cmyk => "the file is a JPEG with four channels".to_owned(),
            Flag::ExifRotated => "the file's EXIF orientation is not upright".to_owned(),
        }
    }

    /// What the flag's value is.
    pub fn measure(self) -> &'static str {
        match self {
            Flag::Greyscale | Flag::Cmyk | Flag::ExifRotated => "mean luma",
            Flag::Dark => "luma at 95 %",
            Flag::Bright => "luma at 5 %",
            Flag::Blurry => "variance of the Laplacian",
            Flag::LowInformation => "entropy, bits",
            Flag::OddAspect => "long side / short side",
        }
    }

    /// Whether the image has it; `None` where its source does not say.
    fn is_on(self, image: &Measured, facts: Option<Facts>) -> Option<bool> {
        Some(match self {
            Flag::Greyscale => image.is_grey,
            Flag::Dark => image.bright_end < DARK,
            Flag::Bright => image.dark_end > BRIGHT,
            Flag::Blurry => image.sharpness < BLURRY,
            Flag::LowInformation => image.entropy < LOW_BITS,
            Flag::OddAspect => aspect(image) >= ODD_ASPECT,
            Flag::Cmyk => facts?.is_cmyk,
            Flag::ExifRotated => facts?.is_turned,
        })
    }

    fn value(self, image: &Measured) -> f32 {
        match self {
            Flag::Greyscale | Flag::Cmyk | Flag::ExifRotated => image.luma,
            Flag::Dark => f32::from(image.bright_end),
            Flag::Bright => f32::from(image.dark_end),
            Flag::Blurry => image.sharpness,
            Flag::LowInformation => image.entropy,
            Flag::OddAspect => aspect(image),
        }
    }
}

const DARK: u8 = 50;
const BRIGHT: u8 = 205;
const BLURRY: f32 = 20.0;
const LOW_BITS: f32 = 2.0;
const ODD_ASPECT: f32 = 3.0;

fn aspect(image: &Measured) -> f32 {
    image.width.max(image.height) as f32 / image.width.min(image.height).max(1) as f32
}

/// An image of a split as the search for duplicates needs it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Which split, by its place among those that are read.
    pub group: u8,
    /// Its row.
    pub row: u32,
    /// Its class.
    pub label: u32,
    /// XXH3-128 of its pixels.
    pub pixels_hash: u128,
    /// Its perceptual hash.
    pub phash: Option<u64>,
    /// Its colours, coarsely.
    pub signature: Box<[u8]>,
}

/// A flagged image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flagged {
    /// The flag.
    pub flag: Flag,
    /// The image's row in its split.
    pub row: u32,
    /// Its position in the list.
    pub id: u64,
    /// Where it came from.
    pub path: String,
    /// Its class.
    pub label: u32,
    /// What was measured ([`Flag::measure`]).
    pub value: f32,
}

/// What was measured of an image, for the frame of all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageMeasures {
    /// The image's row in its split.
    pub row: u32,
    /// As [`Measured`] has them.
    pub luma: f32,
    /// The luma that 5 % of the pixels do not exceed.
    pub dark_end: u8,
    /// The luma that 95 % of the pixels do not exceed.
    pub bright_end: u8,
    /// Entropy of the lumas, bits.
    pub entropy: f32,
    /// Variance of the Laplacian.
    pub sharpness: f32,
    /// A bit a flag, in the order of [`Flag::ALL`].
    flags: u8,
}

impl ImageMeasures {
    fn new(row: usize, image: &Measured, facts: Option<Facts>) -> Self {
        let bits = Flag::ALL.into_iter().enumerate();
        let bits = bits.filter(|(_, flag)| flag.is_on(image, facts) == Some(true));
        Self {
            row: row as u32,
            luma: image.luma,
            dark_end: image.dark_end,
            bright_end: image.bright_end,
            entropy: image.entropy,
            sharpness: image.sharpness,
            flags: bits.map(|(bit, _)| 1 << bit).sum(),
        }
    }

    /// Whether the image has a flag.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags & 1 << flag as u8 != 0
    }
}

/// How many images of a split have a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FlagCount {
    /// The flag.
    pub flag: Flag,
    /// Images that have it; `None` where the shards do not tell.
    pub images: Option<u64>,
}

/// Quantiles of a measurement: each is the value of an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Distribution {
    /// What is measured, with its unit.
    pub measure: &'static str,
    /// The smallest, 5 %, the median, 95 %, the largest.
    pub quantiles: [f64; 5],
    /// The mean.
    pub mean: f64,
    /// 32 bins of equal width (of equal ratio where `log_bins`) between the smallest and the largest.
    pub bins: Vec<u64>,
    /// Whether the bins' edges grow by a factor.
    pub log_bins: bool,
}

/// What is known of a split's images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitQuality {
    /// The split's name.
    pub split: String,
    /// Images that were measured.
    pub images: u64,
    /// Images that cannot be read or decoded: those that the build left out, and [`Self::undecodable`].
    pub corrupt: u64,
    /// Those that the build left out with the reasons, as it wrote them down.
    pub quarantine: Vec<Quarantined>,
    /// Those that the shards hold: a build that stores files as they are may look at their headers alone.
    pub undecodable: Vec<Undecodable>,
    /// How many images have each flag.
    pub flags: Vec<FlagCount>,
    /// The flagged images, by flag and row. Not in the JSON: `--flags` writes them.
    #[serde(skip)]
    pub flagged: Vec<Flagged>,
    /// Every image's values. Not in the JSON: `measures.parquet` has them.
    #[serde(skip)]
    pub measured: Vec<ImageMeasures>,
    /// Mean of each channel over all pixels, 0 to 1; none without a pixel.
    pub channel_mean: [Option<f64>; 3],
    /// Standard deviation of each channel over all pixels, as the mean.
    pub channel_std: [Option<f64>; 3],
    /// Pixels in all.
    pub pixels: u64,
    /// Width, height, aspect, bytes, luma, entropy, sharpness.
    pub distributions: Vec<Distribution>,
}

/// An image that is stored and cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undecodable {
    /// Its row in its split.
    pub row: u32,
    /// Its position in the list.
    pub id: u64,
    /// Where it came from.
    pub path: String,
    /// Its class.
    pub label: u32,
    /// What is wrong with it.
    pub reason: String,
}

impl SplitQuality {
    /// Images that the build left out.
    pub fn left_out(&self) -> u64 {
        self.corrupt - self.undecodable.len() as u64
    }

    /// Images with a flag; `None` where the shards do not tell.
    pub fn count(&self, flag: Flag) -> Option<u64> {
        self.flags.iter().find(|count| count.flag == flag)?.images
    }
}

/// Measures all images of a split, in the order of its rows.
pub fn of(
    dir: &Path,
    reader: &ShardReader,
    reporting: Reporting,
) -> Result<(SplitQuality, Vec<Image>)> {
    let manifest = reader.manifest();
    let (quarantine, mut totals) = (quarantine::read(dir, manifest)?, Totals::default());
    let mut undecodable: Vec<Undecodable> = Vec::new();
    let keeps_files = manifest.encoding == Encoding::Original;
    let mut images = Vec::with_capacity(reader.len());
    let budget = Budget::of_machine(rayon::current_num_threads());
    let progress = reporting.start("measure", reader.len() as u64);
    let rows: Vec<usize> = (0..reader.len()).collect();
    for chunk in rows.chunks(CHUNK) {
        let measured: Vec<std::result::Result<_, DecodeError>> = chunk
            .par_iter()
            .map_init(
                || Decoder::sharing(&budget),
                |decoder, &row| {
                    let known = if keeps_files {
                        Some(facts(reader.bytes(row)?))
                    } else {
                        None
                    };
                    match reader.rgb(row, decoder) {
                        Ok(image) => Ok(Ok((measure(image), known))),
                        // The image is at fault, not the shard: the others are measured.
                        Err(lift_shards::Error::Decode { source, .. }) => Ok(Err(source)),
                        Err(err) => Err(err),
                    }
                },
            )
            .collect::<lift_shards::Result<_>>()?;
        for (&row, measured) in chunk.iter().zip(measured) {
            let (image, facts) = match measured {
                Ok(measured) => measured,
                Err(fault) => {
                    let (path, of_row) = (reader.path(row).to_owned(), reader.row(row));
                    undecodable.push(Undecodable {
                        row: row as u32,
                        id: of_row.id,
                        path,
                        label: of_row.label,
                        reason: fault.to_string(),
                    });
                    continue;
                }
            };
            totals.add(reader, row, &image, facts);
            images.push(Image {
                group: 0,
                row: row as u32,
                label: reader.row(row).label,
                pixels_hash: image.pixels_hash,
                phash: image.phash,
                signature: Box::new(image.signature),
            });
        }
        progress.advance(chunk.len() as u64);
    }
    progress.finish();
    let mut quality = totals.finish(manifest.split.to_string(), keeps_files);
    for image in undecodable.iter().take(NAMED) {
        let Undecodable { row, path, .. } = image;
        let (dir, path, reason) = (escape::path(dir), escape::visible(path), &image.reason);
        reporting.note(&format!(
            "{dir}: row {row} ({path}): cannot decode: {reason}"
        ));
    }
    if let Some(more) = undecodable.len().checked_sub(NAMED + 1) {
        let dir = escape::path(dir);
        reporting.note(&format!("{dir}: {} more cannot be decoded", more + 1));
    }
    quality.corrupt = manifest.quarantined + undecodable.len() as u64;
    quality.quarantine = quarantine;
    quality.undecodable = undecodable;
    Ok((quality, images))
}

/// What adds up over the images.
#[derive(Default)]
struct Totals {
    pixels: u64,
    sums: [u128; 3],
    squares: [u128; 3],
    flagged: Vec<Flagged>,
    measures: [Vec<f32>; 7],
    measured: Vec<ImageMeasures>,
}

const MEASURES: [(&str, bool); 7] = [
    ("width, pixels", false),
    ("height, pixels", false),
    ("width / height", true),
    ("stored bytes", true),
    ("mean luma, 0 to 255", false),
    ("entropy of the lumas, bits", false),
    ("variance of the Laplacian", true),
];

impl Totals {
    fn add(&mut self, reader: &ShardReader, row: usize, image: &Measured, facts: Option<Facts>) {
        let of_row = reader.row(row);
        self.pixels += u64::from(image.width) * u64::from(image.height);
        for channel in 0..3 {
            self.sums[channel] += u128::from(image.sums[channel]);
            self.squares[channel] += u128::from(image.squares[channel]);
        }
        for flag in Flag::ALL {
            if flag.is_on(image, facts) == Some(true) {
                self.flagged.push(Flagged {
                    flag,
                    row: row as u32,
                    id: of_row.id,
                    path: reader.path(row).to_owned(),
                    label: of_row.label,
                    value: flag.value(image),
                });
            }
        }
        self.measured.push(ImageMeasures::new(row, image, facts));
        let values = [
            image.width as f32,
            image.height as f32,
            image.width as f32 / image.height as f32,
            of_row.num_bytes as f32,
            image.luma,
            image.entropy,
            image.sharpness,
        ];
        for (all, value) in self.measures.iter_mut().zip(values) {
            all.push(value);
        }
    }

    fn finish(mut self, split: String, keeps_files: bool) -> SplitQuality {
        self.flagged
            .sort_by_key(|flagged| (flagged.flag, flagged.row));
        let count = |flag: Flag| {
            let known = keeps_files || !matches!(flag, Flag::Cmyk | Flag::ExifRotated);
            let count = self.flagged.iter().filter(|f| f.flag == flag).count() as u64;
            FlagCount {
                flag,
                images: known.then_some(count),
            }
        };
        let flags = Flag::ALL.map(count).to_vec();
        let images = self.measures[0].len() as u64;
        let pixels = (self.pixels > 0).then_some(self.pixels as f64);
        let channel_mean = self.sums.map(|sum| Some(sum as f64 / pixels? / 255.0));
        let n = u128::from(self.pixels);
        let channel_std = [0, 1, 2].map(|channel| {
            // Whole numbers up to the last division: n * sum(x^2) - sum(x)^2.
            let (sum, square) = (self.sums[channel], self.squares[channel]);
            let spread = (n * square).saturating_sub(sum * sum);
            Some((spread as f64).sqrt() / pixels? / 255.0)
        });
        let distributions = self
            .measures
            .into_iter()
            .zip(MEASURES)
            .filter(|(values, _)| !values.is_empty())
            .map(|(values, (measure, log_bins))| distribution(values, measure, log_bins))
            .collect();
        SplitQuality {
            split,
            images,
            corrupt: 0,
            quarantine: Vec::new(),
            undecodable: Vec::new(),
            flags,
            flagged: self.flagged,
            measured: self.measured,
            channel_mean,
            channel_std,
            pixels: self.pixels,
            distributions,
        }
    }
}

/// Bins of a distribution.
const BINS: usize = 32;

fn distribution(mut values: Vec<f32>, measure: &'static str, log_bins: bool) -> Distribution {
    values.sort_unstable_by(f32::total_cmp);
    let at = |percent: usize| f64::from(values[(values.len() - 1) * percent / 100]);
    let quantiles = [at(0), at(5), at(50), at(95), at(100)];
    // Sharpness can be 0, which has no logarithm.
    let place = |value: f64| if log_bins { value.max(0.1).ln() } else { value };
    let (from, to) = (place(quantiles[0]), place(quantiles[4]));
    let mut bins = vec![0; BINS];
    for &value in &values {
        let share = (place(f64::from(value)) - from) / (to - from).max(1e-9);
        bins[((share * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    Distribution {
        measure,
        mean: values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64,
        quantiles,
        bins,
        log_bins,
    }
}

impl Distribution {
    /// The edges of the bins, one more than there are bins.
    pub fn edges(&self) -> Vec<f64> {
        let place = |value: f64| {
            if self.log_bins {
                value.max(0.1).ln()
            } else {
                value
            }
        };
        let (from, to) = (place(self.quantiles[0]), place(self.quantiles[4]));
        let edge = |bin: usize| {
            let at = from + (to - from) * bin as f64 / BINS as f64;
            if self.log_bins { at.exp() } else { at }
        };
        (0..=BINS).map(edge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_and_bins_hold_all() {
        let values: Vec<f32> = (1..=100).rev().map(|v| v as f32).collect();
        let distribution = distribution(values, "x", false);
        assert_eq!(distribution.quantiles, [1.0, 5.0, 50.0, 95.0, 100.0]);
        assert_eq!(distribution.mean, 50.5);
        assert_eq!(distribution.bins.iter().sum::<u64>(), 100);
        let edges = distribution.edges();
        assert_eq!((edges.len(), edges[0], edges[BINS]), (BINS + 1, 1.0, 100.0));
        let same = super::distribution(vec![7.0; 3], "x", true);
        assert_eq!((same.bins[0], same.quantiles), (3, [7.0; 5]));
    }
}
