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
    pub rooms: Vec<Room>,
}

/// Room for the lists of a level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Places of each cell.
    pub own: u32,
    /// Places of a pool for longer lists, per cell.
    pub pooled: u32,
}

impl CellLevels {
    /// A grid that is worth its while for a frame's samples.
    pub fn new(config: &ModelConfig) -> Self {
        let rays = u64::from(config.low_res_size).pow(2);
        let samples = rays * u64::from(config.coarse_samples + config.fine_samples);
        let depth = match samples {
            0..16_384 => 1,
            16_384..262_144 => 2,
            _ => 3,
        };
        // The mean is about 30 points in the finest cells and 90 in their parents. A few per cent of
        // the lists, inside of a head, are ten times as long.
        let rooms = [(8192, 0), (128, 128), (64, 32)];
        let rooms = rooms.map(|(own, pooled)| Room { own, pooled });
        Self {
            side: 8,
            rooms: rooms[..depth].to_vec(),
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
    /// Places of a list in its record.
    capacity: u32,
    /// Rows of the pool, which follows the records.
    pool_rows: u32,
    /// Whether its records have guides.
    has_guides: bool,
}

impl Level {
    fn cells(self) -> u32 {
        self.side.pow(3)
    }

    /// Row behind the last record.
    fn end(self) -> u32 {
        self.first + self.cells() * self.stride
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
        let count = levels.rooms.len() as u32;
        let mut planned: Vec<Level> = Vec::new();
        let mut rows = 0;
        for (depth, room) in (0..).zip(&levels.rooms) {
            let side = levels.side << depth;
            // The coarsest level has no pool, and is written by the kernel that also finds guides.
            let has_guides = depth == 0 || depth + 1 < count;
            let capacity = room.own.min(points).next_multiple_of(4);
            let pooled = if capacity < points { room.pooled } else { 0 };
            let level = Level {
                side,
                first: rows,
                stride: if has_guides { GUIDED_HEAD } else { HEAD } + capacity / 4,
                capacity,
                pool_rows: side.pow(3) * pooled / 4,
                has_guides,
            };
            rows = level.end() + level.pool_rows;
            planned.push(level);
        }
        let records = b.tensor("cells", Format::F32, [1, rows, 4])?;
        let taken = b.tensor("pools", Format::F32, [1, count + 1, 1])?;
        let mut parent: Option<Level> = None;
        for (depth, level) in (0..).zip(planned) {
            let source = match level.has_guides {
                true => &kernels::CELLS,
                false => &kernels::CELLS_FINEST,
            };
            let kernel = b.kernel(source, &[])?;
            let parameters = params::Level {
                side: level.side,
                first: level.first,
                stride: level.stride,
                capacity: level.capacity,
                pool_first: level.end(),
                pool_rows: level.pool_rows,
                depth,
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
                    .bind("taken", &taken)
                    .grid([level.side; 3])
                    .cost(0.0, f64::from(level.cells()) * 16.0),
            );
            parent = Some(level);
        }
        b.release(taken);
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
