use super::*;
use crate::error::Error;

fn read(variables: &[(&str, &str)]) -> crate::Result<GpuOptions> {
    let get = |name: &str| variables.iter().find(|(known, _)| *known == name);
    GpuOptions::from_variables(|name| get(name).map(|(_, value)| value.to_string()))
}

#[test]
fn variables_that_are_unset_or_empty_leave_the_defaults() {
    let default = format!("{:?}", GpuOptions::default());
    assert_eq!(format!("{:?}", read(&[]).unwrap()), default);
    let empty = [
        "ADAPTER",
        "BACKEND",
        "SHADERS",
        "KERNELS",
        "SUBGROUPS",
        "MATRICES",
    ];
    let empty = empty.map(|name| format!("GPAVATAR_{name}"));
    let empty = empty.each_ref().map(|name| (name.as_str(), ""));
    assert_eq!(format!("{:?}", read(&empty).unwrap()), default);
}

#[test]
fn variables_are_followed() {
    let options = read(&[
        ("GPAVATAR_ADAPTER", "Voodoo 2"),
        ("GPAVATAR_BACKEND", "GL"),
        ("GPAVATAR_SHADERS", "checked"),
        ("GPAVATAR_KERNELS", "cpu"),
        ("GPAVATAR_SUBGROUPS", "off"),
        ("GPAVATAR_MATRICES", "on"),
    ]);
    let options = options.unwrap();
    assert_eq!(options.adapter.as_deref(), Some("Voodoo 2"));
    assert_eq!(options.backends, wgpu::Backends::GL);
    assert_eq!(options.shaders, ShaderChecks::Checked);
    assert_eq!(options.kernels, Some(AdapterKind::Cpu));
    assert!(!options.subgroups && options.matrices);
    assert!(!options.poison && !options.cold);
}

#[test]
fn values_that_mean_nothing_are_refused() {
    for (name, value, known) in [
        (
            "GPAVATAR_BACKEND",
            "glide",
            "vulkan, metal, dx12, gl, webgpu",
        ),
        ("GPAVATAR_SHADERS", "fast", "trusted, checked"),
        ("GPAVATAR_KERNELS", "tpu", "gpu, cpu"),
        ("GPAVATAR_SUBGROUPS", "eight", "on, off"),
        ("GPAVATAR_MATRICES", "tensor", "on, off"),
    ] {
        let error = read(&[(name, value)]).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
        let expected = format!("{name}: expected one of {known}, found {value}");
        assert_eq!(error.to_string(), expected);
    }
}
