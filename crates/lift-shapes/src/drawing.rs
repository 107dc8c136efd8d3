//! One drawing as knobs: what is in it, where, and how it is lit. Draws no pixels.
//!
//! There are two styles. Pre-training sees calm pictures; those of the dataset are busier, partly
//! hidden, noisier and under coloured light, a gap that tuning can close.
//! Invariant: a drawing is wholly given by its pair, its domain and the state of its dice.

use std::f32::consts::TAU;

use super::dice::Dice;
use super::palette::{Rgb, apart_from, mix};
use super::{Domain, Pair};

/// The shortest side of an image in pixels.
pub const SHORTEST_SIDE: u32 = 64;
/// The longest side of an image in pixels.
pub const LONGEST_SIDE: u32 = 200;

/// Everything that a drawing shows. Lengths are in pixels, angles in radians, y points down.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// Width of the image.
    pub width: u32,
    /// Height of the image.
    pub height: u32,
    /// What is to be recognised.
    pub pair: Pair,
    /// The shade of the pair's colour.
    pub fill: Rgb,
    /// Middle of the shape.
    pub centre: [f32; 2],
    /// Size of the shape: the radius of the circle it fits into, roughly.
    pub radius: f32,
    /// Turn of the shape.
    pub angle: f32,
    /// Width over height of the shape before it is turned.
    pub stretch: f32,
    /// How round the corners are, as a share of the radius.
    pub corner: f32,
    /// A darker or lighter edge, as a share of the radius; 0 for none.
    pub rim: f32,
    /// The colour of that edge.
    pub rim_colour: Rgb,
    /// The shape is lighter towards this direction; the length is by how much.
    pub light: [f32; 2],
    /// What fills the image.
    pub background: Background,
    /// Pieces that the shape hides.
    pub behind: Vec<Piece>,
    /// Pieces that hide a little of the shape.
    pub before: Vec<Piece>,
    /// Factor on each channel of the finished picture.
    pub cast: Rgb,
    /// Standard deviation of the pixel noise, in steps of 1/255.
    pub noise: f32,
    /// Key of the noise.
    pub noise_seed: u64,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
}

/// What fills the image behind everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Background {
    /// One colour.
    Plain(Rgb),
    /// From one colour to another across the image.
    Gradient([Rgb; 2], Grid),
    /// Bands of two colours.
    Striped([Rgb; 2], Grid),
    /// A chessboard of two colours.
    Checkered([Rgb; 2], Grid),
}

/// How a background's pattern lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Turn of the pattern.
    pub angle: f32,
    /// Width of one band or field.
    pub pitch: f32,
    /// Shift of the pattern, 0 to 1 of two bands.
    pub phase: f32,
}

/// Clutter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// Its middle.
    pub centre: [f32; 2],
    /// Half its length and half its width.
    pub half: [f32; 2],
    /// Its turn.
    pub angle: f32,
    /// Its colour.
    pub colour: Rgb,
    /// A straight line with round ends, or an ellipse.
    pub is_line: bool,
}

/// The ranges from which a style's knobs are drawn.
struct Style {
    /// Shares of plain, gradient, striped; checkered is the rest.
    backgrounds: [f32; 3],
    background_saturation: [f32; 2],
    background_lightness: [f32; 2],
    /// Of the short side.
    radius: [f32; 2],
    /// Longest way of the shape's middle from the image's, as a share of the short side.
    wander: f32,
    /// Share of the radius that must lie inside the image.
    kept_inside: f32,
    stretch: f32,
    rim_chance: f32,
    light: f32,
    behind: [u32; 2],
    before: [u32; 2],
    cast: f32,
    exposure: [f32; 2],
    noise: [f32; 2],
    quality: [u32; 2],
}

const PRETRAIN: Style = Style {
    backgrounds: [0.50, 0.24, 0.14],
    background_saturation: [0.0, 0.5],
    background_lightness: [0.2, 0.95],
    radius: [0.24, 0.44],
    wander: 0.16,
    kept_inside: 1.0,
    stretch: 1.08,
    rim_chance: 0.2,
    light: 0.08,
    behind: [0, 2],
    before: [0, 0],
    cast: 0.04,
    exposure: [0.94, 1.04],
    noise: [0.0, 5.0],
    quality: [85, 95],
};

const DATASET: Style = Style {
    backgrounds: [0.25, 0.25, 0.25],
    background_saturation: [0.1, 0.95],
    background_lightness: [0.12, 0.92],
    radius: [0.20, 0.42],
    wander: 0.24,
    kept_inside: 0.75,
    stretch: 1.25,
    rim_chance: 0.4,
    light: 0.22,
    behind: [2, 9],
    before: [0, 2],
    cast: 0.08,
    exposure: [0.72, 1.10],
    noise: [3.0, 16.0],
    quality: [75, 95],
};

impl Drawing {
    /// A drawing of `pair` in the style of `domain`; all else comes from `dice`.
    pub fn random(pair: Pair, domain: Domain, dice: &mut Dice) -> Self {
        let style = match domain {
            Domain::Pretrain => &PRETRAIN,
            Domain::Dataset => &DATASET,
        };
        let [width, height] = sides(dice);
        let short = width.min(height) as f32;
        let fill = pair.colour.shade(dice);
        let radius = short * dice.between(style.radius[0], style.radius[1]);
        let mut centre = [width as f32, height as f32].map(|side| side / 2.0);
        for middle in &mut centre {
            let room = (*middle - style.kept_inside * radius).max(0.0);
            let way = (style.wander * short).min(room);
            *middle += dice.between(-way, way);
        }
        let stretch = style.stretch.powf(dice.between(-1.0, 1.0));
        let rim = if dice.chance(style.rim_chance) {
            dice.between(0.05, 0.12)
        } else {
            0.0
        };
        let rim_shade = if dice.chance(0.7) { 20.0 } else { 240.0 };
        let light = dice.between(0.0, style.light);
        let light_angle = dice.between(0.0, TAU);
        let background = background(style, fill, short, dice);
        let behind = (0..dice.from_to(style.behind[0], style.behind[1]))
            .map(|_| piece_behind([width, height], fill, dice))
            .collect();
        let before = (0..dice.from_to(style.before[0], style.before[1]))
            .map(|_| piece_before(centre, radius, fill, dice))
            .collect();
        let exposure = dice.between(style.exposure[0], style.exposure[1]);
        let noise_seed = u64::from(dice.bits());
        Self {
            width,
            height,
            pair,
            fill,
            centre,
            radius,
            angle: dice.between(0.0, TAU),
            stretch,
            corner: dice.between(0.0, 0.08),
            rim,
            rim_colour: mix(fill, [rim_shade; 3], 0.65),
            light: [light * light_angle.cos(), light * light_angle.sin()],
            background,
            behind,
            before,
            cast: [0, 1, 2].map(|_| exposure * (1.0 + dice.between(-style.cast, style.cast))),
            noise: dice.between(style.noise[0], style.noise[1]),
            noise_seed,
            quality: dice.from_to(style.quality[0], style.quality[1]) as u8,
        }
    }
}

/// Width and height: a size, and one side up to 1.6 times the other where there is room.
fn sides(dice: &mut Dice) -> [u32; 2] {
    let short = dice.from_to(SHORTEST_SIDE, 128);
    let long = (short as f32 * dice.between(1.0, 1.6)) as u32;
    let long = long.clamp(short, LONGEST_SIDE);
    if dice.chance(0.5) {
        [short, long]
    } else {
        [long, short]
    }
}

fn background(style: &Style, fill: Rgb, short: f32, dice: &mut Dice) -> Background {
    let mut colour = || {
        apart_from(
            fill,
            style.background_saturation,
            style.background_lightness,
            dice,
        )
    };
    let colours = [colour(), colour()];
    let grid = Grid {
        angle: dice.between(0.0, TAU),
        pitch: short * dice.between(0.06, 0.18),
        phase: dice.unit(),
    };
    let share = dice.unit();
    let [plain, gradient, striped] = style.backgrounds;
    if share < plain {
        Background::Plain(colours[0])
    } else if share < plain + gradient {
        Background::Gradient(colours, grid)
    } else if share < plain + gradient + striped {
        Background::Striped(colours, grid)
    } else {
        Background::Checkered(colours, grid)
    }
}

/// Somewhere in the image, much smaller than the shape.
fn piece_behind([width, height]: [u32; 2], fill: Rgb, dice: &mut Dice) -> Piece {
    let short = width.min(height) as f32;
    let is_line = dice.chance(0.5);
    let half = if is_line {
        [dice.between(0.06, 0.25), dice.between(0.008, 0.02)]
    } else {
        [dice.between(0.02, 0.08), dice.between(0.02, 0.06)]
    };
    Piece {
        centre: [
            dice.between(0.0, width as f32),
            dice.between(0.0, height as f32),
        ],
        half: half.map(|share| share * short),
        angle: dice.between(0.0, TAU),
        colour: apart_from(fill, [0.0, 1.0], [0.1, 0.9], dice),
        is_line,
    }
}

/// Over the shape, yet too small to hide what it is.
fn piece_before(centre: [f32; 2], radius: f32, fill: Rgb, dice: &mut Dice) -> Piece {
    let is_line = dice.chance(0.5);
    let half = if is_line {
        [dice.between(0.4, 1.2), dice.between(0.03, 0.07)]
    } else {
        [dice.between(0.10, 0.26), dice.between(0.10, 0.22)]
    };
    Piece {
        centre: centre.map(|middle| middle + radius * dice.between(-0.9, 0.9)),
        half: half.map(|share| share * radius),
        angle: dice.between(0.0, TAU),
        colour: apart_from(fill, [0.0, 1.0], [0.1, 0.9], dice),
        is_line,
    }
}
