//! The nearest points of every sample.

use super::rays::{Pass, Rays};
use crate::clusters::ClusterLayout;
use crate::gpu::kernels::{params, points as kernels};
use crate::gpu::{AdapterKind, Dispatch, ProgramBuilder, Tensor};
use crate::options::Format;
use crate::{ModelConfig, PointWeighting, Result};

/// The head's points in clusters.
pub(crate) struct Points {
    layout: ClusterLayout,
    /// `[point]`.
    pub positions: Tensor,
    clustered: Tensor,
    bounds: Tensor,
}

impl Points {
    /// Plans the clustering of `positions`; its `members` are bound later.
    pub(crate) fn cluster(
        b: &mut ProgramBuilder<'_>,
        config: &ModelConfig,
        positions: Tensor,
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
        Ok(Self {
            layout,
            positions,
            clustered,
            bounds,
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
        let cpu = b.gpu().kind() == AdapterKind::Cpu;
        let source = if cpu && b.gpu().has_subgroups() {
            &kernels::NEAREST_SUBGROUP
        } else {
            &kernels::NEAREST
        };
        let released = config.point_weighting == PointWeighting::Released;
        let constants = [
            ("WEIGHT_SUMS", released.into()),
            ("SKIP_EMPTY", (!released && b.skips_empty()).into()),
        ];
        let kernel = b.kernel(source, &constants)?;
        // Longer walks reuse more; shorter ones give more threads.
        let segment = pass.samples.min(if cpu { u32::MAX } else { 8 });
        let threads = layout.count * pass.samples.div_ceil(segment);
        let [workgroups, ..] = kernel.source.workgroups([threads, 1, 1]);
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
            ..Default::default()
        };
        b.dispatch(
            Dispatch::new(format!("nearest points, {}", pass.name), &kernel)
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
                .cost(0.0, f64::from(count) * 20.0),
        );
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
