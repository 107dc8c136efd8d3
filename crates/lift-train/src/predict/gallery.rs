//! A page of what was predicted: small images by the class they were taken for.
//!
//! It decodes the images again that it shows, and only those. Invariant: the page stays below some 2 MB, and says how many
//! images it does not show.

use std::collections::BTreeMap;

use lift_image::decode::{Decoder, Orientation};
use lift_loader::Images;
use lift_page::{
    Block, Cell, Gallery, Group, KeyFigure, Page, Section, Table, Thumbnail, escape::visible,
    number::plain,
};

use super::Answer;
use crate::error::Result;

/// The longest side of a thumbnail, in pixels.
const THUMBNAIL: u32 = 96;
/// Images that are shown, at most.
const MOST_IMAGES: usize = 400;
/// Images of a class that are shown, at most.
const MOST_OF_A_CLASS: usize = 12;
/// Images that could not be judged, at most, that are named.
const MOST_FAILURES: usize = 200;

/// The page of these answers, whose images are those of `groups` in order; `subject` says what was asked.
///
/// # Errors
/// When an image of shards cannot be loaded.
pub fn page(
    subject: String,
    groups: &[Images],
    answers: &[Answer],
    names: &[String],
) -> Result<Page> {
    let mut by_class: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let (mut unsure, mut failed) = (Vec::new(), Vec::new());
    for (place, answer) in answers.iter().enumerate() {
        match &answer.said {
            Ok(guesses) => match guesses.first() {
                Some(guess) => by_class.entry(guess.label).or_default().push(place),
                None => unsure.push(place),
            },
            Err(reason) => failed.push((answer.name.as_str(), reason.as_str())),
        }
    }
    let mut classes: Vec<(u32, Vec<usize>)> = by_class.into_iter().collect();
    classes.sort_by_key(|(label, places)| (std::cmp::Reverse(places.len()), *label));
    let mut pictures = Pictures {
        groups,
        decoder: Decoder::default(),
        bytes: Vec::new(),
        left: MOST_IMAGES,
    };
    let mut shown = Vec::new();
    for (label, places) in &classes {
        let caption = format!(
            "{}: {}",
            visible(&names[*label as usize]),
            plain(places.len() as u64, "image")
        );
        shown.extend(pictures.group(caption, places, answers)?);
    }
    let caption = format!(
        "no class is likely enough: {}",
        plain(unsure.len() as u64, "image")
    );
    shown.extend(pictures.group(caption, &unsure, answers)?);

    let figures = vec![
        KeyFigure::new("images", Cell::Count(answers.len() as u64)),
        KeyFigure::new("classes seen", Cell::Count(classes.len() as u64)),
        KeyFigure::new("could not be judged", Cell::Count(failed.len() as u64)),
    ];
    let mut parts = vec![Block::KeyFigures(figures)];
    if !shown.is_empty() {
        parts.push(Block::Gallery(Gallery {
            caption: format!(
                "By the class they were taken for, the most frequent first; at most {MOST_OF_A_CLASS} images of a class and {MOST_IMAGES} in all are shown, with the probability of the class."
            ),
            groups: shown,
        }));
    }
    let mut sections = vec![Section {
        heading: "What was predicted".into(),
        parts,
    }];
    if !failed.is_empty() {
        let caption = match failed.len() {
            n if n > MOST_FAILURES => format!("The first {MOST_FAILURES} of {n}."),
            _ => String::new(),
        };
        let mut table = Table::new(&caption, &["image", "why"]);
        for (name, reason) in failed.into_iter().take(MOST_FAILURES) {
            table.push(vec![Cell::text(visible(name)), Cell::text(visible(reason))]);
        }
        sections.push(Section {
            heading: "Could not be judged".into(),
            parts: vec![Block::Table(table)],
        });
    }
    Ok(Page {
        title: "Predictions".into(),
        subtitle: subject,
        sections,
        footer: format!("lift-train {}", env!("CARGO_PKG_VERSION")),
    })
}

struct Pictures<'a> {
    groups: &'a [Images],
    decoder: Decoder,
    bytes: Vec<u8>,
    left: usize,
}

impl Pictures<'_> {
    /// The images of these places, while there is room; nothing where none is shown.
    fn group(
        &mut self,
        caption: String,
        places: &[usize],
        answers: &[Answer],
    ) -> Result<Option<Group>> {
        let mut images = Vec::new();
        for &place in places.iter().take(MOST_OF_A_CLASS.min(self.left)) {
            let Some(thumbnail) = self.thumbnail(place)? else {
                continue;
            };
            let answer = &answers[place];
            let name = answer.name.rsplit('/').next().unwrap_or(&answer.name);
            let share = answer
                .said
                .as_ref()
                .ok()
                .and_then(|guesses| guesses.first());
            let caption = match share {
                Some(guess) => format!("{} {:.0} %", visible(name), 100.0 * guess.probability),
                None => visible(name),
            };
            images.push((thumbnail, caption));
        }
        self.left -= images.len();
        Ok((!images.is_empty()).then_some(Group { caption, images }))
    }

    /// None where the file is not what it was a moment ago.
    fn thumbnail(&mut self, mut place: usize) -> Result<Option<Thumbnail>> {
        for group in self.groups {
            if place >= group.len() {
                place -= group.len();
                continue;
            }
            let image = match group {
                Images::Shards(reader) => reader.rgb(place, &mut self.decoder)?,
                Images::Files(files) => {
                    if files.read(place, &mut self.bytes).is_err() {
                        return Ok(None);
                    }
                    match self.decoder.decode(&self.bytes, Orientation::Exif) {
                        Ok(image) => image,
                        Err(_) => return Ok(None),
                    }
                }
            };
            return Ok(Some(Thumbnail::new(image, THUMBNAIL)?));
        }
        Ok(None)
    }
}
