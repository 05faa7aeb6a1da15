//! The command `gpavatar`.

use std::env;
use std::process::ExitCode;

use clap::Parser;
use gpavatar_cli::commands::Cli;
use gpavatar_cli::report;

fn main() -> ExitCode {
    // Without a session, Mesa's Vulkan layer for choosing a device prints two errors. The library
    // chooses a device itself.
    if env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { env::set_var("NODEVICE_SELECT", "1") };
    }
    report::exit(Cli::parse().run())
}
