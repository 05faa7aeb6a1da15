//! Clusters of neighbouring points, for the search kernels and their reference.

use crate::gpu::kernels::points::layout;

/// Marks an unused place of a cluster.
pub(crate) const NOBODY: u32 = u32::MAX;

/// How points are spread over clusters.
#[derive(Clone, Copy)]
pub(crate) struct ClusterLayout {
    pub clusters: u32,
    /// Places of a cluster.
    pub capacity: u32,
}

impl ClusterLayout {
    /// Most places per cluster, so that clusters are small in space.
    const MOST: u32 = 16;
    /// Clusters of a group.
    pub const GROUP: u32 = layout::GROUP;

    pub fn new(points: u32) -> Self {
        let clusters = points.div_ceil(Self::MOST);
        Self {
            clusters,
            capacity: points.div_ceil(clusters),
        }
    }

    pub fn groups(self) -> u32 {
        self.clusters.div_ceil(Self::GROUP)
    }
}

/// Distributes points over clusters of neighbours: `[cluster][place]`, for the kernel `cluster`.
///
/// The points are halved repeatedly along their longest extent, in proportion to the clusters on
/// either side, so consecutive clusters are neighbours.
pub(crate) fn members(points: &[[f32; 3]]) -> Vec<u32> {
    let layout = ClusterLayout::new(points.len() as u32);
    let mut order: Vec<u32> = (0..points.len() as u32).collect();
    let mut members = Vec::with_capacity((layout.clusters * layout.capacity) as usize);
    split(points, &mut order, layout.clusters, &mut |cluster| {
        members.extend_from_slice(cluster);
        let places = members.len().next_multiple_of(layout.capacity as usize);
        members.resize(places, NOBODY);
    });
    members
}

fn split(points: &[[f32; 3]], order: &mut [u32], clusters: u32, emit: &mut dyn FnMut(&[u32])) {
    if clusters == 1 {
        order.sort_unstable();
        return emit(order);
    }
    let coordinates = |axis: usize| order.iter().map(move |&i| points[i as usize][axis]);
    let extent = |axis: usize| {
        coordinates(axis).fold(f32::MIN, f32::max) - coordinates(axis).fold(f32::MAX, f32::min)
    };
    let extents = [0, 1, 2].map(extent);
    let axis = (0..3).fold(0, |best, axis| {
        if extents[axis] > extents[best] {
            axis
        } else {
            best
        }
    });
    // Rounded up on the left, so that no cluster gets more than its capacity.
    let left = clusters / 2;
    let middle = (order.len() * left as usize).div_ceil(clusters as usize);
    order.select_nth_unstable_by(middle, |&a, &b| {
        points[a as usize][axis]
            .total_cmp(&points[b as usize][axis])
            .then(a.cmp(&b))
    });
    let (low, high) = order.split_at_mut(middle);
    split(points, low, left, emit);
    split(points, high, clusters - left, emit);
}
