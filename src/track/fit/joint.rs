//! One identity for several pictures.

use glam::DVec2;

use super::{Fit, Fitter, Free, POSE, add_prior, bounds};
use crate::error::{Error, Result};

/// Rounds of fitting the pictures, then the shape.
const ROUNDS: usize = 6;
/// Iterations for each picture in a round, and in the end.
const ITERATIONS: [usize; 2] = [3, 4];
/// Added to the diagonal of a picture's own unknowns.
const DAMPING: f64 = 1e-6;

impl Fitter {
    /// Fits several pictures of one person: the fits have the same shape. Pictures from different
    /// sides tell more than many from one.
    ///
    /// Pictures and shape are solved for in turns. For a step of the shape each picture's own unknowns
    /// are eliminated, so that the step knows how they will follow.
    ///
    /// # Errors
    /// [`Error::Argument`] without pictures, and those of [`Fitter::fit`], with the picture's index.
    pub fn fit_together(&mut self, pictures: &[Vec<Option<DVec2>>]) -> Result<Vec<Fit>> {
        let found = pictures.len();
        Error::unless(found > 0, "pictures of a fit", "at least one", found)?;
        let mut fits = Vec::with_capacity(pictures.len());
        for (i, landmarks) in pictures.iter().enumerate() {
            let fit = self.fit(landmarks, None);
            fits.push(fit.map_err(|error| error.of(format_args!("picture {i}")))?);
        }
        let mut shape = vec![0.0; self.points.shapes()];
        for fit in &fits {
            for (sum, s) in shape.iter_mut().zip(&fit.shape) {
                *sum += s / fits.len() as f64;
            }
        }
        for _ in 0..ROUNDS {
            self.fit_each(pictures, &mut fits, &shape, ITERATIONS[0], Some(true))?;
            self.step_shape(pictures, &fits, &mut shape)?;
        }
        self.fit_each(pictures, &mut fits, &shape, ITERATIONS[1], None)?;
        Ok(fits)
    }

    /// Moves each picture's own unknowns with the shape held.
    fn fit_each(
        &mut self,
        pictures: &[Vec<Option<DVec2>>],
        fits: &mut [Fit],
        shape: &[f64],
        iterations: usize,
        gauge: Option<bool>,
    ) -> Result<()> {
        for (landmarks, fit) in pictures.iter().zip(fits) {
            fit.shape.copy_from_slice(shape);
            self.resume(fit)?;
            for _ in 0..iterations {
                self.iterate(landmarks, Free::Expression, gauge)?;
            }
            self.finish(landmarks, fit)?;
        }
        Ok(())
    }

    /// One step of the shape of all pictures.
    fn step_shape(
        &mut self,
        pictures: &[Vec<Option<DVec2>>],
        fits: &[Fit],
        shape: &mut [f64],
    ) -> Result<()> {
        let shapes = shape.len();
        let mut sum = std::mem::take(&mut self.work.shared);
        sum.clear(shapes);
        for (i, s) in shape.iter().enumerate() {
            add_prior(&mut sum, i, *s, self.options.shape);
        }
        for (landmarks, fit) in pictures.iter().zip(fits) {
            self.resume(fit)?;
            let first = self.assemble(landmarks, Free::All)?;
            // The shape's prior counts once.
            let size = self.work.system.size();
            self.add_priors(first, POSE + shapes..size);
            self.add_gauge();
            let Self {
                work,
                points,
                options,
                ..
            } = self;
            let own = |i: usize| {
                i < POSE || {
                    let [low, high] = bounds(points, options, i - POSE);
                    let value = work.coefficients[i - POSE];
                    value > low && value < high
                }
            };
            work.chosen.clear();
            let all = (0..POSE).chain(POSE + shapes..work.system.size());
            work.chosen.extend(all.filter(|&i| own(i)));
            let count = work.chosen.len();
            work.chosen.extend(POSE..POSE + shapes);
            work.part.select(&work.system, &work.chosen);
            for i in 0..count {
                *work.part.diagonal(i) += DAMPING;
            }
            if !work.part.eliminate(count) {
                return Err(Self::no_face());
            }
            sum.add_rest(&work.part, count);
        }
        if !sum.solve() {
            return Err(Self::no_face());
        }
        for (s, step) in shape.iter_mut().zip(&sum.b) {
            *s += step;
        }
        self.work.shared = sum;
        Ok(())
    }
}
