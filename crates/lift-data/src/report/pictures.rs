//! Small images for the page: pairs of duplicates, the clearest flagged images, samples of each band.
//!
//! Invariant: the same shards give the same images, however many threads there are; an image that cannot be decoded is left
//! out, and what is gathered here stays within [`MOST_BYTES`].

use std::collections::HashMap;

use lift_image::decode::Decoder;
use lift_page::Thumbnail;
use lift_shards::shard::ShardReader;
use lift_shards::split::{Band, BandEdges};

use super::duplicates::Pair;
use super::quality::{Flag, Flagged, SplitQuality};

/// The longest side, in pixels.
const SIDE: u32 = 96;
/// The most images of a flag, and of a band.
const MOST_OF_ONE: usize = 12;
/// The most bytes of samples and flagged images on a page, which is to stay below 2 MB with its tables.
const MOST_BYTES: usize = 600_000;

/// What the page shows besides figures.
#[derive(Debug, Clone, Default)]
pub struct Pictures {
    /// Duplicates.
    pub pairs: Vec<Pair>,
    /// Samples of the training split's bands.
    pub bands: Vec<(Band, Vec<Picture>)>,
    /// Flagged images.
    pub flagged: Vec<(Flag, Vec<Picture>)>,
}

/// A small image.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Its split.
    pub split: String,
    /// Where it came from.
    pub path: String,
    /// Its class.
    pub label: u32,
    /// What the flag goes by; none for samples.
    pub value: Option<f32>,
    /// The image.
    pub thumbnail: Thumbnail,
}

/// Makes small images while there is room.
struct Maker {
    decoder: Decoder,
    room: usize,
}

impl Maker {
    /// The row as a picture; none where it cannot be decoded, or there is no room.
    fn picture(&mut self, reader: &ShardReader, row: usize, value: Option<f32>) -> Option<Picture> {
        let image = reader.rgb(row, &mut self.decoder).ok()?;
        let thumbnail = Thumbnail::new(image, SIDE).ok()?;
        self.room = self.room.checked_sub(thumbnail.page_bytes())?;
        Some(Picture {
            split: reader.manifest().split.to_string(),
            path: reader.path(row).to_owned(),
            label: reader.row(row).label,
            value,
            thumbnail,
        })
    }
}

/// Samples and flagged images of the splits, of which the first decides bands; `quality` is theirs.
pub(super) fn of(
    readers: &[&ShardReader],
    quality: &[SplitQuality],
    edges: BandEdges,
    pairs: Vec<Pair>,
) -> Pictures {
    let mut maker = Maker {
        decoder: Decoder::default(),
        room: MOST_BYTES,
    };
    let bands = readers.first().map_or_else(Vec::new, |reader| {
        let samples = samples(&reader.manifest().class_counts, edges);
        // The first image of each class.
        let mut first: HashMap<u32, usize> = HashMap::new();
        for (at, row) in reader.rows().iter().enumerate() {
            first.entry(row.label).or_insert(at);
        }
        let shown = samples.into_iter().map(|(band, labels)| {
            let rows = labels.iter().filter_map(|label| first.get(label));
            let pictures = rows.filter_map(|&row| maker.picture(reader, row, None));
            (band, pictures.collect())
        });
        shown.collect()
    });
    let flagged = Flag::ALL.map(|flag| {
        let clearest = clearest(quality, flag).into_iter();
        let pictures = clearest.take(MOST_OF_ONE).filter_map(|(split, image)| {
            maker.picture(readers.get(split)?, image.row as usize, Some(image.value))
        });
        (flag, pictures.collect::<Vec<_>>())
    });
    Pictures {
        pairs,
        bands,
        flagged: flagged
            .into_iter()
            .filter(|(_, shown)| !shown.is_empty())
            .collect(),
    }
}

/// For each band that has images, labels spread evenly over its classes, the largest first.
fn samples(counts: &[u64], edges: BandEdges) -> Vec<(Band, Vec<u32>)> {
    let mut labels: Vec<u32> = (0..).take(counts.len()).collect();
    labels.sort_by_key(|&label| std::cmp::Reverse(counts[label as usize]));
    let of = |band: Band| -> Vec<u32> {
        let count = |label: &u32| counts[*label as usize];
        let all = labels.iter().copied();
        let all: Vec<u32> = all
            .filter(|label| count(label) > 0 && edges.band(count(label)) == band)
            .collect();
        let shown = all.len().min(MOST_OF_ONE);
        (0..shown).map(|at| all[at * all.len() / shown]).collect()
    };
    let bands = Band::ALL.into_iter().map(|band| (band, of(band)));
    bands.filter(|(_, labels)| !labels.is_empty()).collect()
}

/// The images that a flag is on for, each with its split's place, the clearest cases first.
pub(super) fn clearest(quality: &[SplitQuality], flag: Flag) -> Vec<(usize, &Flagged)> {
    let mut all: Vec<(usize, &Flagged)> = Vec::new();
    for (at, split) in quality.iter().enumerate() {
        let flagged = split.flagged.iter().filter(|image| image.flag == flag);
        all.extend(flagged.map(|image| (at, image)));
    }
    // The smallest value, but for what is flagged for being large.
    all.sort_by(|(_, a), (_, b)| match flag {
        Flag::Bright | Flag::OddAspect => b.value.total_cmp(&a.value),
        _ => a.value.total_cmp(&b.value),
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_over_a_band_and_no_class_comes_twice() {
        let mut counts: Vec<u64> = (0..40).map(|label| 500 - label).collect();
        counts.extend([50, 0, 7]);
        let found = samples(&counts, BandEdges::default());
        let bands: Vec<_> = found
            .iter()
            .map(|(band, labels)| (*band, labels.len()))
            .collect();
        assert_eq!(bands, [(Band::Many, 12), (Band::Medium, 1), (Band::Few, 1)]);
        assert!(found[0].1.is_sorted_by(|a, b| a < b));
        // The last of the twelve stands near the end of the forty.
        assert_eq!((found[0].1[0], found[0].1[11]), (0, 36));
        assert_eq!((found[1].1[0], found[2].1[0]), (40, 42));
    }
}
