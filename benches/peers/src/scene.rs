//! A frame, with the inputs of its stages.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use gpavatar::reference::pipeline::prepare;
use gpavatar::reference::points::{Neighbour, weight_sums};
use gpavatar::{
    Avatar, Camera, Drive, FloatFormat, Geometry, Gpu, Model, ModelOptions, RenderOptions,
    SourceImage, TensorWriter, Weights, glam::Vec3,
};

use gpavatar_cli::demo::{self, Sample};

/// A rendered frame of an avatar of one picture.
pub struct Scene {
    pub weights: fn() -> gpavatar::Result<Weights>,
    pub source: SourceImage,
    pub drive: Drive,
    pub camera: Camera,
    pub points: Vec<Vec3>,
    /// `[v][u][plane][channel]`.
    pub planes: Vec<f32>,
    /// The coarse pass.
    pub coarse: Coarse,
    /// `[y][x][channel]`.
    pub low_res: Vec<f32>,
    /// `[y][x][rgb]`, not clamped.
    pub image: Vec<f32>,
}

/// Samples of the coarse pass, ray by ray, and the field's values there.
pub struct Coarse {
    pub positions: Vec<Vec3>,
    pub directions: Vec<Vec3>,
    pub nearest: Vec<Neighbour>,
    /// Σ 1/d² by rank.
    pub sums: Vec<f32>,
    pub opacities: Vec<f32>,
    /// `[sample][channel]`.
    pub values: Vec<f32>,
}

impl Scene {
    /// Renders a frame with a model that keeps the values between its stages.
    pub fn render(gpu: &Gpu, demo: bool) -> Result<Self, Box<dyn Error>> {
        let weights = match demo {
            true => || Weights::open(demo::weights()),
            false => demo::released,
        };
        let options = ModelOptions {
            trace: true,
            ..ModelOptions::default()
        };
        let model = Model::with_options(gpu, weights()?, options)?;
        let mut pictures = Sample::named(None)?.pictures()?;
        let source = pictures.swap_remove(0);
        let avatar = Avatar::from_images(&model, std::slice::from_ref(&source))?;
        let drive = demo::given_points(&model);
        let options = RenderOptions {
            tensors: true,
            ..RenderOptions::default()
        };
        let frame = avatar.render_with(&drive, &options)?;

        let config = model.config();
        let resolved = drive.resolve(model.head(), config.points as usize)?;
        let Geometry::Points(points) = resolved.geometry else {
            unreachable!("points are given")
        };
        let points: Vec<Vec3> = points.iter().copied().map(Vec3::from).collect();
        let camera = *resolved.camera;
        let taps: HashMap<_, _> = model.taps().collect();
        let floats = |name: &str| pollster::block_on(taps[name].read(gpu));

        let samples = config.coarse_samples as usize;
        let directions: Vec<Vec3> = floats("ray_dirs")?
            .chunks_exact(taps["ray_dirs"].shape()[2])
            .flat_map(|d| std::iter::repeat_n(Vec3::from_slice(d), samples))
            .collect();
        let depths = floats("coarse.depths")?;
        let positions: Vec<Vec3> = (directions.iter().zip(&depths))
            .map(|(direction, depth)| camera.origin() + *depth * *direction)
            .collect();
        let packed: Vec<u32> = pollster::block_on(taps["coarse.neighbours"].read_as(gpu))?;
        let count = config.neighbours as usize;
        // Eight 16-bit indices a sample, even if fewer are used.
        let nearest: Vec<Neighbour> = (packed.chunks_exact(4).zip(&positions))
            .flat_map(|(packed, position)| {
                let indices = packed.iter().flat_map(|pair| [pair & 0xffff, pair >> 16]);
                indices.take(count).map(|index| {
                    let index = index as usize;
                    let dist2 = position.distance_squared(points[index]);
                    Neighbour { index, dist2 }
                })
            })
            .collect();
        let image: Vec<f32> = pollster::block_on(frame.image_tensor()?.read(gpu))?;
        Ok(Self {
            coarse: Coarse {
                sums: weight_sums(&nearest, count),
                opacities: floats("coarse.opacities")?,
                values: floats("coarse.values")?,
                positions,
                directions,
                nearest,
            },
            low_res: floats("low_res")?,
            image: image
                .chunks_exact(4)
                .flat_map(|pixel| &pixel[..3])
                .copied()
                .collect(),
            planes: pollster::block_on(avatar.planes().read(gpu))?,
            weights,
            source,
            camera,
            points,
            drive,
        })
    }

    /// Writes the weights, and the frame with the inputs of the whole network.
    pub fn export(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        std::fs::create_dir_all(folder)?;
        let weights = (self.weights)()?;
        weights
            .writer(FloatFormat::F32)?
            .write(folder.join("weights.safetensors"))?;
        let config = weights.config();
        let [source, low, output] =
            [config.source_size, config.low_res_size, config.output_size].map(|n| n as usize);
        let channels = config.low_res_channels as usize;
        let picture = prepare(config, &self.source)?.data;
        let points: Vec<f32> = self.points.iter().flat_map(|p| p.to_array()).collect();
        let mut writer = TensorWriter::new(Default::default());
        for (name, shape, values) in [
            ("source", &[source, source, 3][..], &picture),
            ("points", &[self.points.len(), 3], &points),
            ("transform", &[3, 4], &self.camera.transform.concat()),
            ("low_res", &[low, low, channels], &self.low_res),
            ("image", &[output, output, 3], &self.image),
        ] {
            let values = values.clone();
            writer.floats(name, shape, FloatFormat::F32, move || {
                Ok(values.clone().into())
            });
        }
        writer.write(folder.join("case.safetensors"))?;
        Ok(())
    }
}
