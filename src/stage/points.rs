//! The nearest points of every sample.

use self::cells::{CellLevels, Cells};
use super::rays::{Pass, Rays};
use crate::clusters::ClusterLayout;
use crate::gpu::kernels::{params, points as kernels};
use crate::gpu::{AdapterKind, Dispatch, Gpu, KernelSource, ProgramBuilder, Tensor};
use crate::options::Format;
use crate::{ModelConfig, PointWeighting, Result};

mod cells;

/// How the nearest points are searched for.
#[derive(Clone, Debug)]
pub(crate) enum Search {
    /// In the lists of a grid's cells.
    Cells(CellLevels),
    /// In clusters, each thread on its own.
    Clusters,
    /// In clusters, by subgroups.
    Subgroups,
}

impl Search {
    fn new(gpu: &Gpu, config: &ModelConfig) -> Self {
        match gpu.kind() {
            AdapterKind::Gpu => Self::Cells(CellLevels::new(config)),
            AdapterKind::Cpu if gpu.has_subgroups() => Self::Subgroups,
            AdapterKind::Cpu => Self::Clusters,
        }
    }

    fn kernel(&self) -> &'static KernelSource {
        match self {
            Self::Cells(_) => &kernels::NEAREST_IN_CELLS,
            Self::Clusters => &kernels::NEAREST,
            Self::Subgroups => &kernels::NEAREST_SUBGROUP,
        }
    }
}

/// The head's points in clusters.
pub(crate) struct Points {
    layout: ClusterLayout,
    /// `[point]`.
    pub positions: Tensor,
    clustered: Tensor,
    bounds: Tensor,
    search: Search,
    /// For a search in cells.
    cells: Option<Cells>,
}

impl Points {
    /// Plans what the search needs to know of `positions`. The clusters' `members` are bound later.
    pub(crate) fn cluster(
        b: &mut ProgramBuilder<'_>,
        config: &ModelConfig,
        positions: Tensor,
    ) -> Result<Self> {
        let search = Search::new(b.gpu(), config);
        Self::prepare(b, config, positions, search)
    }

    fn prepare(
        b: &mut ProgramBuilder<'_>,
        config: &ModelConfig,
        positions: Tensor,
        search: Search,
    ) -> Result<Self> {
        b.stage("points");
        let layout = ClusterLayout::new(config.points);
        let [clusters, capacity, groups] = [layout.clusters, layout.capacity, layout.groups()];
        let places = f64::from(clusters * capacity);
        let clustered = b.tensor("clustered points", Format::F32, [clusters, capacity, 4])?;
        let bounds = b.tensor("bounds", Format::F32, [1, clusters + groups, 8])?;
        let kernel = b.kernel(&kernels::CLUSTER, &[])?;
        b.dispatch(
            Dispatch::new("clusters", &kernel)
                .uniform("size", params::Cluster::from(layout.capacity))
                .bind("points", &positions)
                .bind("clustered", &clustered)
                .bind("bounds", &bounds)
                .grid([layout.clusters, 1, 1])
                .cost(places * 6.0, places * 32.0),
        );
        let kernel = b.kernel(&kernels::GROUPS, &[])?;
        b.dispatch(
            Dispatch::new("groups of clusters", &kernel)
                .uniform("size", params::Groups::from(layout.clusters))
                .bind("bounds", &bounds)
                .threads([groups, 1, 1])
                .cost(f64::from(layout.clusters) * 6.0, bounds.bytes() as f64),
        );
        let cells = match &search {
            Search::Cells(levels) => Some(Cells::list(b, levels, config.points, &positions)?),
            _ => None,
        };
        Ok(Self {
            layout,
            positions,
            clustered,
            bounds,
            search,
            cells,
        })
    }

    /// Plans the search for a pass: eight 16-bit indices per sample, then the weight sums.
    pub(crate) fn nearest(
        &self,
        b: &mut ProgramBuilder<'_>,
        config: &ModelConfig,
        globals: &Tensor,
        rays: &Rays,
        pass: &Pass,
    ) -> Result<Neighbours> {
        b.stage("points");
        let layout = rays.layout;
        let count = layout.count * pass.samples;
        // Bound separately, hence at a multiple of the alignment of storage bindings.
        let sums_at = count.next_multiple_of(16);
        // Four words a row: eight 16-bit indices.
        let tensor = b.tensor("neighbours", Format::F32, [sums_at + 2, 1, 4])?;
        let released = config.point_weighting == PointWeighting::Released;
        let constants = [
            ("WEIGHT_SUMS", released.into()),
            ("SKIP_EMPTY", (!released && b.skips_empty()).into()),
        ];
        let kernel = b.kernel(self.search.kernel(), &constants)?;
        // Longer walks reuse more; shorter ones give more threads.
        let (segment, workgroups) = match self.search {
            Search::Cells(_) => {
                use kernels::nearest_in_cells::{DEPTH, TILE};
                let (segment, tiles) = (2 * DEPTH, layout.side.div_ceil(TILE));
                (segment, tiles * tiles * pass.samples.div_ceil(segment))
            }
            Search::Clusters | Search::Subgroups => {
                let [workgroups, ..] = kernel.source.workgroups([layout.count, 1, 1]);
                (pass.samples, workgroups)
            }
        };
        let grid = b.folded(workgroups);
        // The last row of workgroups may run over.
        let workgroups = grid.iter().product();
        let partials = b.tensor("partial weight sums", Format::F32, [1, workgroups, 8])?;
        let parameters = params::Search {
            samples: pass.samples,
            segment,
            clusters: self.layout.clusters,
            capacity: self.layout.capacity,
            groups: self.layout.groups(),
            last: config.points - 1,
            ..Default::default()
        };
        let mut dispatch = Dispatch::new(format!("nearest points, {}", pass.name), &kernel)
            .uniform("march", layout)
            .uniform("search", parameters)
            .bind("globals", globals)
            .bind("rays", &rays.tensor)
            .bind("depths", &pass.depths)
            .bind("points", &self.positions)
            .bind("clustered", &self.clustered)
            .bind("bounds", &self.bounds)
            .bind("neighbours", &tensor)
            .bind("partials", &partials)
            .grid(grid)
            .cost(0.0, f64::from(count) * 20.0);
        if let Some(cells) = &self.cells {
            dispatch = cells.bind(dispatch);
        }
        b.dispatch(dispatch);
        if released {
            let kernel = b.kernel(&kernels::WEIGHT_SUMS, &[])?;
            let sums = tensor.rows(sums_at..sums_at + 2);
            b.dispatch(
                Dispatch::new(format!("weight sums, {}", pass.name), &kernel)
                    .uniform("size", params::WeightSums::from(workgroups))
                    .bind("partials", &partials)
                    .bind("output", &sums)
                    .cost(f64::from(workgroups) * 8.0, f64::from(workgroups) * 32.0),
            );
        }
        b.release(partials);
        b.tap(format!("{}.neighbours", pass.name), &tensor.rows(0..count))?;
        Ok(Neighbours { tensor, sums_at })
    }

    /// Ends the searches.
    pub(crate) fn release(&self, b: &mut ProgramBuilder<'_>) {
        b.release(self.clustered.clone());
        b.release(self.bounds.clone());
        if let Some(cells) = &self.cells {
            cells.release(b);
        }
    }
}

/// The nearest points of a pass' samples.
pub(crate) struct Neighbours {
    /// `[ray][sample]` eight 16-bit indices, then at `sums_at` the bits of the weight sums.
    pub tensor: Tensor,
    /// In units of four words.
    pub sums_at: u32,
}

#[cfg(test)]
pub(super) mod tests;
