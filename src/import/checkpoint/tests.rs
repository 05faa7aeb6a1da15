use super::super::archive::tests::{rewritten, stored};
use super::*;

const NESTED: &[u8] = include_bytes!("../../../tests/fixtures/checkpoint_nested.ckpt");
const VIEWS: &[u8] = include_bytes!("../../../tests/fixtures/checkpoint_views.ckpt");

/// Puts other bytes in the place of some in a checkpoint's pickle.
fn patched(checkpoint: &[u8], patches: &[(&[u8], &[u8])]) -> Vec<u8> {
    rewritten(checkpoint, |name, content| {
        if name.ends_with("/data.pkl") {
            for (from, to) in patches {
                let mut windows = content.windows(from.len());
                let place = windows.position(|window| window == *from).unwrap();
                content.splice(place..place + from.len(), to.iter().copied());
            }
        }
    })
}

#[track_caller]
fn problems(bytes: Vec<u8>) -> Vec<String> {
    crate::weights::tests::problems(Checkpoint::from_bytes("test", bytes))
}

#[test]
fn missing_and_unknown_tensors_are_listed_at_once() {
    let misspelt: &[(&[u8], &[u8])] = &[
        (b"renderer.final_conv.bias", b"renderer.final_conv.bios"),
        (b"point_layers.0.bias", b"point_layers.9.bias"),
    ];
    let bytes = patched(NESTED, misspelt);
    assert_eq!(
        problems(bytes),
        [
            "nerf_mlp.points_querier.point_layers.0.bias: expected shape [16], found nothing",
            "up_renderer.final_conv.bias: expected shape [4], found nothing",
            "nerf_mlp.points_querier.point_layers.9.bias: expected no such tensor, found \
                 shape [16]",
            "up_renderer.final_conv.bios: expected no such tensor, found shape [4]",
        ]
    );
    // Tensors that nothing reads may be missing, and tensors of no part of the model may exist.
    let other: (&[u8], &[u8]) = (b"up_renderer.toRGB.0.bias", b"other_parts.toRGB.0.bias");
    let bytes = patched(NESTED, &[other]);
    let checkpoint = Checkpoint::from_bytes("test", bytes).unwrap();
    assert_eq!(checkpoint.ignored()[0], "other_parts.toRGB.0.bias");
}

#[test]
fn misshapen_tensors_are_listed() {
    // Two names of equal length whose tensors differ in length.
    let swap: &[(&[u8], &[u8])] = &[
        (b"nerf_mlp.rgb_layers.0.bias", b"nerf_mlp.rgb_layers.X.bias"),
        (b"nerf_mlp.rgb_layers.2.bias", b"nerf_mlp.rgb_layers.0.bias"),
        (b"nerf_mlp.rgb_layers.X.bias", b"nerf_mlp.rgb_layers.2.bias"),
    ];
    let swapped = patched(VIEWS, swap);
    assert_eq!(
        problems(swapped),
        [
            "nerf_mlp.rgb_layers.0.bias: expected shape [8], found [4]",
            "nerf_mlp.rgb_layers.2.bias: expected shape [4], found [8]",
        ]
    );
}

#[test]
fn tensors_that_are_not_in_the_file_as_a_whole_are_listed() {
    let shortened = rewritten(VIEWS, |name, content| {
        if name.ends_with("/data/0") {
            content.truncate(content.len() - 4);
        }
    });
    let shortened = problems(shortened);
    assert_eq!(shortened.len(), 1);
    let reason = "bytes do not hold elements F32";
    assert!(shortened[0].contains(reason), "{shortened:?}");

    let renamed = patched(NESTED, &[(b"_rebuild_parameter", b"_rebuild_somethin\x67")]);
    assert_eq!(
        problems(renamed)[0],
        "attn_module.scale: expected a dense tensor, found an object of \
             torch._utils._rebuild_something"
    );
}

#[test]
fn a_tensor_under_two_names_is_refused() {
    // With and without the wrapper's prefix. Each name is preceded by its length.
    let first = b"\x21\0\0\0module.attn_module.to_q_.0.weight";
    let doubled = patched(NESTED, &[(first, b"\x1A\0\0\0attn_module.to_k_.0.weight")]);
    let expected = "attn_module.to_k_.0.weight: expected one tensor, found two";
    assert_eq!(problems(doubled), [expected]);
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let infinite = rewritten(VIEWS, |name, content| {
        if name.ends_with("/data/0") {
            content[4..8].copy_from_slice(&f32::INFINITY.to_le_bytes());
        }
    });
    let checkpoint = Checkpoint::from_bytes("test", infinite).unwrap();
    let writer = checkpoint.writer(FloatFormat::F32).unwrap();
    let error = writer.into_bytes().unwrap_err().to_string();
    let reason = "expected finite values, found inf at";
    assert!(error.contains(reason), "{error}");
}

#[test]
fn archives_that_are_not_pytorch_s_are_refused() {
    let refused = |bytes: Vec<u8>| match Checkpoint::from_bytes("test", bytes) {
        Err(Error::Format { reason, .. }) => reason,
        other => panic!("expected Error::Format, found {other:?}"),
    };
    assert!(refused(stored(&[("data.pkl", b"N.")])).contains("data.pkl in a directory"));
    assert!(refused(stored(&[("a/data.pkl", b"N.")])).contains("found none in None"));
    let order: &[(&str, &[u8])] = &[("a/data.pkl", b"N."), ("a/byteorder", b"middle")];
    assert!(refused(stored(order)).contains("found \"middle\""));
    // A dictionary that is its own only value.
    let cyclic = stored(&[("a/data.pkl", b"}q\0U\x01ah\0s.")]);
    assert!(refused(cyclic).contains("query_style_tplane"));
}
