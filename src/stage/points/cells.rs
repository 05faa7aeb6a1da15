//! Lists of the points near a grid's cells.

use crate::gpu::kernels::{params, points as kernels};
use crate::gpu::{Dispatch, ProgramBuilder, Tensor};
use crate::options::Format;
use crate::{ModelConfig, Result};

use kernels::cell_lists::{GUIDED_HEAD, HEAD};

/// The grid's levels, coarsest first. Each halves the cells of the one before.
#[derive(Clone, Debug)]
pub(crate) struct CellLevels {
    /// Cells along an axis of the coarsest level.
    pub side: u32,
    /// Most points in a list of each level.
    pub capacities: Vec<u32>,
}

impl CellLevels {
    /// A grid that is worth its while for a frame's samples.
    pub fn new(config: &ModelConfig) -> Self {
        let rays = u64::from(config.low_res_size).pow(2);
        let samples = rays * u64::from(config.coarse_samples + config.fine_samples);
        // Lists have a few dozens of points at last, but several times as many in some cells.
        // These use their parent's.
        let capacities: &[u32] = match samples {
            ..16_384 => &[8192],
            ..262_144 => &[8192, 512],
            _ => &[8192, 512, 96],
        };
        Self {
            side: 8,
            capacities: capacities.to_vec(),
        }
    }
}

/// A level and where its records are.
#[derive(Clone, Copy)]
struct Level {
    side: u32,
    /// Row of the first record, and rows of a record. A row is four words.
    first: u32,
    stride: u32,
    /// Places of a list.
    capacity: u32,
}

impl Level {
    fn cells(self) -> u32 {
        self.side.pow(3)
    }
}

/// The lists of all levels.
pub(super) struct Cells {
    /// `[row]`
    pub records: Tensor,
    pub finest: params::Finest,
}

impl Cells {
    /// Plans the lists for the positions of so many `points`.
    pub fn list(
        b: &mut ProgramBuilder<'_>,
        levels: &CellLevels,
        points: u32,
        positions: &Tensor,
    ) -> Result<Self> {
        let count = levels.capacities.len();
        let mut rows = 0;
        let mut planned: Vec<Level> = Vec::with_capacity(count);
        for (depth, &capacity) in levels.capacities.iter().enumerate() {
            let has_guides = depth == 0 || depth + 1 < count;
            let capacity = capacity.min(points).next_multiple_of(4);
            let level = Level {
                side: levels.side << depth,
                first: rows,
                stride: if has_guides { GUIDED_HEAD } else { HEAD } + capacity / 4,
                capacity,
            };
            rows += level.cells() * level.stride;
            planned.push(level);
        }
        let records = b.tensor("cells", Format::F32, [1, rows, 4])?;
        let mut parent: Option<Level> = None;
        for level in planned {
            let has_guides = level.stride == GUIDED_HEAD + level.capacity / 4;
            let source = match has_guides {
                true => &kernels::CELLS,
                false => &kernels::CELLS_FINEST,
            };
            let kernel = b.kernel(source, &[])?;
            let parameters = params::Level {
                side: level.side,
                first: level.first,
                stride: level.stride,
                capacity: level.capacity,
                parent_first: parent.map_or(0, |parent| parent.first),
                parent_stride: parent.map_or(0, |parent| parent.stride),
                points,
                ..Default::default()
            };
            b.dispatch(
                Dispatch::new(format!("cells, {} per axis", level.side), &kernel)
                    .uniform("level", parameters)
                    .bind("points", positions)
                    .bind("cells", &records)
                    .row(level.cells())
                    .cost(0.0, f64::from(level.cells()) * 16.0),
            );
            parent = Some(level);
        }
        let finest = parent.map_or_else(Default::default, |level| params::Finest {
            side: level.side,
            first: level.first,
            stride: level.stride,
            ..Default::default()
        });
        Ok(Self { records, finest })
    }

    /// Binds them to a search.
    pub fn bind(&self, search: Dispatch) -> Dispatch {
        search
            .uniform("finest", self.finest)
            .bind("cells", &self.records)
    }

    pub fn release(&self, b: &mut ProgramBuilder<'_>) {
        b.release(self.records.clone());
    }
}
