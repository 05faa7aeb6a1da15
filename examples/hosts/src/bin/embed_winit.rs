//! An avatar in a window of winit, with a loop of the application's own. It turns with the pointer.
//!
//! `cargo run --release -p gpavatar-hosts --bin embed_winit`

use std::error::Error;
use std::sync::Arc;

use gpavatar::wgpu::util::{TextureBlitter, TextureBlitterBuilder};
use gpavatar::wgpu::{self, CurrentSurfaceTexture as Current};
use gpavatar::{Avatar, Camera, Drive, Gpu, Model, RenderOptions, SourceImage, Weights};
use winit::application::ApplicationHandler;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, EventLoop, EventLoopProxy};
use winit::window::{Window, WindowId};

/// An avatar, or why there is none.
type Made = gpavatar::Result<Avatar>;

struct App {
    proxy: EventLoopProxy<Made>,
    screen: Option<Screen>,
    avatar: Option<Avatar>,
    drive: Drive,
}

struct Screen {
    window: Arc<Window>,
    surface: wgpu::Surface<'static>,
    config: wgpu::SurfaceConfiguration,
    gpu: Gpu,
    blitter: TextureBlitter,
}

fn main() -> Result<(), Box<dyn Error>> {
    let events = EventLoop::with_user_event().build()?;
    let mut app = App {
        proxy: events.create_proxy(),
        screen: None,
        avatar: None,
        drive: Drive::neutral().camera(Camera::orbit(10.6, 0.0, 0.0)),
    };
    Ok(events.run_app(&mut app)?)
}

/// Makes an avatar, and a first frame: that compiles what later ones use.
fn make(gpu: &Gpu) -> Made {
    let model = Model::new(gpu, Weights::from_bytes(gpavatar_demo::NETWORK)?)?;
    let picture = SourceImage::from_bytes(gpavatar_demo::PICTURE)?;
    let avatar = Avatar::from_images(&model, &[picture.tracked(Camera::orbit(10.6, 2.0, 8.0))])?;
    avatar.render(&Drive::neutral())?.to_image()?;
    Ok(avatar)
}

impl Screen {
    async fn open(window: Window, proxy: EventLoopProxy<Made>) -> Result<Self, Box<dyn Error>> {
        let window = Arc::new(window);
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let surface = instance.create_surface(window.clone())?;
        // A host that has a device already has `Gpu::from_device` in place of this: ../../../embed.rs.
        let options = Default::default();
        let gpu = Gpu::request_for(&instance, Some(&surface), &options).await?;

        // An avatar's colours are sRGB-encoded. The window stores them as they are.
        let size = window.inner_size();
        let config = surface.get_default_config(gpu.adapter(), size.width, size.height);
        let mut config = config.ok_or("the adapter cannot draw to the window")?;
        config.format = config.format.remove_srgb_suffix();
        surface.configure(gpu.device(), &config);
        let blitter = TextureBlitterBuilder::new(gpu.device(), config.format)
            .sample_type(wgpu::FilterMode::Linear)
            .build();

        // The window lives on while kernels are compiled.
        let handle = gpu.clone();
        std::thread::spawn(move || proxy.send_event(make(&handle)).is_ok());
        Ok(Self {
            window,
            surface,
            config,
            gpu,
            blitter,
        })
    }

    fn draw(&self, avatar: &Avatar, drive: &Drive) -> gpavatar::Result<()> {
        let target = match self.surface.get_current_texture() {
            Current::Success(target) | Current::Suboptimal(target) => target,
            // Minimised, or resized: that draws anew.
            _ => return Ok(()),
        };
        let device = self.gpu.device();
        let mut encoder = device.create_command_encoder(&Default::default());
        let frame = avatar.record(&mut encoder, drive, &RenderOptions::default())?;
        let view = target.texture.create_view(&Default::default());
        let blitter = &self.blitter;
        blitter.copy(device, &mut encoder, frame.view(), &view);
        self.gpu.queue().submit([encoder.finish()]);
        self.window.pre_present_notify();
        self.gpu.queue().present(target);
        Ok(())
    }
}

impl ApplicationHandler<Made> for App {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        let size = winit::dpi::LogicalSize::new(512, 512);
        let window = Window::default_attributes()
            .with_title("gpavatar")
            .with_inner_size(size);
        let window = events.create_window(window).expect("a display");
        let screen = pollster::block_on(Screen::open(window, self.proxy.clone()));
        self.screen = Some(screen.expect("a device that draws to the window"));
    }

    fn user_event(&mut self, _: &ActiveEventLoop, made: Made) {
        self.avatar = Some(made.expect("an avatar"));
        if let Some(screen) = &self.screen {
            screen.window.request_redraw();
        }
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        let Some(screen) = &mut self.screen else {
            return;
        };
        match event {
            WindowEvent::CloseRequested => events.exit(),
            WindowEvent::Resized(size) if size.width > 0 && size.height > 0 => {
                (screen.config.width, screen.config.height) = (size.width, size.height);
                let device = screen.gpu.device();
                screen.surface.configure(device, &screen.config);
                screen.window.request_redraw();
            }
            WindowEvent::CursorMoved { position, .. } => {
                let side = f64::from(screen.config.width);
                let [x, y] = [position.x, position.y].map(|at| (at / side - 0.5) as f32);
                let camera = Camera::orbit(10.6, 30.0 * y, -60.0 * x);
                self.drive.set_camera(camera);
                screen.window.request_redraw();
            }
            WindowEvent::RedrawRequested => {
                if let Some(avatar) = &self.avatar {
                    screen.draw(avatar, &self.drive).expect("a frame");
                }
            }
            _ => {}
        }
    }
}
