#define_import_path gpavatar::search_layout

// Places of a cluster at most, and clusters of a group.
const CAPACITY = 64u;
const GROUP = 8u;

// Instead of the length of a cell's list: it would be too long.
const NO_LIST = 0xffffffffu;
