//! How an avatar is built and a frame rendered.

/// Source of the style convolutions' noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Noise {
    /// The maps stored with the weights: the same picture every time.
    #[default]
    Stored,
    /// Fresh standard normal numbers for every seed.
    Seeded(u64),
    /// None.
    Zero,
}

/// Background of a rendered picture.
///
/// The network draws on black. For the other two, a pixel's alpha is the projection of its colour on the
/// foreground's, which the radiance field renders beside its opacity: at edges it follows what was drawn.
/// Colours stay sRGB-encoded; composited over black, both give [`Background::Black`]'s picture to within
/// half a step of 8 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Background {
    /// Opaque black, as the network renders.
    #[default]
    Black,
    /// Nothing, with straight alpha: as image files store it. `over = a · rgb + (1 - a) · behind`.
    Straight,
    /// Nothing, with colours multiplied by alpha: as most engines and canvases blend.
    /// `over = rgb + (1 - a) · behind`.
    Premultiplied,
}

/// How an avatar is built.
#[derive(Clone, Debug, Default)]
pub struct AvatarOptions {
    /// Identity coefficients of the head model: as many as it has, or none for its mean.
    pub shape: Vec<f32>,
    /// Noise of the encoder.
    pub noise: Noise,
}

/// How a frame is rendered.
#[derive(Clone, Copy, Debug, Default)]
pub struct RenderOptions {
    /// Noise of the super-resolver.
    pub noise: Noise,
    /// Background of the picture.
    pub background: Background,
    /// Keeps the low-resolution image and the picture in f32 with the frame, for
    /// [`Frame::low_res`](crate::Frame::low_res) and [`Frame::image_tensor`](crate::Frame::image_tensor).
    /// They take five times the memory of the picture.
    pub tensors: bool,
}
