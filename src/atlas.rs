//! Several avatars in one texture.

use std::sync::Arc;

use crate::avatar::Avatar;
use crate::drive::Drive;
use crate::error::{Error, Result};
use crate::frame::{Checked, RENDERING};
use crate::gpu::{Downloads, Times};
use crate::model::Model;
use crate::options::RenderOptions;
use crate::pipeline::Slot;

/// A grid of pictures in one texture, for a host that draws several avatars at once.
///
/// Tiles have the model's picture size and lie side by side, without borders, in rows from the
/// upper left corner. An atlas is made once and rendered into for every frame without allocating;
/// only the grid grows with the number of tiles.
///
/// ```no_run
/// # use gpavatar::{Atlas, Avatar, Drive, Model, RenderOptions};
/// # fn example(model: &Model, me: &Avatar, you: &Avatar) -> gpavatar::Result<()> {
/// let atlas = Atlas::new(model, [2, 1])?;
/// let (smiling, resting) = (Drive::neutral().expression("mouthSmileLeft", 0.8), Drive::neutral());
/// atlas.render(&[(me, &smiling), (you, &resting)], &RenderOptions::default())?;
/// atlas.to_image()?.save("both.png").unwrap();               // or atlas.view(): stays on the GPU
/// # Ok(())
/// # }
/// ```
pub struct Atlas {
    model: Model,
    grid: [u32; 2],
    texture: wgpu::Texture,
    view: wgpu::TextureView,
    srgb_view: Option<wgpu::TextureView>,
    downloads: Downloads,
    /// Every tile is rendered into this slot, then copied to its place. The slot belongs to the atlas
    /// alone, so that no other recording writes to it in between.
    slot: Arc<Slot>,
}

impl Atlas {
    /// An atlas of `[columns, rows]` tiles for avatars of this model, transparent black.
    ///
    /// # Errors
    /// [`Error::Argument`] for a grid without tiles, [`Error::Limit`] if the device has no texture of
    /// that size; [`Error::Gpu`] from the device.
    pub fn new(model: &Model, grid: [u32; 2]) -> Result<Self> {
        if grid.contains(&0) {
            return Err(Error::argument(
                "grid of the atlas",
                "at least one column and one row",
                format!("{} x {}", grid[0], grid[1]),
            ));
        }
        let gpu = model.gpu();
        let tile = model.config().output_size;
        let found = gpu.device().limits().max_texture_dimension_2d;
        let expected = u64::from(grid[0].max(grid[1])) * u64::from(tile);
        let what = format_args!("an atlas of {} x {} tiles", grid[0], grid[1]);
        Error::within(what, "max_texture_dimension_2d", expected, found)?;
        let [width, height] = grid.map(|count| count * tile);
        let usage = wgpu::TextureUsages::COPY_DST;
        gpu.scoped("setting an atlas up", || {
            let texture = gpu.picture("atlas", [width, height], usage);
            Ok(Self {
                model: model.clone(),
                grid,
                view: texture.create_view(&Default::default()),
                srgb_view: gpu.srgb_view(&texture),
                texture,
                downloads: Downloads::new(width, height),
                slot: model.renderer().slot(gpu, false)?,
            })
        })
    }

    /// Columns and rows.
    #[must_use]
    pub fn grid(&self) -> [u32; 2] {
        self.grid
    }

    /// Width and height of a tile in pixels.
    #[must_use]
    pub fn tile_size(&self) -> u32 {
        self.model.config().output_size
    }

    /// The upper left pixel `[x, y]` of a tile, if it exists: `index % columns` tiles from the
    /// left, `index / columns` from the top.
    #[must_use]
    pub fn tile(&self, index: usize) -> Option<[u32; 2]> {
        let [columns, rows] = self.grid;
        let (index, columns) = (index as u64, u64::from(columns));
        let (column, row) = (index % columns, index / columns);
        // Both are then less than counts of 32 bits.
        (row < u64::from(rows)).then(|| [column, row].map(|i| i as u32 * self.tile_size()))
    }

    /// The pictures as an `rgba8unorm` texture, sRGB-encoded as the network was trained, row 0 on
    /// top. Every frame uses the same texture.
    #[must_use]
    pub fn texture(&self) -> &wgpu::Texture {
        &self.texture
    }

    /// A view of [`Atlas::texture`], to draw with.
    #[must_use]
    pub fn view(&self) -> &wgpu::TextureView {
        &self.view
    }

    /// The same pixels in linear light: see [`Frame::srgb_view`](crate::Frame::srgb_view).
    #[must_use]
    pub fn srgb_view(&self) -> Option<&wgpu::TextureView> {
        self.srgb_view.as_ref()
    }

    /// Renders every `(avatar, drive)` into the tile of its index: the same pictures as
    /// [`Avatar::render_with`]. Other tiles keep their content.
    ///
    /// All of them are checked before the first is rendered. Up to eight share a submission, and
    /// none is waited for.
    ///
    /// # Errors
    /// See [`Model::render_many`]; [`Error::Argument`] for more frames than tiles.
    pub fn render(&self, frames: &[(&Avatar, &Drive)], options: &RenderOptions) -> Result<()> {
        let gpu = self.model.gpu();
        let inputs = self.inputs(frames)?;
        gpu.scoped(RENDERING, || {
            let mut tiles = inputs.iter().enumerate().peekable();
            while tiles.peek().is_some() {
                let mut encoder = gpu.device().create_command_encoder(&Default::default());
                for (index, input) in tiles.by_ref().take(Model::PER_SUBMISSION) {
                    self.record_tile(&mut encoder, index, input, options)?;
                }
                self.model.submit(encoder);
            }
            Ok(())
        })
    }

    /// Records what [`Atlas::render`] does into the host application's command encoder, to be
    /// submitted with the rest of its work.
    ///
    /// # Errors
    /// See [`Atlas::render`]; nothing has been recorded if it is an [`Error::Argument`].
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        frames: &[(&Avatar, &Drive)],
        options: &RenderOptions,
    ) -> Result<()> {
        let inputs = self.inputs(frames)?;
        self.model.gpu().scoped(RENDERING, || {
            let mut tiles = inputs.iter().enumerate();
            tiles.try_for_each(|(index, input)| self.record_tile(encoder, index, input, options))
        })
    }

    fn inputs<'a>(&self, frames: &[(&'a Avatar, &'a Drive)]) -> Result<Vec<Checked<'a>>> {
        if let Some(last) = frames.len().checked_sub(1)
            && self.tile(last).is_none()
        {
            let [columns, rows] = self.grid;
            return Err(Error::argument(
                "frames",
                format!("at most one for each of {columns} x {rows} tiles"),
                frames.len().to_string(),
            ));
        }
        Checked::all(&self.model, frames)
    }

    fn record_tile(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        index: usize,
        input: &Checked<'_>,
        options: &RenderOptions,
    ) -> Result<()> {
        let Some([x, y]) = self.tile(index) else {
            return Ok(());
        };
        input.record_into(&self.slot, encoder, options, Times::None)?;
        let mut target = self.texture.as_image_copy();
        target.origin = wgpu::Origin3d { x, y, z: 0 };
        let picture = &self.slot.texture;
        encoder.copy_texture_to_texture(picture.as_image_copy(), target, picture.size());
        Ok(())
    }

    /// Waits for the pictures and copies all of them to the host.
    ///
    /// # Errors
    /// See [`Atlas::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_image(&self) -> Result<image::RgbaImage> {
        pollster::block_on(self.read())
    }

    /// Copies all pictures to the host. Where numbers of a rendering are not finite, its tile is
    /// black: only a [`Frame`](crate::Frame) tells.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device has no buffer of the atlas' size, [`Error::Gpu`] if it failed.
    pub async fn read(&self) -> Result<image::RgbaImage> {
        let read = self.downloads.read(self.model.gpu(), &self.texture, None);
        Ok(read.await?.0)
    }
}

impl std::fmt::Debug for Atlas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Atlas")
            .field("grid", &self.grid)
            .field("tile_size", &self.tile_size())
            .finish_non_exhaustive()
    }
}
