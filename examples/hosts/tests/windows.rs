//! What the hosts' windows show on a screen is the picture that the library renders.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gpavatar::image::imageops::{FilterType, resize};
use gpavatar::image::{Rgb, RgbImage};
use gpavatar::{
    Avatar, Background, Camera, Drive, Gpu, Model, RenderOptions, SourceImage, Weights,
};

/// Width and height of an avatar in the windows.
const SIDE: u32 = 512;

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A screen in memory, in a file of the folder. Its pointer is in the middle, beside the windows, which
/// open in the upper left corner.
fn screen(folder: &Path) -> (Process, String) {
    let mut server = Command::new("Xvfb")
        .args("-displayfd 1 -nolisten tcp -screen 0 1280x1280x24 -fbdir".split(' '))
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Xvfb: .ci/setup.sh installs it");
    let answer = server.stdout.take().unwrap();
    let server = Process(server);
    let mut number = String::new();
    BufReader::new(answer).read_line(&mut number).unwrap();
    (server, format!(":{}", number.trim()))
}

/// The upper left corner of the screen, from a file of the format XWD.
fn shown(folder: &Path) -> RgbImage {
    let file = std::fs::read(folder.join("Xvfb_screen0")).unwrap();
    let word = |i: usize| u32::from_be_bytes(file[4 * i..4 * i + 4].try_into().unwrap()) as usize;
    let (header, bits, row, colours) = (word(0), word(11), word(12), word(19));
    assert_eq!(bits, 32, "bits of a pixel");
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let at = header + 12 * colours + row * y as usize + 4 * x as usize;
        Rgb([file[at + 2], file[at + 1], file[at]])
    })
}

/// The picture of the library over a colour, enlarged as a sampler does.
fn rendered(behind: [u8; 3]) -> RgbImage {
    let gpu = Gpu::new().unwrap();
    let weights = Weights::from_bytes(gpavatar_demo::NETWORK).unwrap();
    let model = Model::new(&gpu, weights).unwrap();
    let picture = SourceImage::from_bytes(gpavatar_demo::PICTURE).unwrap();
    let picture = picture.tracked(Camera::orbit(10.6, 2.0, 8.0));
    let avatar = Avatar::from_images(&model, &[picture]).unwrap();
    let drive = Drive::neutral().camera(Camera::orbit(10.6, 0.0, 0.0));
    let options = RenderOptions {
        background: Background::Premultiplied,
        ..Default::default()
    };
    let frame = avatar.render_with(&drive, &options).unwrap();
    let frame = resize(&frame.to_image().unwrap(), SIDE, SIDE, FilterType::Triangle);
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let [colour @ .., alpha] = frame.get_pixel(x, y).0;
        let rest = 1.0 - f32::from(alpha) / 255.0;
        let over = |i: usize| f32::from(colour[i]) + rest * f32::from(behind[i]);
        Rgb([0, 1, 2].map(|i| over(i).round() as u8))
    })
}

fn mean_difference(a: &RgbImage, b: &RgbImage) -> f64 {
    let values = a.as_raw().iter().zip(b.as_raw());
    let sum: u64 = values.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.as_raw().len() as f64
}

/// Waits until the host's window shows the avatar over this colour.
fn shows(name: &str, host: &str, behind: [u8; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let (_screen, display) = screen(folder.path());
    let host = Command::new(host)
        .env("DISPLAY", display)
        .env("WINIT_X11_SCALE_FACTOR", "1")
        .env_remove("WAYLAND_DISPLAY")
        .spawn();
    let mut host = Process(host.unwrap());
    let expected = rendered(behind);
    let began = Instant::now();
    loop {
        let ended = host.0.try_wait().unwrap();
        assert!(ended.is_none(), "the host ended: {ended:?}");
        let found = shown(folder.path());
        let difference = mean_difference(&expected, &found);
        // Rounding. Colours that are decoded once too often or too seldom are off by 10 and more.
        if difference < 0.5 {
            println!("{difference:.3} of 255 after {:.1?}", began.elapsed());
            return;
        }
        if began.elapsed() > Duration::from_secs(120) {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            expected.save(folder.join("expected.png")).unwrap();
            found.save(folder.join("found.png")).unwrap();
            panic!("the window differs by {difference:.2} of 255: {folder:?}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_window_of_winit_shows_the_avatar() {
    shows("winit", env!("CARGO_BIN_EXE_embed_winit"), [0; 3]);
}

#[test]
fn an_image_of_egui_shows_the_avatar_over_its_panel() {
    shows("egui", env!("CARGO_BIN_EXE_embed_egui"), [27; 3]);
}
