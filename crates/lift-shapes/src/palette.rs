//! The ten colours, each a range of hues and lightnesses, and colours for all that is not named.
//!
//! Invariant: neighbours (red and orange, orange and brown, cyan and blue, ...) come close to each
//! other but do not overlap, so that a person can name nearly every drawn colour.

use super::dice::Dice;

/// Red, green, blue, each 0 to 255, not gamma-corrected.
pub type Rgb = [f32; 3];

/// The colour's words are the first word of a class name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colour {
    /// From azure to ultramarine.
    Blue,
    /// Dark orange.
    Brown,
    /// Between green and blue.
    Cyan,
    /// No colour, neither black nor white.
    Gray,
    /// From lime to forest.
    Green,
    /// Between red and yellow.
    Orange,
    /// Light red.
    Pink,
    /// Between blue and red.
    Purple,
    /// From crimson to vermilion.
    Red,
    /// Between orange and green.
    Yellow,
}

impl Colour {
    /// All colours in the order of their words.
    pub const ALL: [Self; 10] = [
        Self::Blue,
        Self::Brown,
        Self::Cyan,
        Self::Gray,
        Self::Green,
        Self::Orange,
        Self::Pink,
        Self::Purple,
        Self::Red,
        Self::Yellow,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Brown => "brown",
            Self::Cyan => "cyan",
            Self::Gray => "gray",
            Self::Green => "green",
            Self::Orange => "orange",
            Self::Pink => "pink",
            Self::Purple => "purple",
            Self::Red => "red",
            Self::Yellow => "yellow",
        }
    }

    /// One of the shades that go by this word.
    pub fn shade(self, dice: &mut Dice) -> Rgb {
        // hue in degrees, saturation and lightness, each with its reach to both sides
        let ([hue, hue_reach], [saturation, saturation_reach], [lightness, lightness_reach]) =
            match self {
                Self::Red => ([356.0, 9.0], [0.82, 0.12], [0.46, 0.06]),
                Self::Orange => ([25.0, 6.0], [0.92, 0.08], [0.53, 0.04]),
                Self::Yellow => ([55.0, 5.0], [0.92, 0.08], [0.54, 0.06]),
                Self::Green => ([122.0, 20.0], [0.65, 0.17], [0.36, 0.08]),
                Self::Cyan => ([183.0, 8.0], [0.85, 0.12], [0.51, 0.07]),
                Self::Blue => ([221.0, 12.0], [0.80, 0.15], [0.46, 0.08]),
                Self::Purple => ([277.0, 12.0], [0.62, 0.15], [0.42, 0.07]),
                Self::Pink => ([335.0, 11.0], [0.85, 0.10], [0.75, 0.05]),
                Self::Brown => ([23.0, 7.0], [0.56, 0.10], [0.28, 0.05]),
                Self::Gray => ([180.0, 180.0], [0.03, 0.03], [0.50, 0.12]),
            };
        let mut draw = |middle: f32, reach: f32| dice.between(middle - reach, middle + reach);
        from_hsl(
            draw(hue, hue_reach),
            draw(saturation, saturation_reach),
            draw(lightness, lightness_reach),
        )
    }
}

/// A colour of any hue with saturation and lightness within the given ranges, well apart from
/// `other` so that a shape of that colour stands out against it.
pub fn apart_from(other: Rgb, saturation: [f32; 2], lightness: [f32; 2], dice: &mut Dice) -> Rgb {
    const FAR_ENOUGH: f32 = 105.0;
    const TRIES: usize = 20;
    let mut best = ([0.0; 3], -1.0);
    for _ in 0..TRIES {
        let candidate = from_hsl(
            dice.between(0.0, 360.0),
            dice.between(saturation[0], saturation[1]),
            dice.between(lightness[0], lightness[1]),
        );
        let gap = distance(candidate, other);
        if gap > best.1 {
            best = (candidate, gap);
        }
        if gap >= FAR_ENOUGH {
            break;
        }
    }
    best.0
}

/// `share` of the way from `a` to `b`.
pub fn mix(a: Rgb, b: Rgb, share: f32) -> Rgb {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * share)
}

/// How different two colours look, roughly: 0 to about 765 ("redmean").
fn distance(a: Rgb, b: Rgb) -> f32 {
    let mean_red = (a[0] + b[0]) / 2.0;
    let [r, g, b] = [0, 1, 2].map(|i| (a[i] - b[i]) * (a[i] - b[i]));
    ((2.0 + mean_red / 256.0) * r + 4.0 * g + (2.0 + (255.0 - mean_red) / 256.0) * b).sqrt()
}

/// Hue in degrees (any), saturation and lightness in 0 to 1.
fn from_hsl(hue: f32, saturation: f32, lightness: f32) -> Rgb {
    let reach = saturation * lightness.min(1.0 - lightness);
    [0.0, 8.0, 4.0].map(|n| {
        let k = (n + hue / 30.0).rem_euclid(12.0);
        255.0 * (lightness - reach * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Purpose;

    #[test]
    fn hsl_of_known_colours() {
        assert_eq!(from_hsl(0.0, 1.0, 0.5), [255.0, 0.0, 0.0]);
        assert_eq!(from_hsl(-240.0, 1.0, 0.5), [0.0, 255.0, 0.0]);
        assert_eq!(from_hsl(60.0, 1.0, 1.0), [255.0; 3]);
        assert_eq!(from_hsl(10.0, 0.0, 0.2), [51.0; 3]);
    }

    #[test]
    fn shades_are_nearest_to_their_own_word() {
        let mut dice = Dice::new(0, Purpose::Plan, 0, 0);
        let shades: Vec<(Colour, Rgb)> = Colour::ALL
            .iter()
            .flat_map(|&colour| (0..60).map(move |_| colour))
            .map(|colour| (colour, colour.shade(&mut dice)))
            .collect();
        let mut strays = 0;
        for (i, (colour, shade)) in shades.iter().enumerate() {
            assert!(shade.iter().all(|v| (0.0..=255.0).contains(v)));
            let (_, nearest) = shades
                .iter()
                .enumerate()
                .filter(|(j, _)| *j != i)
                .min_by(|(_, a), (_, b)| distance(a.1, *shade).total_cmp(&distance(b.1, *shade)))
                .unwrap();
            strays += usize::from(nearest.0 != *colour);
        }
        assert!(strays < shades.len() / 50, "{strays} strays");
    }

    #[test]
    fn backgrounds_keep_their_distance() {
        let mut dice = Dice::new(1, Purpose::Plan, 0, 0);
        for colour in Colour::ALL {
            for _ in 0..50 {
                let shade = colour.shade(&mut dice);
                let background = apart_from(shade, [0.1, 0.9], [0.15, 0.9], &mut dice);
                assert!(distance(shade, background) > 90.0, "{colour:?}");
            }
        }
    }
}
