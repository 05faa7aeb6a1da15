#define_import_path gpavatar::cluster_search

// The eight nearest points of a position, exactly, by one thread that looks into clusters.

#import gpavatar::search::{search, clustered, bounds, squared, from_box, limit}
#import gpavatar::search_layout::GROUP
#import gpavatar::top_k::{NONE, Nearest, nobody, insert}

fn box_distance(box: u32, at: vec3<f32>) -> f32 {
    return from_box(bounds[box * 2u].xyz, bounds[box * 2u + 1u].xyz, at);
}

// The nearest of the boxes first..end.
fn nearest_box(first: u32, end: u32, at: vec3<f32>) -> u32 {
    var nearest = first;
    var best = box_distance(first, at);
    for (var box = first + 1u; box < end; box++) {
        let d = box_distance(box, at);
        nearest = select(nearest, box, d < best);
        best = min(best, d);
    }
    return nearest;
}

// End of a group's clusters.
fn group_end(group: u32) -> u32 {
    return min((group + 1u) * GROUP, search.clusters);
}

fn scan(cluster: u32, at: vec3<f32>, found: Nearest) -> Nearest {
    var list = found;
    let first = cluster * search.capacity;
    for (var i = first; i < first + search.capacity; i++) {
        let point = clustered[i];
        let d = squared(at - point.xyz);
        if d <= list.d_h {
            list = insert(list, d, u32(point.w));
        }
    }
    return list;
}

// Looks into the nearest cluster of the nearest group first, unless the neighbours of another position
// are `known`: then the eighth distance is at most the largest to them. Groups and clusters whose box
// is farther than the eighth distance so far are skipped.
fn nearest_in_clusters(at: vec3<f32>, known: Nearest) -> Nearest {
    var list = nobody(limit(at, known));
    var scanned = search.clusters;
    if known.i_h == NONE {
        let boxes = search.clusters + search.groups;
        let group = nearest_box(search.clusters, boxes, at) - search.clusters;
        scanned = nearest_box(group * GROUP, group_end(group), at);
        list = scan(scanned, at, list);
    }
    for (var group = 0u; group < search.groups; group++) {
        if box_distance(search.clusters + group, at) > list.d_h {
            continue;
        }
        for (var cluster = group * GROUP; cluster < group_end(group); cluster++) {
            if cluster != scanned && box_distance(cluster, at) <= list.d_h {
                list = scan(cluster, at, list);
            }
        }
    }
    return list;
}
