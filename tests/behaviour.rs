//! What a user can rely on: results that do not depend on what else runs, agreement with the scalar
//! network, and for whatever is wrong with an input an error that says what, where, expected and
//! found. One file a topic in `tests/behaviour`.

mod common;

mod behaviour {
    mod adapters;
    mod allocation;
    mod atlas;
    mod avatar_files;
    mod determinism;
    mod device_loss;
    mod drives;
    mod embedding;
    mod heads;
    mod noise;
    mod pictures;
    mod precision;
    mod sizes;
    mod sources;
    mod throughput;
    mod tuning;
    mod views;
    mod weights_files;
}
