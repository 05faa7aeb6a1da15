#define_import_path gpavatar::top_k

// The eight nearest points found so far, nearest first; of equal distances the lower index is
// nearer. Named members stay in registers where an indexed array would not.
struct Nearest {
    d_a: f32, d_b: f32, d_c: f32, d_d: f32, d_e: f32, d_f: f32, d_g: f32, d_h: f32,
    i_a: u32, i_b: u32, i_c: u32, i_d: u32, i_e: u32, i_f: u32, i_g: u32, i_h: u32,
}

const NONE = 0xffffu;

// Eight places that anything up to the squared distance `limit` replaces.
fn nobody(limit: f32) -> Nearest {
    return Nearest(
        limit, limit, limit, limit, limit, limit, limit, limit,
        NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    );
}

fn nearer(d: f32, i: u32, other_d: f32, other_i: u32) -> bool {
    return d < other_d || (d == other_d && i < other_i);
}

fn insert(list: Nearest, d: f32, i: u32) -> Nearest {
    let n_a = nearer(d, i, list.d_a, list.i_a);
    let n_b = nearer(d, i, list.d_b, list.i_b);
    let n_c = nearer(d, i, list.d_c, list.i_c);
    let n_d = nearer(d, i, list.d_d, list.i_d);
    let n_e = nearer(d, i, list.d_e, list.i_e);
    let n_f = nearer(d, i, list.d_f, list.i_f);
    let n_g = nearer(d, i, list.d_g, list.i_g);
    let n_h = nearer(d, i, list.d_h, list.i_h);
    return Nearest(
        select(list.d_a, d, n_a),
        select(select(list.d_b, d, n_b), list.d_a, n_a),
        select(select(list.d_c, d, n_c), list.d_b, n_b),
        select(select(list.d_d, d, n_d), list.d_c, n_c),
        select(select(list.d_e, d, n_e), list.d_d, n_d),
        select(select(list.d_f, d, n_f), list.d_e, n_e),
        select(select(list.d_g, d, n_g), list.d_f, n_f),
        select(select(list.d_h, d, n_h), list.d_g, n_g),
        select(list.i_a, i, n_a),
        select(select(list.i_b, i, n_b), list.i_a, n_a),
        select(select(list.i_c, i, n_c), list.i_b, n_b),
        select(select(list.i_d, i, n_d), list.i_c, n_c),
        select(select(list.i_e, i, n_e), list.i_d, n_d),
        select(select(list.i_f, i, n_f), list.i_e, n_e),
        select(select(list.i_g, i, n_g), list.i_f, n_f),
        select(select(list.i_h, i, n_h), list.i_g, n_g),
    );
}

// The same for a point that comes after all those in the list: it is farther where distances tie.
fn insert_later(list: Nearest, d: f32, i: u32) -> Nearest {
    let n_a = d < list.d_a;
    let n_b = d < list.d_b;
    let n_c = d < list.d_c;
    let n_d = d < list.d_d;
    let n_e = d < list.d_e;
    let n_f = d < list.d_f;
    let n_g = d < list.d_g;
    let n_h = d < list.d_h;
    return Nearest(
        min(list.d_a, d),
        min(list.d_b, max(list.d_a, d)),
        min(list.d_c, max(list.d_b, d)),
        min(list.d_d, max(list.d_c, d)),
        min(list.d_e, max(list.d_d, d)),
        min(list.d_f, max(list.d_e, d)),
        min(list.d_g, max(list.d_f, d)),
        min(list.d_h, max(list.d_g, d)),
        select(list.i_a, i, n_a),
        select(select(list.i_b, i, n_b), list.i_a, n_a),
        select(select(list.i_c, i, n_c), list.i_b, n_b),
        select(select(list.i_d, i, n_d), list.i_c, n_c),
        select(select(list.i_e, i, n_e), list.i_d, n_d),
        select(select(list.i_f, i, n_f), list.i_e, n_e),
        select(select(list.i_g, i, n_g), list.i_f, n_f),
        select(select(list.i_h, i, n_h), list.i_g, n_g),
    );
}
