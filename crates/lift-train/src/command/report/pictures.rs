//! The pictures of a run's page: confused pairs, and what the model was surest of.
//!
//! Invariant: together they take at most [`PICTURE_BYTES`] of the page, and the same predictions give the same pictures.

use std::collections::HashSet;

use lift_image::decode::Decoder;
use lift_page::{Group, Thumbnail, escape::visible};
use lift_shards::{shard::ShardReader, split::Band};

use crate::{
    error::Result,
    metrics::Prediction,
    run_report::{
        RunReport, judged,
        page::{PICTURE_BYTES, Shown},
    },
};

/// Images of a pair that are shown, and of the class it is taken for.
const IMAGES_A_PAIR: usize = 3;

/// Images that a band's right predictions are shown by, and its wrong ones.
const SUREST: usize = 8;

/// The longest side of a thumbnail, in pixels.
const THUMBNAIL: u32 = 72;

/// The first images of each confused pair, and of the class it is taken for, and the surest right and wrong ones, while
/// there is room on a page.
pub(super) fn gather(
    test: &ShardReader,
    report: &RunReport,
    judged: &[Prediction],
    shown: &mut Shown,
) -> Result<()> {
    if test.len() != judged.len() {
        return Ok(());
    }
    let mut album = Album {
        test,
        decoder: Decoder::default(),
        room: PICTURE_BYTES,
    };
    for (caption, rows) in surest(report, judged) {
        shown.judged.extend(album.group(caption, rows)?);
    }
    for pair in &report.confused {
        let (class, other) = (visible(&pair.class), visible(&pair.predicted_class));
        let wrong = judged::rows(judged, pair.label, pair.predicted, IMAGES_A_PAIR);
        let right = judged::rows(judged, pair.predicted, pair.predicted, 1);
        let captions = wrong
            .iter()
            .map(|&row| (row, class.clone()))
            .chain(right.iter().map(|&row| (row, format!("{other}, right"))));
        let caption = format!(
            "{} for {} ({} of {})",
            pair.class, pair.predicted_class, pair.images, pair.of
        );
        match album.group(caption, captions.collect())? {
            Some(group) => shown.confused.push(group),
            None => break,
        }
    }
    Ok(())
}

/// Thumbnails of test images, while there is room.
struct Album<'a> {
    test: &'a ShardReader,
    decoder: Decoder,
    room: usize,
}

impl Album<'_> {
    /// The rows with their captions as a group; none where there is no room for all of them.
    fn group(&mut self, caption: String, rows: Vec<(usize, String)>) -> Result<Option<Group>> {
        let mut images = Vec::new();
        for (row, caption) in rows {
            let image = self.test.rgb(row, &mut self.decoder)?;
            images.push((Thumbnail::new(image, THUMBNAIL)?, caption));
        }
        let bytes: usize = images.iter().map(|(image, _)| image.page_bytes()).sum();
        let Some(left) = self.room.checked_sub(bytes) else {
            return Ok(None);
        };
        self.room = left;
        Ok(Some(Group { caption, images }))
    }
}

/// For each band, or for all classes where there are none, the rows that were right and those that were not, the surest
/// first and one a class, with what is said below them.
fn surest(report: &RunReport, judged: &[Prediction]) -> Vec<(String, Vec<(usize, String)>)> {
    let mut rows: Vec<usize> = (0..judged.len()).collect();
    // Equally sure ones stay in their order.
    rows.sort_by(|&a, &b| judged[b].confidence.total_cmp(&judged[a].confidence));
    let bands: Vec<Option<Band>> = if report.per_class.iter().any(|class| class.band.is_some()) {
        Band::ALL.map(Some).to_vec()
    } else {
        vec![None]
    };
    let mut groups = Vec::new();
    for band in bands {
        for is_right in [true, false] {
            let mut seen = HashSet::new();
            let of = |row: &&usize| {
                let one = &judged[**row];
                let here = report.per_class[one.label as usize].band == band;
                here && (one.label == one.predicted) == is_right && seen.insert(one.label)
            };
            let rows: Vec<_> = rows.iter().filter(of).take(SUREST).collect();
            if rows.is_empty() {
                continue;
            }
            let said = rows.into_iter().map(|&row| {
                let one = &judged[row];
                let name = |label: u32| visible(&report.per_class[label as usize].class);
                let sure = format!("{:.0}\u{a0}%", 100.0 * one.confidence);
                let said = match is_right {
                    true => format!("{}, {sure}", name(one.label)),
                    false => format!("{} for {}, {sure}", name(one.label), name(one.predicted)),
                };
                (row, said)
            });
            let band = band.map_or_else(String::new, |band| format!("{band}: "));
            let word = if is_right { "right" } else { "wrong" };
            groups.push((format!("{band}{word}"), said.collect()));
        }
    }
    groups
}
