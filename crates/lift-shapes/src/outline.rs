//! The ten shapes as signed distances: negative inside, positive outside, 0 on the edge.
//!
//! Knows no pixels, colours or places. Invariant: every shape lies within [`REACH`] of the origin
//! and is about as large as the unit circle; no rotation turns one shape into another. Distances
//! after Inigo Quilez, "2D distance functions" (iquilezles.org/articles/distfunctions2d).

use std::f32::consts::SQRT_2;

/// No point of a shape is further from the origin.
pub const REACH: f32 = 1.15;

/// The shape's words are the second word of a class name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// Points to the right when not rotated.
    Arrow,
    /// A disc.
    Circle,
    /// A waning moon.
    Crescent,
    /// A plus sign.
    Cross,
    /// As on playing cards.
    Heart,
    /// Regular.
    Hexagon,
    /// A disc with a hole.
    Ring,
    /// Four equal sides.
    Square,
    /// Five points.
    Star,
    /// Three equal sides.
    Triangle,
}

type Point = [f32; 2];

const ARROW: [Point; 7] = [
    [-1.0, -0.26],
    [0.05, -0.26],
    [0.05, -0.76],
    [1.05, 0.0],
    [0.05, 0.76],
    [0.05, 0.26],
    [-1.0, 0.26],
];
const CROSS: [Point; 12] = [
    [-0.31, -0.98],
    [0.31, -0.98],
    [0.31, -0.31],
    [0.98, -0.31],
    [0.98, 0.31],
    [0.31, 0.31],
    [0.31, 0.98],
    [-0.31, 0.98],
    [-0.31, 0.31],
    [-0.98, 0.31],
    [-0.98, -0.31],
    [-0.31, -0.31],
];
const HEXAGON: [Point; 6] = [
    [0.96, 0.0],
    [0.48, 0.8314],
    [-0.48, 0.8314],
    [-0.96, 0.0],
    [-0.48, -0.8314],
    [0.48, -0.8314],
];
const SQUARE: [Point; 4] = [[-0.78, -0.78], [0.78, -0.78], [0.78, 0.78], [-0.78, 0.78]];
/// Radii 1.12 and 0.45.
const STAR: [Point; 10] = [
    [0.0, -1.12],
    [0.2645, -0.3641],
    [1.0652, -0.3461],
    [0.428, 0.1391],
    [0.6583, 0.9061],
    [0.0, 0.45],
    [-0.6583, 0.9061],
    [-0.428, 0.1391],
    [-1.0652, -0.3461],
    [-0.2645, -0.3641],
];
const TRIANGLE: [Point; 3] = [[0.0, -1.1], [0.9526, 0.55], [-0.9526, 0.55]];

impl Shape {
    /// All shapes in the order of their words.
    pub const ALL: [Self; 10] = [
        Self::Arrow,
        Self::Circle,
        Self::Crescent,
        Self::Cross,
        Self::Heart,
        Self::Hexagon,
        Self::Ring,
        Self::Square,
        Self::Star,
        Self::Triangle,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Arrow => "arrow",
            Self::Circle => "circle",
            Self::Crescent => "crescent",
            Self::Cross => "cross",
            Self::Heart => "heart",
            Self::Hexagon => "hexagon",
            Self::Ring => "ring",
            Self::Square => "square",
            Self::Star => "star",
            Self::Triangle => "triangle",
        }
    }

    /// The signed distance of `point` (y down) from the shape's edge.
    pub fn distance(self, point: Point) -> f32 {
        match self {
            Self::Arrow => polygon(&ARROW, point),
            Self::Circle => length(point) - 0.9,
            Self::Crescent => {
                let bite = 0.8 - length([point[0] - 0.5, point[1]]);
                (length(point) - 1.0).max(bite)
            }
            Self::Cross => polygon(&CROSS, point),
            Self::Heart => heart(point),
            Self::Hexagon => polygon(&HEXAGON, point),
            Self::Ring => (length(point) - 0.74).abs() - 0.23,
            Self::Square => polygon(&SQUARE, point),
            Self::Star => polygon(&STAR, point),
            Self::Triangle => polygon(&TRIANGLE, point),
        }
    }
}

fn length([x, y]: Point) -> f32 {
    (x * x + y * y).sqrt()
}

fn polygon(corners: &[Point], [x, y]: Point) -> f32 {
    let mut nearest = f32::INFINITY;
    let mut inside = false;
    let mut previous = corners[corners.len() - 1];
    for &corner in corners {
        let edge = [previous[0] - corner[0], previous[1] - corner[1]];
        let from = [x - corner[0], y - corner[1]];
        let along =
            (from[0] * edge[0] + from[1] * edge[1]) / (edge[0] * edge[0] + edge[1] * edge[1]);
        let along = along.clamp(0.0, 1.0);
        let gap = [from[0] - edge[0] * along, from[1] - edge[1] * along];
        nearest = nearest.min(gap[0] * gap[0] + gap[1] * gap[1]);
        // A ray to one side crosses the outline an odd number of times from inside.
        if (corner[1] > y) != (previous[1] > y) {
            let crossing = edge[0] * from[1] / edge[1];
            inside ^= from[0] < crossing;
        }
        previous = corner;
    }
    if inside {
        -nearest.sqrt()
    } else {
        nearest.sqrt()
    }
}

fn heart([x, y]: Point) -> f32 {
    const SCALE: f32 = 1.72;
    let x = x.abs() / SCALE;
    let y = 0.56 - y / SCALE; // the formula's y points up, its heart stands on the origin
    let unscaled = if x + y > 1.0 {
        length([x - 0.25, y - 0.75]) - SQRT_2 / 4.0
    } else {
        let half = 0.5 * (x + y).max(0.0);
        let side = length([x, y - 1.0]).min(length([x - half, y - half]));
        if x > y { side } else { -side }
    };
    unscaled * SCALE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> impl Iterator<Item = Point> {
        (0..121 * 121).map(|i| [(i % 121) as f32, (i / 121) as f32].map(|v| (v - 60.0) / 40.0))
    }

    #[test]
    fn shapes_reach_no_further_than_said_and_are_of_like_size() {
        for shape in Shape::ALL {
            let mut area = 0;
            for point in grid().filter(|&point| shape.distance(point) < 0.0) {
                assert!(length(point) < REACH, "{shape:?} at {point:?}");
                area += 1;
            }
            let area = area as f32 / (40.0 * 40.0);
            assert!((1.2..2.9).contains(&area), "{shape:?} has area {area}");
        }
    }

    #[test]
    fn distances_change_no_faster_than_the_point_moves() {
        for shape in Shape::ALL {
            for [x, y] in grid() {
                let step = shape.distance([x + 0.01, y]) - shape.distance([x, y]);
                assert!(step.abs() <= 0.0101, "{shape:?} at {x} {y}: {step}");
            }
        }
    }

    #[test]
    fn inside_and_outside_are_where_they_should_be() {
        let inside = |shape: Shape, point| shape.distance(point) < 0.0;
        for shape in Shape::ALL {
            let hollow = matches!(shape, Shape::Ring | Shape::Crescent);
            assert_eq!(inside(shape, [0.02, 0.01]), !hollow, "{shape:?}");
        }
        assert!(inside(Shape::Arrow, [0.9, 0.0]) && !inside(Shape::Arrow, [-0.9, 0.5]));
        assert!(inside(Shape::Heart, [0.0, 0.8]) && !inside(Shape::Heart, [0.0, -0.9]));
        assert!(inside(Shape::Star, [0.0, -1.0]) && !inside(Shape::Star, [0.0, 0.7]));
        assert!(inside(Shape::Triangle, [0.7, 0.5]) && !inside(Shape::Triangle, [0.7, -0.5]));
        assert!(inside(Shape::Cross, [0.9, 0.2]) && !inside(Shape::Cross, [0.6, 0.6]));
    }
}
