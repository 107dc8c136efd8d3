//! A drawing's knobs turned into pixels, and pixels into a JPEG file's bytes.
//!
//! Edges are smoothed by their signed distance, which costs one evaluation a pixel where
//! supersampling would cost many. Invariant: the same drawing gives the same bytes.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageResult, RgbImage};

use super::dice::{Dice, Purpose};
use super::drawing::{Background, Drawing, Grid, Piece};
use super::outline::REACH;
use super::palette::{Rgb, mix};

/// The picture of `drawing`.
pub fn draw(drawing: &Drawing) -> RgbImage {
    let mut canvas = Canvas::new(drawing.width, drawing.height);
    canvas.fill(&drawing.background);
    for piece in &drawing.behind {
        canvas.paint_piece(piece);
    }
    canvas.paint_shape(drawing);
    for piece in &drawing.before {
        canvas.paint_piece(piece);
    }
    canvas.finish(drawing)
}

/// The picture of `drawing` as a JPEG file of the drawing's quality.
pub fn draw_jpeg(drawing: &Drawing) -> ImageResult<Vec<u8>> {
    let picture = draw(drawing);
    let mut bytes = Vec::with_capacity(16 << 10);
    JpegEncoder::new_with_quality(&mut bytes, drawing.quality).encode_image(&picture)?;
    Ok(bytes)
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        let [width, height] = [width as usize, height as usize];
        Self {
            width,
            height,
            pixels: vec![[0.0; 3]; width * height],
        }
    }

    fn fill(&mut self, background: &Background) {
        match *background {
            Background::Plain(colour) => self.pixels.fill(colour),
            Background::Gradient([from, to], grid) => {
                let span = (self.width + self.height) as f32;
                let middle = [self.width as f32 / 2.0, self.height as f32 / 2.0];
                self.fill_with(grid.angle, |u, _| {
                    let start = middle[0] * grid.angle.cos() + middle[1] * grid.angle.sin();
                    mix(from, to, ((u - start) / span + 0.5).clamp(0.0, 1.0))
                });
            }
            Background::Striped([one, other], grid) => {
                self.fill_with(grid.angle, |u, _| mix(one, other, band(u, grid)));
            }
            Background::Checkered([one, other], grid) => {
                self.fill_with(grid.angle, |u, v| {
                    let [a, b] = [band(u, grid), band(v, grid)];
                    mix(one, other, a + b - 2.0 * a * b)
                });
            }
        }
    }

    /// Every pixel from its place along (u) and across (v) the direction `angle`.
    fn fill_with(&mut self, angle: f32, colour: impl Fn(f32, f32) -> Rgb) {
        let (sin, cos) = angle.sin_cos();
        for (y, row) in self.pixels.chunks_exact_mut(self.width).enumerate() {
            let y = y as f32 + 0.5;
            for (x, pixel) in row.iter_mut().enumerate() {
                let x = x as f32 + 0.5;
                *pixel = colour(x * cos + y * sin, y * cos - x * sin);
            }
        }
    }

    fn paint_piece(&mut self, piece: &Piece) {
        let (sin, cos) = piece.angle.sin_cos();
        let [long, wide] = piece.half;
        let reach = if piece.is_line {
            long + wide
        } else {
            long.max(wide)
        };
        self.paint(piece.centre, reach, |x, y| {
            let [u, v] = [x * cos + y * sin, y * cos - x * sin];
            let distance = if piece.is_line {
                let past_end = (u.abs() - long).max(0.0);
                (past_end * past_end + v * v).sqrt() - wide
            } else {
                let scaled = ((u / long) * (u / long) + (v / wide) * (v / wide)).sqrt();
                (scaled - 1.0) * long.min(wide)
            };
            (distance, piece.colour)
        });
    }

    fn paint_shape(&mut self, drawing: &Drawing) {
        let shape = drawing.pair.shape;
        let (sin, cos) = drawing.angle.sin_cos();
        let widen = drawing.stretch.sqrt();
        // Rounding the corners adds to the shape all around: shrink it by as much before.
        let scale = drawing.radius * (1.0 - drawing.corner);
        let round = drawing.corner * drawing.radius * 0.8;
        let rim = drawing.rim * drawing.radius;
        let reach = drawing.radius * REACH * widen.max(1.0 / widen);
        self.paint(drawing.centre, reach, |x, y| {
            let [u, v] = [x * cos + y * sin, y * cos - x * sin];
            let point = [u / (scale * widen), v * widen / scale];
            let distance = shape.distance(point) * scale - round;
            let light = 1.0 + (x * drawing.light[0] + y * drawing.light[1]) / drawing.radius;
            let lit = drawing.fill.map(|channel| (channel * light).min(255.0));
            // 0 well inside, 1 on the rim
            let on_rim = (distance + rim + 0.5).clamp(0.0, 1.0);
            let colour = if rim > 0.0 {
                mix(lit, drawing.rim_colour, on_rim)
            } else {
                lit
            };
            (distance, colour)
        });
    }

    /// Blends in what `at` says about points within `reach` of `centre`, given as offsets from it:
    /// their signed distance from the edge, and their colour.
    fn paint(&mut self, centre: [f32; 2], reach: f32, at: impl Fn(f32, f32) -> (f32, Rgb)) {
        let span = |middle: f32, side: usize| {
            let low = (middle - reach - 1.0).max(0.0) as usize;
            let high = (middle + reach + 2.0).max(0.0) as usize;
            low.min(side)..high.min(side)
        };
        let columns = span(centre[0], self.width);
        for row in span(centre[1], self.height) {
            let y = row as f32 + 0.5 - centre[1];
            let start = row * self.width;
            let pixels = &mut self.pixels[start + columns.start..start + columns.end];
            for (column, pixel) in columns.clone().zip(pixels) {
                let (distance, colour) = at(column as f32 + 0.5 - centre[0], y);
                if distance < 0.5 {
                    *pixel = mix(*pixel, colour, (0.5 - distance).min(1.0));
                }
            }
        }
    }

    /// Coloured light, noise, and rounding to whole steps.
    fn finish(self, drawing: &Drawing) -> RgbImage {
        let mut noise = vec![0_u8; self.pixels.len() * 4];
        Dice::new(drawing.noise_seed, Purpose::Noise, 0, 0).fill(&mut noise);
        // The sum of two random bytes has this standard deviation, and mean 255. Each channel
        // has one byte of its own and one that all three share.
        const SUM_DEVIATION: f32 = 104.5;
        let strength = drawing.noise / SUM_DEVIATION;
        let mut bytes = Vec::with_capacity(self.pixels.len() * 3);
        for (pixel, noise) in self.pixels.iter().zip(noise.chunks_exact(4)) {
            for channel in 0..3 {
                let sum = f32::from(noise[channel]) + f32::from(noise[3]);
                let value = pixel[channel] * drawing.cast[channel] + (sum - 255.0) * strength;
                bytes.push((value + 0.5) as u8); // a cast to u8 saturates
            }
        }
        RgbImage::from_raw(drawing.width, drawing.height, bytes)
            .expect("three bytes a pixel of the canvas")
    }
}

/// 0 in one band, 1 in the next, with smooth edges.
fn band(place: f32, grid: Grid) -> f32 {
    let turn = (place / (2.0 * grid.pitch) + grid.phase).rem_euclid(1.0);
    // signed distance to the band's edge in pixels
    let distance = ((turn - 0.5).abs() - 0.25) * 2.0 * grid.pitch;
    (distance + 0.5).clamp(0.0, 1.0)
}
