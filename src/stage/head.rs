//! The morphable head: blend shapes and linear blend skinning.

use crate::error::Result;
use crate::gpu::kernels::{head as kernels, params};
use crate::gpu::{Conditions, Dispatch, Gpu, ProgramBuilder, Recording, Tensor, When};
use crate::head::{HeadModel, PosedJoints, check_coefficients};
use crate::options::{Format, Formats};
use crate::weights::pack;

/// The kernel bounds posed points as the host bounds given ones.
const _: () = assert!(kernels::skin::FARTHEST == crate::camera::FARTHEST);

/// A head model on the device.
pub(crate) struct Head {
    pub model: HeadModel,
    template: Tensor,
    shape_basis: Tensor,
    /// Expression directions, then pose correctives.
    basis: Tensor,
    skinning: Tensor,
}

impl Head {
    pub(crate) fn new(gpu: &Gpu, model: &HeadModel) -> Result<Self> {
        let parts = model.parts();
        let basis: Vec<[f32; 3]> = [&parts.expression_basis[..], &parts.pose_basis].concat();
        let joints = model.joint_count();
        // By joint, so that neighbouring threads read neighbouring weights.
        let of_joint = |joint| {
            let weights = parts.skinning_weights.iter().skip(joint);
            weights.step_by(joints).copied()
        };
        let skinning: Vec<f32> = (0..joints).flat_map(of_joint).collect();
        Ok(Self {
            template: Tensor::from_slice(gpu, "template", &pack::vec4s(&parts.template))?,
            shape_basis: Tensor::from_slice(gpu, "shapes", &pack::vec4s(&parts.shape_basis))?,
            basis: Tensor::from_slice(gpu, "expressions", &pack::vec4s(&basis))?,
            skinning: Tensor::from_slice(gpu, "skinning", &skinning)?,
            model: model.clone(),
        })
    }

    /// Expression and pose corrective coefficients.
    fn shapes(&self) -> usize {
        let parts = self.model.parts();
        (parts.expression_basis.len() + parts.pose_basis.len()) / parts.template.len()
    }

    /// Floats that a frame needs: coefficients, then 12 for each joint.
    pub(crate) fn coefficients(&self) -> usize {
        self.shapes() + 12 * self.model.joint_count()
    }

    /// The kernel's per-frame input.
    pub(crate) fn pack(&self, expression: &[f32], posed: &PosedJoints) -> Vec<f32> {
        let mut packed = expression.to_vec();
        if !self.model.parts().pose_basis.is_empty() {
            packed.extend(&posed.feature);
        }
        packed.extend(posed.matrices.iter().flatten().flatten());
        packed
    }

    /// The template of an identity, `[vertex]`, valid once the recording has run.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if the count of coefficients does not fit or one
    /// is not finite.
    pub(crate) fn identity(
        &self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        shape: &[f32],
    ) -> Result<Tensor> {
        let vertices = self.model.vertex_count() as u32;
        check_coefficients("shape", shape, self.model.shape_count())?;
        let output = Tensor::empty(gpu, "identity", Format::F32, [1, vertices, 4])?;
        let mut b = ProgramBuilder::new(gpu, Formats::F32);
        b.stage("head");
        let kernel = b.kernel(&kernels::BLEND, &[])?;
        let parameters = params::Blend {
            vertices,
            shapes: shape.len() as u32,
            ..Default::default()
        };
        b.dispatch(
            Dispatch::new("identity", &kernel)
                .uniform("size", parameters)
                .bind("base", &self.template)
                .bind("basis", &self.shape_basis)
                .bind("coefficients", &Tensor::from_slice(gpu, "shape", shape)?)
                .bind("output", &output)
                .row_of_threads(vertices),
        );
        b.finish()?.record(Recording {
            encoder,
            bindings: &[],
            conditions: Conditions::default(),
            times: Default::default(),
        })?;
        Ok(output)
    }

    /// Plans the skinning of an avatar's `identity`, bound later, into `points`.
    pub(crate) fn skin(
        &self,
        b: &mut ProgramBuilder<'_>,
        coefficients: &Tensor,
        points: &Tensor,
    ) -> Result<()> {
        b.stage("head");
        let vertices = self.model.vertex_count() as u32;
        let parameters = params::Skin {
            vertices,
            shapes: self.shapes() as u32,
            joints: self.model.joint_count() as u32,
            matrices: self.shapes() as u32,
        };
        let per_vertex = 6.0 * self.shapes() as f64 + 24.0 * self.model.joint_count() as f64;
        let bytes = self.basis.bytes() + self.skinning.bytes() + 2 * points.bytes();
        let kernel = b.kernel(&kernels::SKIN, &[])?;
        b.dispatch(
            Dispatch::new("skinning", &kernel)
                .uniform("size", parameters)
                .bind("basis", &self.basis)
                .bind("skinning", &self.skinning)
                .bind("coefficients", coefficients)
                .bind("points", points)
                .row_of_threads(vertices)
                .when(When::HeadModel)
                .cost(per_vertex * f64::from(vertices), bytes as f64),
        );
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
