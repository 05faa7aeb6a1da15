use std::sync::Weak;

use super::*;
use crate::stage::testing::gpu;
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
    // The attention is still to be had, once.
    let fusion = model.fusion().unwrap();
    assert!(Arc::ptr_eq(&fusion, &model.fusion().unwrap()));
    let state = model.inner.fusion.lock().unwrap();
    assert!(matches!(*state, LazyFusion::Built(_)));
}
