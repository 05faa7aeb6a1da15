#define_import_path gpavatar::search_layout

// Clusters of a group.
const GROUP = 8u;
