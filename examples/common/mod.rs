//! What the examples share.

#![allow(dead_code, reason = "every example uses its own part")]

pub mod album;
pub mod avatar;
pub mod backdrop;
pub mod cli;
pub mod costs;
pub mod demo;
pub mod evaluation;
pub mod metrics;
pub mod sheet;
pub mod tracked;
