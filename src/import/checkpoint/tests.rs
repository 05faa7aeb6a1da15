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

/// A checkpoint with the prefix of its pickle's names, `module.`, replaced.
fn renamed(prefix: &str) -> Vec<u8> {
    rewritten(NESTED, |name, content| {
        if name.ends_with("/data.pkl") {
            *content = with_prefix(content, prefix);
        }
    })
}

/// Every text that begins with `module.`: X, its length, and itself.
fn with_prefix(pickle: &[u8], prefix: &str) -> Vec<u8> {
    const OLD: &[u8] = b"module.";
    let mut bytes = Vec::new();
    let mut rest = pickle;
    while let Some((&byte, after)) = rest.split_first() {
        if let [b'X', a, b, 0, 0, text @ ..] = rest
            && let Some(name) = text.strip_prefix(OLD)
        {
            let length = usize::from(*a) + 256 * usize::from(*b) - OLD.len();
            let new = [prefix.as_bytes(), &name[..length]].concat();
            bytes.push(b'X');
            bytes.extend((new.len() as u32).to_le_bytes());
            bytes.extend(new);
            rest = &name[length..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    bytes
}

#[test]
fn names_may_have_the_prefixes_of_wrappers_in_any_order() {
    let expected = Checkpoint::from_bytes("test", NESTED.to_vec()).unwrap();
    for prefix in [
        "",
        "_orig_mod.",
        "model.",
        "module._orig_mod.",
        "_orig_mod.model.module.",
    ] {
        let checkpoint = Checkpoint::from_bytes("test", renamed(prefix)).unwrap();
        assert_eq!(checkpoint.tensors.len(), expected.tensors.len(), "{prefix}");
        assert_eq!(checkpoint.sets(), expected.sets());
        assert_eq!(checkpoint.ignored(), expected.ignored());
        let name = "query_style_tplane";
        assert_eq!(checkpoint.f32(name).unwrap(), expected.f32(name).unwrap());
    }
    // Any other is part of the name of the set.
    let checkpoint = Checkpoint::from_bytes("test", renamed("module.generator.")).unwrap();
    assert_eq!(checkpoint.sets(), ["model.state_dict.generator"]);
}

/// A checkpoint of several dictionaries, each a copy of that of one.
fn with_sets(names: &[&str]) -> Vec<u8> {
    rewritten(VIEWS, |file, content| {
        if file.ends_with("/data.pkl") {
            // Without the protocol and the end.
            let body = content[2..content.len() - 1].to_vec();
            *content = b"\x80\x02}(".to_vec();
            for name in names {
                content.extend([b"U", &[name.len() as u8][..], name.as_bytes()].concat());
                let mut body = body.clone();
                if *name != "state_dict" {
                    // One that nothing reads tells the copies apart.
                    let (from, to) = (b"up_renderer.toRGB.0.bias", b"other_parts.toRGB.0.bias");
                    let place = body.windows(from.len()).position(|it| it == from).unwrap();
                    body.splice(place..place + from.len(), to.iter().copied());
                }
                content.extend(body);
            }
            content.extend(b"u.");
        }
    })
}

#[test]
fn of_several_sets_of_weights_the_documented_one_is_taken() {
    let open = |names: &[&str]| Checkpoint::from_bytes("test", with_sets(names)).unwrap();
    for names in [["ema", "state_dict"], ["state_dict", "ema"]] {
        let checkpoint = open(&names);
        assert_eq!(checkpoint.sets(), ["state_dict", "ema"]);
        assert!(checkpoint.ignored().is_empty());
        let average = checkpoint.with_set("ema").unwrap();
        assert_eq!(average.sets(), ["ema", "state_dict"]);
        assert_eq!(average.ignored(), ["other_parts.toRGB.0.bias"]);
        let again = average.with_set("state_dict").unwrap();
        assert!(again.ignored().is_empty());
        let error = again.with_set("average").unwrap_err().to_string();
        let expected = "set of weights in test: expected one of state_dict, ema, found \"average\"";
        assert_eq!(error, expected);
    }
    assert_eq!(open(&["a", "model"]).sets(), ["model", "a"]);
    assert_eq!(
        open(&["ema_model", "weights"]).sets(),
        ["weights", "ema_model"]
    );
    assert_eq!(
        open(&["ema.state_dict", "state_dict"]).sets()[0],
        "state_dict"
    );
    assert_eq!(open(&["b", "a"]).sets(), ["a", "b"]);
    let single = Checkpoint::from_bytes("test", VIEWS.to_vec()).unwrap();
    assert_eq!(single.sets(), ["top"]);
}
