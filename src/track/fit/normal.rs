//! Small dense systems of normal equations.

/// `H · x = b` with a symmetric positive definite `H`, of which the upper triangle is kept.
///
/// Its memory is kept when it becomes smaller and grows again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Normal {
    size: usize,
    /// Row by row; what is below the diagonal is not used.
    pub h: Vec<f64>,
    pub b: Vec<f64>,
}

impl Normal {
    /// Becomes a system of `size` unknowns, all zero.
    pub fn clear(&mut self, size: usize) {
        self.size = size;
        self.h.clear();
        self.h.resize(size * size, 0.0);
        self.b.clear();
        self.b.resize(size, 0.0);
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn diagonal(&mut self, i: usize) -> &mut f64 {
        &mut self.h[i * self.size + i]
    }

    /// Adds the squares of two residuals: their derivatives are the rows, `b` decreases by derivative
    /// times residual. Two at a time read and write `H` half as often.
    pub fn add(&mut self, rows: [&[f64]; 2], residuals: [f64; 2]) {
        let [x, y] = rows.map(|row| &row[..self.size]);
        for (i, (&xi, &yi)) in x.iter().zip(y).enumerate() {
            self.b[i] -= xi * residuals[0] + yi * residuals[1];
            let start = i * self.size;
            let target = &mut self.h[start + i..start + self.size];
            for ((h, xj), yj) in target.iter_mut().zip(&x[i..]).zip(&y[i..]) {
                *h += xi * xj + yi * yj;
            }
        }
    }

    /// Becomes the part of another system with these of its unknowns, in this order.
    pub fn select(&mut self, other: &Self, chosen: &[usize]) {
        self.clear(chosen.len());
        for (i, &row) in chosen.iter().enumerate() {
            self.b[i] = other.b[row];
            let to = i * self.size;
            for (j, &column) in chosen.iter().enumerate().skip(i) {
                let (row, column) = (row.min(column), row.max(column));
                self.h[to + j] = other.h[row * other.size + column];
            }
        }
    }

    /// Eliminates the first `count` unknowns by Cholesky's decomposition `H = Uᵀ · U`. What is left
    /// of the others is their Schur complement, with its right-hand side. False if `H` is not positive
    /// definite.
    pub fn eliminate(&mut self, count: usize) -> bool {
        let size = self.size;
        for k in 0..count {
            let (head, tail) = self.h.split_at_mut((k + 1) * size);
            let row = &mut head[k * size + k..];
            let pivot = row[0].sqrt();
            if !(pivot > 0.0 && pivot.is_finite()) {
                return false;
            }
            for value in &mut *row {
                *value /= pivot;
            }
            self.b[k] /= pivot;
            let b = self.b[k];
            for (i, below) in tail.chunks_exact_mut(size).enumerate() {
                let row = &row[i + 1..];
                let factor = row[0];
                self.b[k + 1 + i] -= factor * b;
                for (value, above) in below[k + 1 + i..].iter_mut().zip(row) {
                    *value -= factor * above;
                }
            }
        }
        true
    }

    /// Adds what is left of another system, of which the first `count` unknowns were eliminated.
    pub fn add_rest(&mut self, other: &Self, count: usize) {
        for i in 0..self.size {
            let from = (count + i) * other.size + count;
            self.b[i] += other.b[count + i];
            for j in i..self.size {
                self.h[i * self.size + j] += other.h[from + j];
            }
        }
    }

    /// Replaces `b` by the solution. False if `H` is not positive definite.
    pub fn solve(&mut self) -> bool {
        let size = self.size;
        if !self.eliminate(size) {
            return false;
        }
        for i in (0..size).rev() {
            let row = &self.h[i * size..(i + 1) * size];
            let known: f64 = (i + 1..size).map(|j| row[j] * self.b[j]).sum();
            self.b[i] = (self.b[i] - known) / row[i];
        }
        self.b.iter().all(|value| value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::Normal;

    /// A system of `n` unknowns whose solution is 1, -2, 3, …
    fn system(n: usize) -> (Normal, Vec<f64>) {
        let truth: Vec<f64> = (0..n)
            .map(|i| (i + 1) as f64 * (1.0 - 2.0 * (i % 2) as f64))
            .collect();
        let mut system = Normal::default();
        system.clear(n);
        let row = |k: usize| -> Vec<f64> {
            (0..n)
                .map(|i| {
                    ((k * 7 + i * 13) % 11) as f64 - 5.0 + f64::from(u8::from(k % n == i)) * 9.0
                })
                .collect()
        };
        for k in 0..2 * n {
            let rows = [row(2 * k), row(2 * k + 1)];
            let product = |row: &[f64]| -row.iter().zip(&truth).map(|(a, b)| a * b).sum::<f64>();
            let residuals = [product(&rows[0]), product(&rows[1])];
            system.add([&rows[0], &rows[1]], residuals);
        }
        (system, truth)
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-8 * expected.abs(),
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn it_is_solved() {
        for n in [1, 2, 7, 40] {
            let (mut system, truth) = system(n);
            assert!(system.solve());
            assert_close(&system.b, &truth);
        }
    }

    #[test]
    fn the_schur_complement_has_the_same_solution() {
        let (mut system, truth) = system(9);
        assert!(system.eliminate(5));
        let mut rest = Normal::default();
        rest.clear(4);
        rest.add_rest(&system, 5);
        assert!(rest.solve());
        assert_close(&rest.b, &truth[5..]);
    }

    #[test]
    fn what_is_not_positive_definite_is_said() {
        let mut system = Normal::default();
        system.clear(3);
        assert!(!system.solve());
        *system.diagonal(0) = f64::NAN;
        assert!(!system.solve());
    }
}
