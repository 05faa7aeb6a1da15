//! How well pictures with alpha composite: their edges over several backgrounds, beside the truth's.

use image::{Rgba, RgbaImage};
use serde::Serialize;

use crate::metrics::mean;

/// Opacities between which a pixel of the truth is an edge.
const EDGE: (f32, f32) = (0.02, 0.98);
/// Pixels around an edge that count, too.
const NEAR: usize = 2;
/// An edge is well drawn where the colours on black are this close to the truth's, over as many pixels
/// around: there only alpha can be wrong.
const WELL_DRAWN: f32 = 0.02;
/// Over white, more than this is seen as a rim.
const RIM: f32 = 0.1;

/// The edges of some pictures.
#[derive(Default)]
pub struct Edges {
    /// Of every pixel: mean absolute difference from the truth over the channels of all backgrounds.
    all: Vec<f32>,
    well_drawn: Vec<f32>,
    darker: usize,
    brighter: usize,
    alpha: Vec<f32>,
    /// Pictures, and those with alpha in their top row where the truth has none.
    pictures: usize,
    ghosts: usize,
}

/// Measures of edges. Differences are of colours from 0 to 1.
#[derive(Debug, Serialize)]
pub struct EdgeScores {
    /// Mean difference from the truth over red, white, grey and a picture, and what 95 % are within.
    pub difference: f64,
    pub difference_95: f64,
    /// The same where the colours on black are close to the truth's.
    pub well_drawn: f64,
    pub well_drawn_95: f64,
    /// Shares of edge pixels that are darker or brighter over white, by more than a tenth.
    pub darker: f64,
    pub brighter: f64,
    /// Mean difference of alpha.
    pub alpha: f64,
    /// Share of pictures with something at the top where the truth has nothing.
    pub ghosts: f64,
}

/// Straight colours and alpha from 0 to 1.
fn floats(Rgba(pixel): &Rgba<u8>) -> [f32; 4] {
    pixel.map(|c| f32::from(c) / 255.0)
}

/// Colours over a background.
fn over([r, g, b, alpha]: [f32; 4], behind: [f32; 3]) -> [f32; 3] {
    let front = [r, g, b];
    [0, 1, 2].map(|c| front[c] * alpha + behind[c] * (1.0 - alpha))
}

fn difference(a: [f32; 3], b: [f32; 3]) -> f32 {
    (0..3).map(|c| (a[c] - b[c]).abs()).sum::<f32>() / 3.0
}

impl Edges {
    /// Compares a rendering with the truth, both square, of the same size and with straight alpha.
    /// `scene` is the picture behind.
    pub fn add(&mut self, rendering: &RgbaImage, truth: &RgbaImage, scene: &RgbaImage) {
        let side = truth.width() as usize;
        let [found, expected] =
            [rendering, truth].map(|p| p.pixels().map(floats).collect::<Vec<_>>());
        let black = [0.0; 3];
        let on_black: Vec<f32> = (found.iter().zip(&expected))
            .map(|(f, e)| difference(over(*f, black), over(*e, black)))
            .collect();
        // Any predicate of, or mean over, the pixels around.
        let around = |i: usize| {
            let (x, y) = (i % side, i / side);
            let within = move |c: usize| c.saturating_sub(NEAR)..(c + NEAR + 1).min(side);
            within(y).flat_map(move |y| within(x).map(move |x| y * side + x))
        };
        let is_edge = |i: usize| EDGE.0 < expected[i][3] && expected[i][3] < EDGE.1;
        for i in (0..side * side).filter(|i| around(*i).any(is_edge)) {
            let (x, y) = ((i % side) as u32, (i / side) as u32);
            let at = |c: u32, from: u32, to: u32| (c * to / from).min(to - 1);
            let behind = scene.get_pixel(
                at(x, side as u32, scene.width()),
                at(y, side as u32, scene.height()),
            );
            let scene = over(floats(behind), [0.25, 0.5, 0.75]);
            let backgrounds = [[1.0, 0.0, 0.0], [1.0; 3], [0.5; 3], scene];
            let error = backgrounds.map(|b| difference(over(found[i], b), over(expected[i], b)));
            let error = error.iter().sum::<f32>() / backgrounds.len() as f32;
            self.all.push(error);
            let drawn = around(i).map(|i| f64::from(on_black[i]));
            if mean(drawn).is_some_and(|mean| mean < f64::from(WELL_DRAWN)) {
                self.well_drawn.push(error);
            }
            let white =
                [found[i], expected[i]].map(|p| over(p, [1.0; 3]).iter().sum::<f32>() / 3.0);
            self.darker += usize::from(white[0] < white[1] - RIM);
            self.brighter += usize::from(white[0] > white[1] + RIM);
            self.alpha.push((found[i][3] - expected[i][3]).abs());
        }
        self.pictures += 1;
        let ghost = |(f, e): (&[f32; 4], &[f32; 4])| f[3] > 0.1 && e[3] == 0.0;
        let top = 0..side;
        let clear = top.clone().all(|x| expected[x][3] == 0.0);
        let found = found[top.clone()].iter().zip(&expected[top]).any(ghost);
        self.ghosts += usize::from(clear && found);
    }

    /// `None` without any edges.
    pub fn scores(mut self) -> Option<EdgeScores> {
        let of = |values: &mut Vec<f32>| {
            values.sort_by(f32::total_cmp);
            let mean = mean(values.iter().map(|v| f64::from(*v)))?;
            Some((mean, f64::from(values[(values.len() - 1) * 95 / 100])))
        };
        let count = self.all.len() as f64;
        let (difference, difference_95) = of(&mut self.all)?;
        let (well_drawn, well_drawn_95) = of(&mut self.well_drawn).unwrap_or_default();
        Some(EdgeScores {
            difference,
            difference_95,
            well_drawn,
            well_drawn_95,
            darker: self.darker as f64 / count,
            brighter: self.brighter as f64 / count,
            alpha: mean(self.alpha.iter().map(|v| f64::from(*v)))?,
            ghosts: self.ghosts as f64 / self.pictures as f64,
        })
    }
}
