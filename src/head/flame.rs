//! Head models from the tensors of FLAME's own files.

use std::ops::Range;

use super::{
    file::{FORMAT, matrix, vectors},
    parts::HeadModelParts,
};
use crate::{Error, Result, TensorFile};

/// The parts from the names and layouts of FLAME's own files.
pub(super) fn flame_parts(file: &TensorFile) -> Result<HeadModelParts> {
    let [vertices, _] = file.expect_shape("v_template", [None, Some(3)])?;
    let [joints] = file.expect_shape("parents", [None])?;
    let parents = (file.i64("parents")?.iter())
        .map(|&parent| match parent {
            // The original files are unsigned.
            0xffff_ffff => Ok(-1),
            parent => i32::try_from(parent).map_err(|_| {
                Error::format(file.what(), FORMAT, format!("{parent} among the parents"))
            }),
        })
        .collect::<Result<Vec<_>>>()?;

    let [.., count] = file.expect_shape("shapedirs", [Some(vertices), Some(3), None])?;
    let directions = file.f32("shapedirs")?;
    let (shapes, expressions) = flame_columns(file, count)?;

    let pose_count = 9 * joints.saturating_sub(1);
    let pose_basis = if !file.contains("posedirs") {
        Vec::new()
    } else if file.shape("posedirs")?.len() == 2 {
        file.expect_shape("posedirs", [Some(pose_count), Some(3 * vertices)])?;
        vectors(file, "posedirs")?
    } else {
        file.expect_shape("posedirs", [Some(vertices), Some(3), Some(pose_count)])?;
        columns(&file.f32("posedirs")?, pose_count, 0..pose_count)
    };
    Ok(HeadModelParts {
        template: vectors(file, "v_template")?,
        shape_basis: columns(&directions, count, shapes),
        expression_basis: columns(&directions, count, expressions),
        pose_basis,
        joint_regressor: matrix(file, "J_regressor", [joints, vertices])?,
        skinning_weights: matrix(file, "lbs_weights", [vertices, joints])?,
        parents,
        scale: flame_number(file, "scale")?.unwrap_or(5.0),
        ..Default::default()
    })
}

/// Which of `count` columns are identity and which are expression.
pub(super) fn flame_columns(
    file: &TensorFile,
    count: usize,
) -> Result<(Range<usize>, Range<usize>)> {
    let given = (
        flame_number::<usize>(file, "n_shape")?,
        flame_number::<usize>(file, "n_expression")?,
    );
    match (given, count) {
        ((Some(s), Some(e)), _) if s.checked_add(e).is_some_and(|sum| sum <= count) => {
            Ok((0..s, s..s + e))
        }
        ((None, None), 400) => Ok((0..100, 300..350)),
        ((None, None), 150) => Ok((0..100, 100..150)),
        _ => Err(Error::format(
            file.what(),
            FORMAT,
            format!(
                "expected metadata \"n_shape\" and \"n_expression\" that divide the {count} \
                 columns of shapedirs, found {given:?}"
            ),
        )),
    }
}

fn flame_number<T: std::str::FromStr>(file: &TensorFile, key: &str) -> Result<Option<T>> {
    let parse = |text: &String| {
        (text.parse()).map_err(|_| {
            Error::format(
                file.what(),
                FORMAT,
                format!("expected a number as metadata {key:?}, found {text:?}"),
            )
        })
    };
    file.metadata().get(key).map(parse).transpose()
}

/// Some columns of a `[V, 3, count]` tensor, each as `V` vectors.
pub(super) fn columns(values: &[f32], count: usize, columns: Range<usize>) -> Vec<[f32; 3]> {
    if values.is_empty() {
        // The other sizes of an empty tensor may be any.
        return Vec::new();
    }
    let vertices = || values.chunks_exact(3 * count);
    columns
        .flat_map(|column| {
            vertices().map(move |v| std::array::from_fn(|axis| v[axis * count + column]))
        })
        .collect()
}
