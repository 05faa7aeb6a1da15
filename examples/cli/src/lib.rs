//! The command `gpavatar`: its sub-commands, and the modules that they share with the benchmarks.

pub mod album;
pub mod animation;
pub mod annotation;
pub mod args;
pub mod avatar;
pub mod backdrop;
pub mod commands;
pub mod costs;
pub mod demo;
pub mod evaluation;
pub mod film;
pub mod header;
pub mod metrics;
pub mod report;
pub mod sheet;
#[cfg(test)]
mod testing;
pub mod tracked;
pub mod tracking;
