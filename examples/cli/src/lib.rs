//! The parts of the command `gpavatar`: its sub-commands, and what they and the benchmarks share.

pub mod album;
pub mod args;
pub mod avatar;
pub mod backdrop;
pub mod commands;
pub mod costs;
pub mod demo;
pub mod evaluation;
pub mod metrics;
pub mod report;
pub mod sheet;
#[cfg(test)]
mod testing;
pub mod tracked;
