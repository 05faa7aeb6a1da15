use std::sync::Weak;

use super::*;
use crate::avatar::Avatar;
use crate::drive::Drive;
use crate::options::{GpuOptions, Noise, RenderOptions};
use crate::source::SourceImage;
use crate::stage::testing::{gpu, read};
use crate::weights::tests::tiny_weights;
use crate::weights::{FloatFormat, TensorFile};

/// A file's content that others can watch.
struct Watched(Arc<Vec<u8>>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn watched_weights() -> (Weights, Weak<Vec<u8>>) {
    let writer = tiny_weights();
    let bytes = writer.writer(FloatFormat::F32).unwrap().into_bytes();
    let bytes = Arc::new(bytes.unwrap());
    let watch = Arc::downgrade(&bytes);
    let file = TensorFile::parse("weights".into(), Box::new(Watched(bytes))).unwrap();
    (Weights::from_file(file).unwrap(), watch)
}

#[test]
fn a_model_does_not_keep_its_weights_file() {
    let (weights, watch) = watched_weights();
    assert!(watch.upgrade().is_some());
    let model = Model::new(gpu(), weights).unwrap();
    assert!(watch.upgrade().is_none());
    // The attention can still be had.
    let pictures = [0, 255].map(|grey| {
        let pixels = vec![grey; 4 * 16 * 16];
        SourceImage::from_rgba8(16, 16, pixels).unwrap()
    });
    let avatar = Avatar::from_images(&model, &pictures).unwrap();
    let planes: Vec<f32> = read(gpu(), avatar.planes());
    assert!(planes.iter().all(|value| value.is_finite()));
}

#[test]
fn an_avatars_kernels_are_compiled_with_the_first_one() {
    let gpu = Gpu::with_options(&GpuOptions::from_env().unwrap()).unwrap();
    let model = Model::new(&gpu, crate::stand_in().unwrap()).unwrap();
    let of_frames = gpu.compiled();
    assert!(of_frames.contains("output/display") && !of_frames.contains("source/warp"));

    let grey = SourceImage::from_rgba8(2, 2, vec![128; 16]).unwrap();
    let avatar = Avatar::from_images(&model, &[grey]).unwrap();
    let of_both = gpu.compiled();
    assert!(of_both.is_superset(&of_frames) && of_both.contains("source/warp"));
    for noise in [Noise::Stored, Noise::Seeded(1)] {
        let options = RenderOptions {
            noise,
            ..RenderOptions::default()
        };
        avatar.render_with(&Drive::neutral(), &options).unwrap();
        assert_eq!(gpu.compiled(), of_both, "frames need no more");
    }
    gpu.wait("rendering").unwrap();
}
