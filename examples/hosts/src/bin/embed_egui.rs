//! An avatar as an image of egui, with sliders for its face. It shares egui's device.
//!
//! `cargo run --release -p gpavatar-hosts --bin embed_egui`

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use eframe::egui_wgpu::{RenderState, WgpuSetup, WgpuSetupCreateNew};
use eframe::{CreationContext, NativeOptions, egui, wgpu};
use gpavatar::{
    Atlas, Avatar, Background, Camera, Drive, Gpu, GpuOptions, Model, RenderOptions, SourceImage,
    Weights,
};

/// A face, or why there is none.
type Made = gpavatar::Result<Face>;

struct App {
    egui: RenderState,
    making: Receiver<Made>,
    shown: Option<Result<(Face, egui::TextureId), String>>,
    jaw: f32,
    smile: f32,
}

/// An avatar and the texture that it is always drawn to: egui is told of it once.
struct Face {
    avatar: Avatar,
    atlas: Atlas,
}

fn main() -> eframe::Result {
    let mut setup = WgpuSetupCreateNew::without_display_handle();
    setup.device_descriptor = Arc::new(|adapter| wgpu::DeviceDescriptor {
        required_features: adapter.features() & Gpu::optional_features(),
        required_limits: Gpu::required_limits(),
        ..Default::default()
    });
    let mut options = NativeOptions::default();
    options.wgpu_options.wgpu_setup = WgpuSetup::CreateNew(setup);
    options.viewport = egui::ViewportBuilder::default().with_inner_size([512.0, 600.0]);
    let app = |context: &CreationContext<'_>| Ok(Box::new(App::new(context)?) as _);
    eframe::run_native("gpavatar", options, Box::new(app))
}

impl App {
    fn new(
        context: &CreationContext<'_>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let egui = context.wgpu_render_state.clone();
        let egui = egui.ok_or("egui does not draw with wgpu")?;
        let (device, queue) = (egui.device.clone(), egui.queue.clone());
        let gpu = Gpu::from_device(&egui.adapter, device, queue, &GpuOptions::default())?;
        // The window lives on while the kernels are compiled.
        let (made, making) = channel();
        let context = context.egui_ctx.clone();
        std::thread::spawn(move || {
            // Nobody listens once the window is closed.
            let _ = made.send(Face::new(&gpu));
            context.request_repaint();
        });
        Ok(Self {
            egui,
            making,
            shown: None,
            jaw: 0.0,
            smile: 0.0,
        })
    }

    fn take(&mut self, made: Made) -> Result<(Face, egui::TextureId), String> {
        let face = made.map_err(|error| error.to_string())?;
        // egui samples encoded colours, as they are in this view.
        let view = face.atlas.view();
        let mut renderer = self.egui.renderer.write();
        let linear = wgpu::FilterMode::Linear;
        let texture = renderer.register_native_texture(&self.egui.device, view, linear);
        Ok((face, texture))
    }
}

impl Face {
    /// Makes the avatar and a first picture: that compiles what later ones use.
    fn new(gpu: &Gpu) -> Made {
        let model = Model::new(gpu, Weights::from_bytes(gpavatar_demo::NETWORK)?)?;
        let picture = SourceImage::from_bytes(gpavatar_demo::PICTURE)?;
        let picture = picture.tracked(Camera::orbit(10.6, 2.0, 8.0));
        let avatar = Avatar::from_images(&model, &[picture])?;
        let atlas = Atlas::new(&model, [1, 1])?;
        let face = Self { avatar, atlas };
        face.draw(0.0, 0.0)?;
        face.atlas.to_image()?;
        Ok(face)
    }

    /// Submits the work and does not wait for it. What egui submits after it sees the new picture.
    fn draw(&self, jaw: f32, smile: f32) -> gpavatar::Result<()> {
        let drive = Drive::neutral()
            .expression("jawOpen", jaw)
            .expression("mouthSmileLeft", smile)
            .expression("mouthSmileRight", smile)
            .camera(Camera::orbit(10.6, 0.0, 0.0));
        let options = RenderOptions {
            // As egui blends.
            background: Background::Premultiplied,
            ..Default::default()
        };
        self.atlas.render(&[(&self.avatar, &drive)], &options)
    }
}

impl eframe::App for App {
    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }

    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        if let Ok(made) = self.making.try_recv() {
            self.shown = Some(self.take(made));
        }
        match &self.shown {
            None => {
                ui.horizontal(|ui| (ui.spinner(), ui.label("The avatar is being made")));
            }
            Some(Err(error)) => {
                ui.label(error);
            }
            Some(Ok((face, texture))) => {
                ui.image((*texture, egui::Vec2::splat(512.0)));
                let jaw = egui::Slider::new(&mut self.jaw, 0.0..=1.0).text("jawOpen");
                let smile = egui::Slider::new(&mut self.smile, 0.0..=1.0).text("smile");
                if ui.add(jaw).changed() | ui.add(smile).changed()
                    && let Err(error) = face.draw(self.jaw, self.smile)
                {
                    self.shown = Some(Err(error.to_string()));
                }
            }
        }
    }
}
