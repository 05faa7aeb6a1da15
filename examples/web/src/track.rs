//! Faces in pictures and videos.

use gpavatar::image::RgbaImage;
use gpavatar::track::{self, Calibration, DriverOptions, NetFiles, Picture, TrackerOptions};
use js_sys::Object;
use wasm_bindgen::prelude::*;

use crate::error::{self, Result, js};
use crate::{Model, sample};

/// Finds faces in pictures, and follows one in a video, on a model's device.
#[wasm_bindgen]
pub struct Tracker {
    tracker: track::Tracker,
    /// The video's frame on the device, with its width and height.
    frame: Option<([u32; 2], Picture)>,
}

#[wasm_bindgen]
impl Tracker {
    /// Sets the networks up from the content of their files.
    #[wasm_bindgen(constructor)]
    pub fn new(model: &Model, task: &[u8], segmentation: Option<Vec<u8>>) -> Result<Tracker> {
        let files = NetFiles::from_bytes(task, segmentation.as_deref()).map_err(js)?;
        let options = TrackerOptions::default();
        let tracker = track::Tracker::new(model.0.gpu(), &files, options);
        Ok(Self {
            tracker: tracker.map_err(js)?,
            frame: None,
        })
    }

    /// The face of a picture of RGBA pixels with straight alpha, if there is one.
    pub async fn still(&self, width: u32, height: u32, pixels: Vec<u8>) -> Result<Option<Still>> {
        let picture = RgbaImage::from_raw(width, height, pixels);
        let picture = picture.ok_or_else(|| {
            let message = format!("picture: expected {width} x {height} pixels of 4 bytes");
            error::new("argument", &message)
        })?;
        let mut stills = self.tracker.still(&picture).await.map_err(js)?;
        Ok(stills.pop().map(Still))
    }

    /// The face of a video's next frame, `seconds` after the last one: none before it is first seen.
    pub async fn frame(
        &mut self,
        width: u32,
        height: u32,
        pixels: Vec<u8>,
        seconds: f64,
    ) -> Result<Option<Face>> {
        let gpu = self.tracker.nets().gpu().clone();
        let size = [width, height];
        match &mut self.frame {
            Some((last, picture)) if *last == size => picture.replace(&gpu, &pixels).map_err(js)?,
            frame => {
                let picture = Picture::new(&gpu, width, height, &pixels).map_err(js)?;
                *frame = Some((size, picture));
                // Places in frames of another size mean nothing here.
                self.tracker.restart();
            }
        }
        let Some((_, picture)) = &self.frame else {
            return Ok(None);
        };
        let faces = self.tracker.frame(picture, seconds).await.map_err(js)?;
        Ok(faces.first().cloned().map(Face))
    }

    /// Forgets the video.
    pub fn restart(&mut self) {
        self.tracker.restart();
    }
}

#[cfg(feature = "testing")]
impl Tracker {
    pub fn nets(&self) -> &track::Nets {
        self.tracker.nets()
    }
}

/// A face.
#[wasm_bindgen]
pub struct Face(track::TrackedFace);

#[wasm_bindgen]
impl Face {
    /// Whether it was not found in this frame: all else is of the last one that it was in.
    #[wasm_bindgen(getter)]
    pub fn lost(&self) -> bool {
        self.0.lost
    }

    /// How sure it is that there is a face, from 0 to 1.
    #[wasm_bindgen(getter)]
    pub fn presence(&self) -> f32 {
        self.0.landmarks.presence
    }

    /// x, y, z of every landmark in pixels of the picture.
    #[wasm_bindgen(getter)]
    pub fn landmarks(&self) -> Vec<f32> {
        let points = self.0.landmarks.points.iter();
        points.flat_map(|point| point.to_array()).collect()
    }

    /// Scores of ARKit's 52 channels.
    #[wasm_bindgen(getter)]
    pub fn scores(&self) -> Vec<f32> {
        self.0.scores.to_vec()
    }
}

/// A face of a picture, cut out.
#[wasm_bindgen]
pub struct Still(track::TrackedStill);

#[wasm_bindgen]
impl Still {
    /// The face in the whole picture.
    #[wasm_bindgen(getter)]
    pub fn face(&self) -> Face {
        Face(self.0.face.clone())
    }

    /// Width and height of the crop.
    #[wasm_bindgen(getter)]
    pub fn size(&self) -> u32 {
        self.0.source.width()
    }

    /// The crop on black: RGBA, row by row from the top.
    #[wasm_bindgen(getter)]
    pub fn pixels(&self) -> Vec<u8> {
        self.0.source.pixels().to_vec()
    }

    /// World-to-camera transform of the crop's camera, 3 rows of 4.
    #[wasm_bindgen(getter)]
    pub fn transform(&self) -> Vec<f32> {
        let camera = self.0.source.camera();
        camera.map_or_else(Vec::new, |camera| camera.transform.as_flattened().to_vec())
    }
}

/// Turns tracked faces into drives of a model.
#[wasm_bindgen]
pub struct Driver {
    model: gpavatar::Model,
    driver: track::Driver,
}

#[wasm_bindgen]
impl Driver {
    /// A driver of the model's head; `calibration` is `first-second`, `running` or `manual`.
    #[wasm_bindgen(constructor)]
    pub fn new(model: &Model, calibration: &str, mirror: bool) -> Result<Driver> {
        let calibration = match calibration {
            "first-second" => Calibration::FirstSecond,
            "running" => Calibration::Running,
            "manual" => Calibration::Manual,
            other => {
                let message =
                    format!("calibration: expected first-second, running or manual, found {other}");
                return Err(error::new("argument", &message));
            }
        };
        let head = model.0.head().ok_or_else(|| {
            error::new(
                "argument",
                "model to drive: expected a head model, found none",
            )
        })?;
        let options = DriverOptions {
            calibration,
            mirror,
            ..DriverOptions::default()
        };
        Ok(Self {
            driver: track::Driver::new(head, options).map_err(js)?,
            model: model.0.clone(),
        })
    }

    /// The drive for a frame that comes `seconds` after the last one, with its face or without: an
    /// object like those of [`Motion::sample`](crate::Motion::sample).
    pub fn drive(&mut self, face: Option<Face>, seconds: f64) -> Result<Object> {
        let face = face.as_ref().and_then(|face| face.0.frame());
        let drive = self.driver.drive(face.as_ref(), seconds);
        sample(&self.model, &drive.map_err(js)?)
    }

    /// Takes the last face for the neutral one.
    pub fn calibrate(&mut self) {
        self.driver.calibrate();
    }

    /// Turns left into right, or not.
    #[wasm_bindgen(setter)]
    pub fn set_mirror(&mut self, mirror: bool) {
        self.driver.set_mirror(mirror);
    }
}
