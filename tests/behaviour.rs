//! Guarantees to users, one file a topic in `tests/behaviour`: results that do not depend on other
//! work, agreement with the scalar network, and for bad input an error that says what, where, expected
//! and found.

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
    mod failures;
    mod heads;
    mod noise;
    mod pictures;
    mod precision;
    mod sizes;
    mod sources;
    mod throughput;
    mod tuning;
    mod views;
    mod waiting;
    mod weights_files;
}
