//! How an avatar is built and a frame rendered.

/// Source of the style convolutions' noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// Opaque black, as the network renders.
    #[default]
    Black,
    /// Nothing: straight alpha from the accumulated opacity.
    Transparent,
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
}
