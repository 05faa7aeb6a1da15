//! A picture of somebody becomes a picture of the same head, from the side and with an open mouth.
//!
//! `cargo run --release --example hello -- [WEIGHTS] [PICTURE]`

use std::error::Error;

use gpavatar::{Avatar, Camera, Drive, Gpu, Model, SourceImage, Weights};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let weights = match args.next() {
        Some(path) => Weights::open(path)?,
        None => Weights::from_bytes(gpavatar_demo::NETWORK)?,
    };
    let gpu = Gpu::new()?;
    println!("{}", gpu.description());
    let model = Model::new(&gpu, weights)?;

    let picture = match args.next() {
        Some(path) => SourceImage::open(path)?,
        None => SourceImage::from_bytes(gpavatar_demo::PICTURE)?,
    };
    // The camera stood 10.6 units away, 2 degrees above the head and 8 to its left.
    let source = picture.tracked(Camera::orbit(10.6, 2.0, 8.0));
    let avatar = Avatar::from_images(&model, &[source])?;

    let drive = Drive::neutral()
        .expression("jawOpen", 0.6)
        .camera(Camera::orbit(10.6, 5.0, -20.0));
    let frame = avatar.render(&drive)?;
    frame.to_image()?.save("hello.png")?;
    println!("hello.png");
    Ok(())
}
