use super::*;

#[test]
fn a_program_without_backends_is_told_which_features_bring_them() {
    let error = has_backends(wgpu::Backends::empty()).unwrap_err();
    assert!(matches!(error, Error::NoAdapter { .. }));
    let message = error.to_string();
    for part in [
        "without backends",
        "`vulkan`",
        "`gles`",
        "`metal`",
        "`dx12`",
        "`webgpu`",
    ] {
        assert!(message.contains(part), "{message}");
    }
    has_backends(wgpu::Backends::GL).unwrap();
}
