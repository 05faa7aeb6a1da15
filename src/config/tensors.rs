use super::{ConvConfig, ConvKind, ModelConfig, ResBlock, StyleUnetConfig};
use crate::error::Result;

/// A tensor of the authors' checkpoint, and of a weights file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its dimensions, outermost first, in PyTorch's order: `[out, in, height, width]` for
    /// convolutions, `[out, in]` for linear layers.
    pub shape: Vec<usize>,
    /// Whether the model needs it. Other tensors are parameters that no computation reads.
    pub required: bool,
}

impl ModelConfig {
    /// All tensors of a model of these sizes, in the order of the authors' checkpoint.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the configuration is not
    /// [valid](Self::validate).
    pub fn tensors(&self) -> Result<Vec<TensorSpec>> {
        self.validate()?;
        let mut list = TensorList::default();
        let plane = self.plane_size;
        let query = [1, 1, Self::PLANES, self.plane_channels, plane, plane];
        list.tensor("query_style_tplane", &query);
        list.style_unet(&self.encoder());
        list.radiance_field(self);
        list.style_unet(&self.super_resolver());
        list.tensor("attn_module.scale", &[1]);
        for head in ["attn_module.to_q_", "attn_module.to_k_"] {
            let channels = self.plane_channels;
            list.tensor(format!("{head}.0.weight"), &[channels]);
            list.tensor(format!("{head}.0.bias"), &[channels]);
            for layer in [1, 3, 5] {
                list.linear(format!("{head}.{layer}"), channels, channels);
            }
        }
        Ok(list.0)
    }
}

#[derive(Default)]
struct TensorList(Vec<TensorSpec>);

impl TensorList {
    fn tensor(&mut self, name: impl Into<String>, shape: &[u32]) {
        self.0.push(TensorSpec {
            name: name.into(),
            shape: shape.iter().map(|&size| size as usize).collect(),
            required: true,
        });
    }

    fn linear(&mut self, name: impl Into<String>, out: u32, input: u32) {
        let name = name.into();
        self.tensor(format!("{name}.weight"), &[out, input]);
        self.tensor(format!("{name}.bias"), &[out]);
    }

    /// A convolution of a network whose style has `style` numbers.
    fn conv(&mut self, conv: &ConvConfig, style: u32) {
        let (name, kernel) = (&conv.name, conv.kernel_size);
        let (out, input) = (conv.out_channels, conv.in_channels);
        match conv.kind {
            ConvKind::Plain => {
                self.tensor(format!("{name}.weight"), &[out, input, kernel, kernel]);
                self.tensor(format!("{name}.bias"), &[out]);
                return;
            }
            ConvKind::Skip => {
                self.tensor(format!("{name}.weight"), &[out, input, kernel, kernel]);
                return;
            }
            ConvKind::Style { .. } => self.tensor(format!("{name}.weight"), &[1]),
            ConvKind::ToRgb => {}
        }
        self.tensor(format!("{name}.bias"), &[1, out, 1, 1]);
        let name = format!("{name}.modulated_conv");
        self.tensor(format!("{name}.weight"), &[1, out, input, kernel, kernel]);
        self.linear(format!("{name}.modulation"), input, style);
    }

    fn res_block(&mut self, block: &ResBlock<ConvConfig>) {
        for conv in [&block.conv1, &block.conv2, &block.skip] {
            self.conv(conv, 0);
        }
    }

    fn radiance_field(&mut self, config: &ModelConfig) {
        let (points, hidden) = (config.points, config.feature_hidden);
        let features = &[points, config.point_feature];
        self.tensor("nerf_mlp.points_querier.points_feature.weight", features);
        let mut linear =
            |name: &str, out, input| self.linear(format!("nerf_mlp.{name}"), out, input);
        let (point, output) = (config.point_hidden, config.point_output);
        let input = config.point_feature + ModelConfig::HARMONICS;
        linear("points_querier.point_layers.0", point, input);
        linear("points_querier.point_layers.2", output, point);
        linear("feature_layers.0", hidden, config.plane_channels + output);
        linear("feature_layers.2", hidden, hidden);
        linear("feature_layers.4", hidden, hidden);
        linear("density_layers.0", 1, hidden);
        let rgb = config.rgb_hidden;
        linear("rgb_layers.0", rgb, hidden + ModelConfig::HARMONICS);
        linear("rgb_layers.2", config.low_res_channels, rgb);
    }

    fn style_unet(&mut self, unet: &StyleUnetConfig) {
        let (layers, style) = (unet.layers(), unet.style_size);
        self.conv(&layers.first, style);
        for block in layers.first_block.iter().chain(&layers.down) {
            self.res_block(block);
        }
        self.conv(&layers.bottom, style);
        for level in &layers.up {
            self.res_block(&level.block);
        }
        let unused = self.0.len();
        for (i, level) in layers.up.iter().enumerate() {
            let name = unet.name(format_args!("toRGB.{i}"));
            let channels = level.block.conv2.out_channels;
            let out = ModelConfig::IMAGE_CHANNELS;
            self.tensor(format!("{name}.weight"), &[out, channels, 1, 1]);
            self.tensor(format!("{name}.bias"), &[out]);
        }
        for tensor in &mut self.0[unused..] {
            tensor.required = false;
        }
        for linear in unet.style_network() {
            self.linear(linear.name, linear.outputs, linear.inputs);
        }

        let channels = unet.decoder_channels_at(4);
        self.tensor(unet.constant_input(), &[1, channels, 4, 4]);
        self.conv(&layers.style_conv, style);
        self.conv(&layers.to_rgb, style);
        for conv in layers.style_convs().skip(1).chain(layers.to_rgbs().skip(1)) {
            self.conv(conv, style);
        }
        for conv in layers.style_convs() {
            if let ConvKind::Style { noise } = &conv.kind {
                self.tensor(noise, &[1, 1, conv.size, conv.size]);
            }
        }
        let scales = layers.up.iter().flat_map(|level| &level.scale);
        for conv in scales.chain(layers.up.iter().flat_map(|level| &level.shift)) {
            self.conv(conv, style);
        }
    }
}
