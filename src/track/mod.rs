//! From photographs and videos of people to sources and drives (feature `track`).
//!
//! Four small networks find a face, its 478 landmarks, its 52 expression scores and its matte; a
//! Gauss-Newton fit of a head model does the rest. The networks are MediaPipe's Face Landmarker and
//! Selfie Segmentation (© The MediaPipe Authors, Apache License 2.0). Their files are brought by
//! the user; nothing of them is part of this crate.
//!
//! Pictures are measured in continuous pixels: (0, 0) is the upper left *corner* and pixel (column
//! c, row r) has its centre at (c + ½, r + ½).

mod region;

pub use region::Region;
