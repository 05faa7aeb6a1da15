//! How an avatar is built and a frame rendered.

/// Where the noise of the style convolutions comes from.
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

/// What is behind the head in a rendered picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// Black, opaque: what the network renders.
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
    /// What is behind the head.
    pub background: Background,
}
