//! Adapters, backends, limits and environment variables.

use std::process::{Command, Output};

use gpavatar::{AdapterKind, Avatar, Error, Gpu, GpuOptions, Model, Result, ShaderChecks, wgpu};

use crate::common::absent::absent;
use crate::common::refused;
use crate::common::tiny::{self, Picture, drives, gpu, planes};
use crate::common::{Within, difference, host_gpu};

#[test]
fn another_backend_gives_the_same_pictures() {
    let gl = match tiny::gpu_with(|options| options.backends = wgpu::Backends::GL) {
        Ok(gl) => gl,
        Err(Error::NoAdapter { reason, found }) => {
            return absent("gl", &format!("{reason}; found {found}"));
        }
        // Listed, but no use: NVIDIA's GL without a display, for example.
        Err(error @ Error::Device { .. }) => return absent("gl", &error.to_string()),
        Err(error) => panic!("{error}"),
    };
    println!("{} beside {}", gl.description(), gpu().description());
    let sources = [tiny::picture(32, 32, 0), tiny::picture(60, 50, 1)];
    for config in [tiny::config(), tiny::released()] {
        let [here, there] = [gpu(), &gl].map(|gpu| {
            let model = Model::new(gpu, tiny::weights(&config)).unwrap();
            Avatar::from_images(&model, &sources).unwrap()
        });
        difference("planes", &planes(&there), &planes(&here)).all_within_range(3e-5);
        for drive in drives(2) {
            let [here, there] = [&here, &there].map(|avatar| Picture::render(avatar, &drive));
            difference("low_res", &there.low_res, &here.low_res)
                .within_range(3e-4, 0.02)
                .all_within_range(1e-2);
            difference("image", &there.image, &here.image).all_within(1e-3);
        }
    }
}

#[test]
fn devices_whose_limits_are_too_small() {
    let result = host_gpu(wgpu::Limits::downlevel_defaults(), ShaderChecks::Trusted);
    let limit = "max_storage_buffers_per_shader_stage";
    refused::limit(result, &["the kernel ", limit, "the device has 4"]);

    let limited = |change: fn(&mut wgpu::Limits), shaders| {
        let mut limits = wgpu::Limits::default();
        change(&mut limits);
        host_gpu(limits, shaders)
    };
    let few_invocations = |limits: &mut wgpu::Limits| {
        limits.max_compute_invocations_per_workgroup = 128;
        limits.max_compute_workgroup_size_x = 128;
    };
    let result = limited(few_invocations, ShaderChecks::Checked);
    let limit = "of at least 256, the device has 128";
    let parts = ["the kernel output/depth", limit];
    refused::limit(result, &parts);

    // Enough for every kernel, but not for the tensors, dispatches and pictures of this network.
    let refused = |change: fn(&mut wgpu::Limits), what: &str, limit: &str| {
        let gpu = limited(change, ShaderChecks::Trusted).unwrap();
        let result = Model::new(&gpu, tiny::weights(&tiny::config()));
        refused::limit(result, &[what, limit]);
    };
    let small_bindings =
        |limits: &mut wgpu::Limits| limits.max_storage_buffer_binding_size = 1 << 12;
    refused(
        small_bindings,
        "the tensor ",
        "max_storage_buffer_binding_size",
    );
    let few_workgroups =
        |limits: &mut wgpu::Limits| limits.max_compute_workgroups_per_dimension = 8;
    let limit = "max_compute_workgroups_per_dimension of at least ";
    refused(few_workgroups, limit, "the device has 8");
    let small_textures = |limits: &mut wgpu::Limits| limits.max_texture_dimension_2d = 16;
    let limit = "max_texture_dimension_2d of at least 32, the device has 16";
    refused(small_textures, "the picture", limit);
}

#[test]
fn adapters_that_do_not_exist() {
    let request = |adapter: Option<&str>, backends: wgpu::Backends| {
        let options = GpuOptions {
            adapter: adapter.map(Into::into),
            backends,
            ..GpuOptions::default()
        };
        Gpu::with_options(&options)
    };
    let here = gpu().description();
    let here = here.split(" (").next().unwrap();
    let install = "apt-get install mesa-vulkan-drivers";
    let unknown = request(Some("Voodoo 2"), wgpu::Backends::all());
    let parts = ["\"Voodoo 2\"", "Adapters found: ", here, install];
    refused::no_adapter(unknown, &parts);
    // If the requested backend has no adapter, the message still lists those of the others.
    let absent = if cfg!(target_os = "macos") {
        wgpu::Backends::DX12
    } else {
        wgpu::Backends::METAL
    };
    let (name, _) = absent.iter_names().next().unwrap();
    let parts = ["none on ", name, here, install];
    refused::no_adapter(request(None, absent), &parts);
}

/// Set in the processes that the tests below start: a process's own environment cannot be changed
/// safely while other tests read it.
const CHILD: &str = "GPAVATAR_TEST_CHILD";

/// Runs the named test in a process of its own, where [`CHILD`] is set.
fn child(test: &str, change: impl FnOnce(&mut Command) -> &mut Command) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    let output = change(command.env(CHILD, "")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn print_opened(gpu: Result<Gpu, Error>) {
    match gpu {
        Ok(gpu) => println!("opened {:?} {}", gpu.kind(), gpu.description()),
        Err(error) => println!("refused: {error}"),
    }
}

#[test]
fn the_environment_counts_where_it_is_asked_for() {
    const NAME: &str = "behaviour::adapters::the_environment_counts_where_it_is_asked_for";
    if std::env::var_os(CHILD).is_some() {
        print_opened(GpuOptions::from_env().and_then(|options| Gpu::with_options(&options)));
        println!("without the environment:");
        return print_opened(Gpu::new());
    }
    let answers = |variable: &str, value: &str| {
        let output = child(NAME, |command| command.env(variable, value));
        let output = String::from_utf8(output.stdout).unwrap();
        let (asked, unasked) = output.split_once("without the environment:").unwrap();
        (asked.to_owned(), unasked.to_owned())
    };
    let found = "Adapters found: ";
    for (variable, value, parts) in [
        (
            "GPAVATAR_BACKEND",
            "glide",
            ["one of vulkan", "found glide"],
        ),
        ("GPAVATAR_ADAPTER", "Voodoo 2", ["\"Voodoo 2\"", found]),
    ] {
        let (asked, unasked) = answers(variable, value);
        for part in parts.into_iter().chain(["refused: "]) {
            assert!(asked.contains(part), "no {part:?} in: {asked}");
        }
        assert!(unasked.contains("opened "), "{unasked}");
    }
    for kind in [AdapterKind::Gpu, AdapterKind::Cpu] {
        let (asked, _) = answers("GPAVATAR_KERNELS", &format!("{kind:?}"));
        assert!(asked.contains(&format!("opened {kind:?}")), "{asked}");
    }
}

#[test]
fn opening_a_device_says_nothing() {
    const NAME: &str = "behaviour::adapters::opening_a_device_says_nothing";
    if std::env::var_os(CHILD).is_some() {
        return print_opened(Gpu::new());
    }
    let output = child(NAME, |command| {
        let command = command.env_remove("XDG_RUNTIME_DIR");
        // Mesa's layer that orders Vulkan devices complains where there is no Wayland.
        command.env("NODEVICE_SELECT", "1")
    });
    let opened = String::from_utf8_lossy(&output.stdout);
    assert!(opened.contains("opened "), "{opened}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
