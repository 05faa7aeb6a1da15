//! FLAME's own embedding of MediaPipe's landmarks.

use glam::{DVec3, Vec3};

use super::triangulate::{check_triangles, outward};
use super::{EmbeddedPoint, Embedding, usual};
use crate::error::{Error, Result};
use crate::head::HeadModel;
use crate::import::landmark_rows;

const FORMAT: &str = "embedding of MediaPipe's landmarks";

impl Embedding {
    /// Reads `mediapipe_landmark_embedding.npz` of FLAME: 105 landmarks on triangles of FLAME.
    /// `triangles` are those of the same FLAME model ([`import::head_triangles_from_bytes`]); `what`
    /// names the file in messages.
    ///
    /// | array              | shape    |                                        |
    /// |--------------------|----------|----------------------------------------|
    /// | `landmark_indices` | `[L]`    | landmarks                              |
    /// | `lmk_face_idx`     | `[L]`    | triangles                              |
    /// | `lmk_b_coords`     | `[L, 3]` | weights of the triangles' corners      |
    ///
    /// # Errors
    /// [`Error::Format`] if it is not such a file or has a triangle or landmark too many;
    /// [`Error::Argument`] if the triangles are not those of the head model; [`Error::Tensors`] with
    /// weights whose sum is not 1.
    ///
    /// [`import::head_triangles_from_bytes`]: crate::import::head_triangles_from_bytes
    pub fn mediapipe(
        what: &str,
        bytes: Vec<u8>,
        head: &HeadModel,
        triangles: &[[u32; 3]],
    ) -> Result<Self> {
        check_triangles(head, triangles)?;
        let points = read(&bytes, head, triangles);
        Self::build(
            what,
            points.map_err(|reason| Error::format(what, FORMAT, reason))?,
        )
    }
}

fn read(
    bytes: &[u8],
    head: &HeadModel,
    triangles: &[[u32; 3]],
) -> Result<Vec<EmbeddedPoint>, String> {
    let scale = f64::from(head.parts().scale);
    let vertex = |i: u32| {
        let place = head.parts().template[i as usize];
        scale * DVec3::from_array(place.map(f64::from))
    };
    let rows = landmark_rows(bytes)?.into_iter();
    rows.map(|(landmark, triangle, [x, y, z])| {
        let corners = usize::try_from(triangle).ok();
        let corners = corners.and_then(|triangle| triangles.get(triangle));
        let [a, b, c] = *corners.ok_or_else(|| {
            let count = triangles.len();
            format!("lmk_face_idx: expected triangles below {count}, found {triangle}")
        })?;
        let landmark = u16::try_from(landmark)
            .map_err(|_| format!("landmark_indices: expected landmarks, found {landmark}"))?;
        Ok(EmbeddedPoint {
            name: String::new(),
            landmarks: vec![landmark],
            vertices: [a, b, c, a],
            weights: [x, y, z, 0.0],
            offset: Vec3::ZERO,
            sigma: usual(),
            normal: outward(vertex(a), vertex(b), vertex(c)),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests;
