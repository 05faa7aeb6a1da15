//! Fits of the shipped head model to made-up landmarks, beside the truth.

use std::fmt;

use glam::{DMat3, DVec2, DVec3, DVec4};

use crate::track::{Embedding, Fit, FitOptions, Fitter};
use crate::{Error, HeadModel, Result, TensorFile};

/// Columns of errors: degrees of rotation, pixels between projected front vertices, coefficients of
/// expression and shape.
const COLUMNS: [&str; 4] = ["rotation °", "vertices px", "expression", "shape"];
const ROTATION: usize = 0;
const VERTICES: usize = 1;
const EXPRESSION: usize = 2;
const SHAPE: usize = 3;
/// Shares of the cases that bars are for.
const MEDIAN: f64 = 0.5;
const MOST: f64 = 0.9;

/// What the fits of some cases are off by.
#[derive(Clone, Debug)]
pub struct Row {
    /// The cases, and what was known of them.
    pub name: String,
    /// The errors of each case.
    pub errors: Vec<[f64; 4]>,
    /// Largest errors that are allowed: column, share of the cases, error.
    pub bars: Vec<(usize, f64, f64)>,
}

/// The errors of all kinds of cases.
#[derive(Clone, Debug)]
pub struct Fits(pub Vec<Row>);

impl Fits {
    /// Bars that are not met.
    pub fn failures(&self) -> usize {
        let failed = |row: &Row| row.bars.iter().filter(|bar| !row.meets(bar)).count();
        self.0.iter().map(failed).sum()
    }
}

impl Row {
    fn meets(&self, (column, share, bar): &(usize, f64, f64)) -> bool {
        self.quantile(*column, *share) <= *bar
    }

    /// The error below which a share of the cases lie, between two of them in proportion.
    pub fn quantile(&self, column: usize, share: f64) -> f64 {
        let mut values: Vec<f64> = self.errors.iter().map(|row| row[column]).collect();
        values.sort_by(f64::total_cmp);
        let at = share * (values.len().max(1) - 1) as f64;
        let (low, part) = (at.floor() as usize, at.fract());
        match values[..] {
            [] => f64::NAN,
            _ => {
                let high = (low + 1).min(values.len() - 1);
                values[low] * (1.0 - part) + values[high] * part
            }
        }
    }
}

impl fmt::Display for Fits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:34}", "fits: median / 90 %")?;
        for column in COLUMNS {
            write!(f, "  {column:>17}")?;
        }
        for row in &self.0 {
            write!(f, "\n{:34}", row.name)?;
            for column in 0..COLUMNS.len() {
                let [median, most] = [MEDIAN, MOST].map(|share| row.quantile(column, share));
                write!(f, "  {median:8.4} {most:8.4}")?;
            }
            let failed = row.bars.iter().filter(|bar| !row.meets(bar));
            let mut passed = true;
            for (column, share, bar) in failed {
                passed = false;
                let column = COLUMNS[*column];
                write!(
                    f,
                    "  FAIL: {column} more than {bar} at {:.0} %",
                    100.0 * share
                )?;
            }
            if passed && !row.bars.is_empty() {
                write!(f, "  ok")?;
            }
        }
        Ok(())
    }
}

/// True if [`fits`] reads this file.
pub fn is_case(file: &TensorFile) -> bool {
    file.contains("single.landmarks")
}

/// Fits a head model to the landmarks of a file, in pixels of 512 at the points of
/// [`Embedding::shipped`]:
///
/// - `single.shape` `[N, S]`, `.expression` `[N, E]`, `.transform` `[N, 3, 4]`: the truth;
///   `.landmarks` `[N, L, 2]`, exact; `.noise` of one pixel, and `.stray` to be added;
///   `.start_expression`, `.start_transform`: states near the truth;
/// - `joint.shape` and so on, `[P, 5, …]`: five pictures of each person.
///
/// # Errors
/// [`Error::Tensors`] if a tensor is missing or of another shape, and the errors of
/// [`Fitter::fit`].
pub fn fits(file: &TensorFile, head: &HeadModel) -> Result<Fits> {
    let single = Cases::read(file, "single", head)?;
    let strays = places(file, "single.stray", single.points)?;
    let astray = |mut landmarks: Vec<Vec<Option<DVec2>>>| {
        let strays = strays.iter().flatten();
        for (place, stray) in landmarks.iter_mut().flatten().zip(strays) {
            *place = place.map(|place| place + *stray);
        }
        landmarks
    };
    let mut rows = Vec::new();
    let kinds = || {
        [
            ("exact", single.noisy(0.0), 0.1),
            ("1 px", single.noisy(1.0), 1.0),
            ("2 px and strays", astray(single.noisy(2.0)), 2.0),
        ]
    };
    let bars = [
        ([0.1, 0.6, 0.02], [0.35, 1.0]),
        ([1.1, 1.65, 0.075], [2.0, 2.3]),
        ([1.75, 2.4, 0.1], [2.9, 3.2]),
    ];
    for ((label, landmarks, sigma), (medians, most)) in kinds().into_iter().zip(bars) {
        let mut bars = medians_within(&medians);
        bars.extend([(ROTATION, MOST, most[0]), (VERTICES, MOST, most[1])]);
        rows.push(Row {
            name: format!("single, {label}"),
            errors: single.fit(&landmarks, sigma, false)?,
            bars,
        });
    }
    let bars = [[0.01, 0.06, 0.013], [0.45, 0.85, 0.07], [0.9, 1.55, 0.095]];
    for ((label, landmarks, sigma), medians) in kinds().into_iter().zip(bars) {
        rows.push(Row {
            name: format!("identity known, {label}"),
            errors: single.fit(&landmarks, sigma, true)?,
            bars: medians_within(&medians),
        });
    }
    rows.push(Row {
        name: "identity known, followed, 1 px".into(),
        errors: single.follow(file)?,
        bars: medians_within(&bars[1]),
    });
    if file.contains("joint.landmarks") {
        let joint = Cases::read(file, "joint", head)?;
        let landmarks = joint.noisy(1.0);
        let alone = joint.fit(&landmarks, 1.0, false)?;
        let mean = alone.iter().map(|row| row[SHAPE]).sum::<f64>() / alone.len() as f64;
        rows.push(Row {
            name: "five pictures, each alone, 1 px".into(),
            errors: alone,
            bars: Vec::new(),
        });
        rows.push(Row {
            name: "five pictures together, 1 px".into(),
            errors: joint.together(&landmarks)?,
            bars: vec![
                (ROTATION, MEDIAN, 0.8),
                (VERTICES, MEDIAN, 1.4),
                (SHAPE, MEDIAN, 0.75 * mean),
            ],
        });
    }
    Ok(Fits(rows))
}

/// Bars of the medians of rotation, vertices and expression.
fn medians_within(bars: &[f64; 3]) -> Vec<(usize, f64, f64)> {
    let columns = [ROTATION, VERTICES, EXPRESSION].into_iter().zip(bars);
    columns
        .map(|(column, bar)| (column, MEDIAN, *bar))
        .collect()
}

/// Made-up pictures of which everything is known.
pub(crate) struct Cases<'a> {
    pub head: &'a HeadModel,
    pub truth: Vec<Fit>,
    pub landmarks: Vec<Vec<DVec2>>,
    noise: Vec<Vec<DVec2>>,
    points: usize,
}

impl<'a> Cases<'a> {
    /// Reads the cases of a name.
    pub fn read(file: &TensorFile, name: &str, head: &'a HeadModel) -> Result<Self> {
        let points = Embedding::shipped().points().len();
        let read = |field: &str| numbers(file, &format!("{name}.{field}"));
        let transforms = read("transform")?;
        let count = transforms.len() / 12;
        let rows = |field: &str, width: usize| {
            let values = read(field)?;
            expect(
                file,
                &format!("{name}.{field}"),
                values.len(),
                count * width,
            )?;
            Ok::<_, Error>(values)
        };
        let (shapes, expressions) = (head.shape_count(), head.expression_count());
        let shape = rows("shape", shapes)?;
        let expression = rows("expression", expressions)?;
        let truth = transforms.chunks_exact(12).enumerate().map(|(i, rows)| {
            let (rotation, translation) = camera(rows);
            Fit {
                shape: shape[i * shapes..(i + 1) * shapes].to_vec(),
                expression: expression[i * expressions..(i + 1) * expressions].to_vec(),
                jaw: DVec3::ZERO,
                rotation,
                translation,
                residual: 0.0,
                poor: false,
            }
        });
        let truth: Vec<Fit> = truth.collect();
        let [landmarks, noise] = ["landmarks", "noise"].map(|field| {
            let field = format!("{name}.{field}");
            let places = places(file, &field, points)?;
            expect(file, &field, places.len(), count)?;
            Ok::<_, Error>(places)
        });
        Ok(Self {
            head,
            truth,
            landmarks: landmarks?,
            noise: noise?,
            points,
        })
    }

    /// A fitter whose landmarks have this standard deviation.
    pub fn fitter(&self, sigma: f32) -> Result<Fitter> {
        let embedding = Embedding::shipped().with_sigma(sigma)?;
        Fitter::new(self.head, &embedding, FitOptions::of(self.head))
    }

    /// Landmarks with so much of the noise.
    pub fn noisy(&self, amount: f64) -> Vec<Vec<Option<DVec2>>> {
        let both = self.landmarks.iter().zip(&self.noise);
        let add = |(places, noise): (&Vec<DVec2>, &Vec<DVec2>)| {
            let places = places.iter().zip(noise);
            places
                .map(|(place, noise)| Some(*place + amount * *noise))
                .collect()
        };
        both.map(add).collect()
    }

    fn fit(
        &self,
        landmarks: &[Vec<Option<DVec2>>],
        sigma: f32,
        known: bool,
    ) -> Result<Vec<[f64; 4]>> {
        let mut fitter = self.fitter(sigma)?;
        let pairs = landmarks.iter().zip(&self.truth);
        let fit = |(landmarks, truth): (&Vec<Option<DVec2>>, &Fit)| {
            let shape = known.then_some(&*truth.shape);
            Ok(self.errors(truth, &fitter.fit(landmarks, shape)?))
        };
        pairs.map(fit).collect()
    }

    /// States near the truth, of a file's single cases.
    pub fn starts(&self, file: &TensorFile) -> Result<Vec<Fit>> {
        let expressions = numbers(file, "single.start_expression")?;
        let transforms = numbers(file, "single.start_transform")?;
        let width = self.head.expression_count();
        let count = self.truth.len();
        expect(
            file,
            "single.start_expression",
            expressions.len(),
            count * width,
        )?;
        expect(file, "single.start_transform", transforms.len(), count * 12)?;
        let rows = expressions
            .chunks_exact(width)
            .zip(transforms.chunks_exact(12));
        let starts = self
            .truth
            .iter()
            .zip(rows)
            .map(|(truth, (expression, rows))| {
                let (rotation, translation) = camera(rows);
                Fit {
                    expression: expression.to_vec(),
                    rotation,
                    translation,
                    ..truth.clone()
                }
            });
        Ok(starts.collect())
    }

    fn follow(&self, file: &TensorFile) -> Result<Vec<[f64; 4]>> {
        let mut fitter = self.fitter(1.0)?;
        let landmarks = self.noisy(1.0);
        let states = self
            .starts(file)?
            .into_iter()
            .zip(&landmarks)
            .zip(&self.truth);
        let follow = |((mut fit, landmarks), truth): ((Fit, &Vec<_>), &Fit)| {
            fitter.follow(&mut fit, landmarks)?;
            Ok(self.errors(truth, &fit))
        };
        states.map(follow).collect()
    }

    /// Fits the five pictures of each person.
    fn together(&self, landmarks: &[Vec<Option<DVec2>>]) -> Result<Vec<[f64; 4]>> {
        let mut fitter = self.fitter(1.0)?;
        let mut errors = Vec::new();
        for (pictures, truth) in landmarks.chunks(5).zip(self.truth.chunks(5)) {
            let fits = fitter.fit_together(pictures)?;
            errors.extend(
                fits.iter()
                    .zip(truth)
                    .map(|(fit, truth)| self.errors(truth, fit)),
            );
        }
        Ok(errors)
    }

    /// Vertices of the front, in pixels of 512.
    fn vertices(&self, fit: &Fit) -> Vec<DVec2> {
        let parts = self.head.parts();
        let count = self.head.vertex_count();
        let options = FitOptions::of(self.head);
        let vector = |v: &[f32; 3]| DVec3::from_array(v.map(f64::from));
        let front = (0..count).filter(|&i| parts.template[i][2] > 0.0);
        let project = |i: usize| {
            let mut vertex = vector(&parts.template[i]);
            for (basis, coefficients) in [
                (&parts.shape_basis, &fit.shape),
                (&parts.expression_basis, &fit.expression),
            ] {
                for (basis, c) in basis.chunks_exact(count).zip(coefficients) {
                    vertex += *c * vector(&basis[i]);
                }
            }
            let scaled = f64::from(parts.scale) * vertex;
            let place = fit.rotation.transpose() * scaled + fit.translation;
            options.size / 2.0 * (1.0 - options.focal * place.truncate() / place.z)
        };
        front.map(project).collect()
    }

    /// What a fit is off by.
    fn errors(&self, truth: &Fit, found: &Fit) -> [f64; 4] {
        let (a, b) = (self.vertices(truth), self.vertices(found));
        let distances = a.iter().zip(&b).map(|(a, b)| a.distance(*b));
        let mean = |a: &[f64], b: &[f64]| {
            a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64
        };
        [
            degrees(truth.rotation, found.rotation),
            distances.sum::<f64>() / a.len() as f64,
            mean(&truth.expression, &found.expression),
            mean(&truth.shape, &found.shape),
        ]
    }
}

/// The angle between two rotations.
pub(crate) fn degrees(a: DMat3, b: DMat3) -> f64 {
    crate::track::maths::vector_of(a.transpose() * b)
        .length()
        .to_degrees()
}

fn numbers(file: &TensorFile, name: &str) -> Result<Vec<f64>> {
    Ok(file.f32(name)?.iter().map(|v| f64::from(*v)).collect())
}

/// Rows of so many places.
fn places(file: &TensorFile, name: &str, points: usize) -> Result<Vec<Vec<DVec2>>> {
    let numbers = numbers(file, name)?;
    let rows = numbers.chunks_exact(2 * points);
    expect(file, name, numbers.len(), rows.len() * 2 * points)?;
    let row = |row: &[f64]| {
        row.as_chunks()
            .0
            .iter()
            .copied()
            .map(DVec2::from_array)
            .collect()
    };
    Ok(rows.map(row).collect())
}

fn expect(file: &TensorFile, name: &str, found: usize, expected: usize) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => {
            let problem = format!("{name}: expected {expected} numbers or rows, found {found}");
            Err(Error::tensor(file.what(), problem))
        }
    }
}

/// Rotation and translation of a 3 x 4 matrix.
fn camera(rows: &[f64]) -> (DMat3, DVec3) {
    let rows = [0, 1, 2].map(|i| DVec4::from_slice(&rows[4 * i..]));
    let [a, b, c] = rows.map(|row| row.truncate());
    let place = DVec3::from_array(rows.map(|row| row.w));
    (DMat3::from_cols(a, b, c).transpose(), place)
}
