//! Several avatars in one texture.

use gpavatar::{Avatar, Drive};
use wasm_bindgen::prelude::*;

use crate::canvas::Canvas;
use crate::error::{self, Result, js};
use crate::{Alpha, Model, Person, drive, options};

/// Avatars and what drives them, one for each tile.
#[wasm_bindgen]
#[derive(Default)]
pub struct Tiles(Vec<(Avatar, Drive)>);

#[wasm_bindgen]
impl Tiles {
    /// None yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Fills the next tile: see [`Person::render`].
    pub fn add(
        &mut self,
        avatar: &Person,
        expression: Vec<f32>,
        pose: Vec<f32>,
        transform: Vec<f32>,
        focal: f32,
    ) -> Result<()> {
        let drive = drive(expression, pose, &transform, focal)?;
        self.0.push((avatar.0.clone(), drive));
        Ok(())
    }
}

/// A grid of pictures in one texture, which stays the same.
#[wasm_bindgen]
pub struct Atlas(gpavatar::Atlas);

#[wasm_bindgen]
impl Atlas {
    /// An atlas of transparent tiles for a model's avatars.
    #[wasm_bindgen(constructor)]
    pub fn new(model: &Model, columns: u32, rows: u32) -> Result<Atlas> {
        let atlas = gpavatar::Atlas::new(&model.0, [columns, rows]);
        Ok(Self(atlas.map_err(js)?))
    }

    /// The browser's texture.
    #[wasm_bindgen(getter)]
    pub fn texture(&self) -> Result<JsValue> {
        let texture = self.0.texture().as_webgpu();
        let texture = texture.ok_or_else(|| error::new("internal", "not a WebGPU texture"))?;
        Ok(texture.clone().into())
    }

    /// Submits a frame of every avatar.
    pub fn render(&self, tiles: &Tiles, alpha: Alpha) -> Result<()> {
        let frames: Vec<_> = tiles
            .0
            .iter()
            .map(|(avatar, drive)| (avatar, drive))
            .collect();
        self.0.render(&frames, &options(alpha)).map_err(js)
    }

    /// Submits the copy of all tiles onto a canvas, whose size becomes theirs.
    pub fn present(&self, canvas: &Canvas) -> Result<()> {
        canvas.show(self.0.texture())
    }
}
