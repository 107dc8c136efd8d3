//! `shapes-lt`: a dataset that the project draws itself, so that demo and tests need no download.
//!
//! 100 classes, ten colours by ten shapes, on cluttered backgrounds; long-tailed for training and
//! balanced for testing. The same code draws what the demo's CLIP is pre-trained with, from other
//! seeds and in a calmer style. It does not read or write shards.
//! Invariant: options and seed give the same files on any number of threads.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod dataset;
mod dice;
mod drawing;
mod outline;
mod palette;
mod plan;
mod render;

pub use dataset::{ShapesOptions, write_dataset};
pub use dice::{Dice, Purpose};
pub use drawing::{Background, Drawing, Grid, LONGEST_SIDE, Piece, SHORTEST_SIDE};
pub use outline::Shape;
pub use palette::{Colour, Rgb};
pub use plan::{held_out_pairs, train_counts};
pub use render::{draw, draw_jpeg};

/// A class of the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The colour of the shape.
    pub colour: Colour,
    /// The shape itself.
    pub shape: Shape,
}

/// The style of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Calm pictures, for pre-training.
    Pretrain,
    /// Busy pictures: the dataset.
    Dataset,
}

impl Pair {
    /// Every pair in the order of the names; the place is the label.
    pub fn all() -> Vec<Self> {
        let mut pairs: Vec<Self> = Colour::ALL
            .iter()
            .flat_map(|&colour| Shape::ALL.map(|shape| Self { colour, shape }))
            .collect();
        pairs.sort_by_key(Self::name);
        pairs
    }

    /// The class name, such as `red star`.
    pub fn name(&self) -> String {
        format!("{} {}", self.colour.word(), self.shape.word())
    }
}

/// The class names, sorted bytewise; the label of a class is its place.
pub fn class_names() -> Vec<String> {
    Pair::all().iter().map(Pair::name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_hundred_sorted_pairs_of_words() {
        let names = class_names();
        assert_eq!(names.len(), 100);
        assert!(names.is_sorted());
        assert_eq!(names[0], "blue arrow");
        assert_eq!(names[99], "yellow triangle");
        assert!(names.iter().any(|name| name == "red star"));
    }

    #[test]
    fn the_shape_has_the_colour_of_its_name() {
        for (label, pair) in (0..).zip(Pair::all()) {
            let mut dice = Dice::new(9, Purpose::PretrainCheck, label, 0);
            let drawing = Drawing::random(pair, Domain::Pretrain, &mut dice);
            let picture = draw(&drawing);
            let near_fill = picture
                .pixels()
                .filter(|pixel| {
                    (0..3).all(|i| (f32::from(pixel[i]) - drawing.fill[i]).abs() < 45.0)
                })
                .count();
            let wanted = drawing.radius * drawing.radius * 0.8;
            assert!(near_fill as f32 > wanted, "{}: {near_fill}", pair.name());
        }
    }
}
