//! The peaks of an adapter: arithmetic in registers, and copies in memory.

use std::time::{Duration, Instant};

use gpavatar::wgpu::{self, util::DeviceExt as _};
use gpavatar::{Gpu, Result};
use serde::Serialize;

/// The adapter's peaks, against which kernels are measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Roofline {
    /// f32 operations in a nanosecond, a multiply-add counting as two.
    pub gflops: f64,
    /// Bytes read and written in a nanosecond.
    pub gbs: f64,
}

impl Roofline {
    /// The least time, in seconds, for these operations and bytes.
    pub fn seconds(&self, flops: f64, bytes: f64) -> f64 {
        (flops / self.gflops).max(bytes / self.gbs) * 1e-9
    }

    /// Measures both peaks; each takes a second or less.
    pub fn measure(gpu: &Gpu) -> Result<Self> {
        let rig = Rig::new(gpu);
        // 64 threads, each with 64 rounds of 24 multiply-adds of four numbers.
        let groups = 4096;
        let flops = f64::from(groups) * 64.0 * 64.0 * 24.0 * 4.0 * 2.0;
        let multiply_adds = rig.best_seconds("multiply_add", [groups, 1, 1])?;
        let rows = (rig.bytes / 16 / 64 / 1024) as u32;
        let copy = rig.best_seconds("copy", [1024, rows, 1])?;
        Ok(Self {
            gflops: flops * 1e-9 / multiply_adds,
            gbs: 2.0 * rig.bytes as f64 * 1e-9 / copy,
        })
    }
}

/// The two kernels and their buffers.
struct Rig<'a> {
    gpu: &'a Gpu,
    module: wgpu::ShaderModule,
    /// Size of each of the two buffers.
    bytes: u64,
    buffers: [wgpu::Buffer; 2],
}

impl<'a> Rig<'a> {
    fn new(gpu: &'a Gpu) -> Self {
        let device = gpu.device();
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some("roofline"),
            source: wgpu::ShaderSource::Wgsl(include_str!("roofline.wgsl").into()),
        };
        // SAFETY: the loop ends, and every thread stays within buffers of at least 4 MiB and of as
        // many vec4s as are copied.
        let module = unsafe {
            device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        };
        // Larger than any cache, and bindable on every device.
        let bytes = 128 << 20;
        let zeros = wgpu::util::BufferInitDescriptor {
            label: Some("roofline"),
            contents: &vec![0; bytes],
            usage: wgpu::BufferUsages::STORAGE,
        };
        Self {
            gpu,
            module,
            bytes: bytes as u64,
            buffers: [(); 2].map(|()| device.create_buffer_init(&zeros)),
        }
    }

    /// Seconds of one dispatch, the best of some batches that are long enough for the wall clock.
    fn best_seconds(&self, entry_point: &str, grid: [u32; 3]) -> Result<f64> {
        const LONG_ENOUGH: Duration = Duration::from_millis(40);
        let device = self.gpu.device();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry_point),
            layout: None,
            module: &self.module,
            entry_point: Some(entry_point),
            compilation_options: Default::default(),
            cache: None,
        });
        let [input, output] = &self.buffers;
        let entries = [(0, input), (1, output)].map(|(binding, buffer)| wgpu::BindGroupEntry {
            binding,
            resource: buffer.as_entire_binding(),
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(entry_point),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let batch = |dispatches: u32| -> Result<Duration> {
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            for _ in 0..dispatches {
                pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
            }
            drop(pass);
            let start = Instant::now();
            self.gpu.queue().submit([encoder.finish()]);
            self.gpu.wait("measuring the peaks")?;
            Ok(start.elapsed())
        };
        let mut dispatches = 1;
        // The first one compiles; the others only get longer.
        while batch(dispatches)? < LONG_ENOUGH && dispatches < 1 << 16 {
            dispatches *= 2;
        }
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            best = best.min(batch(dispatches)?.as_secs_f64() / f64::from(dispatches));
        }
        Ok(best)
    }
}
