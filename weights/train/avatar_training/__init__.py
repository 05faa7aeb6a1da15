"""Training of GPAvatar models for the Rust crate `gpavatar`."""
