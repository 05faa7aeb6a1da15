use super::{ModelConfig, ResBlockConfig, StyleConvConfig, StyleUnetConfig, ToRgbConfig};
use crate::error::Result;

/// A tensor of the authors' checkpoint, and of a weights file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its dimensions, outermost first, in PyTorch's order: `[out, in, height, width]` for
    /// convolutions, `[out, in]` for linear layers.
    pub shape: Vec<usize>,
    /// The model needs it. The others are parameters of the checkpoint that no computation reads.
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
        list.tensor(
            "query_style_tplane",
            &[1, 1, Self::PLANES, self.plane_channels, plane, plane],
        );
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

    fn conv(&mut self, name: impl Into<String>, out: u32, input: u32, kernel: u32) {
        let name = name.into();
        self.tensor(format!("{name}.weight"), &[out, input, kernel, kernel]);
        self.tensor(format!("{name}.bias"), &[out]);
    }

    fn modulated_conv(&mut self, name: &str, out: u32, input: u32, kernel: u32, style: u32) {
        let name = format!("{name}.modulated_conv");
        self.tensor(format!("{name}.weight"), &[1, out, input, kernel, kernel]);
        self.linear(format!("{name}.modulation"), input, style);
    }

    fn res_block(&mut self, block: &ResBlockConfig) {
        let (name, out, input) = (&block.name, block.out_channels, block.in_channels);
        self.conv(format!("{name}.conv1"), input, input, 3);
        self.conv(format!("{name}.conv2"), out, input, 3);
        self.tensor(format!("{name}.skip.weight"), &[out, input, 1, 1]);
    }

    fn style_conv(&mut self, conv: &StyleConvConfig, unet: &StyleUnetConfig) {
        let (name, out) = (&conv.name, conv.out_channels);
        self.tensor(format!("{name}.weight"), &[1]);
        self.tensor(format!("{name}.bias"), &[1, out, 1, 1]);
        self.modulated_conv(name, out, conv.in_channels, 3, unet.style_size);
    }

    fn rgb_layer(&mut self, rgb: &ToRgbConfig, unet: &StyleUnetConfig) {
        let (name, out) = (&rgb.name, unet.out_channels);
        self.tensor(format!("{name}.bias"), &[1, out, 1, 1]);
        self.modulated_conv(name, out, rgb.in_channels, 1, unet.style_size);
    }

    fn radiance_field(&mut self, config: &ModelConfig) {
        let points = "nerf_mlp.points_querier";
        self.tensor(
            format!("{points}.points_feature.weight"),
            &[config.points, config.point_feature],
        );
        self.linear(
            format!("{points}.point_layers.0"),
            config.point_hidden,
            config.point_feature + ModelConfig::HARMONICS,
        );
        self.linear(
            format!("{points}.point_layers.2"),
            config.point_output,
            config.point_hidden,
        );
        let hidden = config.feature_hidden;
        self.linear(
            "nerf_mlp.feature_layers.0",
            hidden,
            config.plane_channels + config.point_output,
        );
        self.linear("nerf_mlp.feature_layers.2", hidden, hidden);
        self.linear("nerf_mlp.feature_layers.4", hidden, hidden);
        self.linear("nerf_mlp.density_layers.0", 1, hidden);
        self.linear(
            "nerf_mlp.rgb_layers.0",
            config.rgb_hidden,
            hidden + ModelConfig::HARMONICS,
        );
        self.linear(
            "nerf_mlp.rgb_layers.2",
            config.low_res_channels,
            config.rgb_hidden,
        );
    }

    fn style_unet(&mut self, unet: &StyleUnetConfig) {
        let up_blocks = unet.up_blocks();
        let bottom = unet.channels_at(4);

        self.conv(
            unet.first_conv(),
            unet.channels_at(unet.input),
            unet.in_channels,
            1,
        );
        for block in unet.first_block().iter().chain(&unet.down_blocks()) {
            self.res_block(block);
        }
        self.conv(unet.name("final_conv"), bottom, bottom, 3);
        for block in &up_blocks {
            self.res_block(block);
        }
        let unused = self.0.len();
        for (i, block) in up_blocks.iter().enumerate() {
            let name = unet.name(format_args!("toRGB.{i}"));
            self.conv(name, ModelConfig::IMAGE_CHANNELS, block.out_channels, 1);
        }
        for tensor in &mut self.0[unused..] {
            tensor.required = false;
        }
        self.linear(unet.name("final_linear"), unet.style_size, bottom * 4 * 4);

        self.style_decoder(unet);
        for condition in ["condition_scale", "condition_shift"] {
            for (i, block) in up_blocks.iter().enumerate() {
                let name = unet.name(format_args!("{condition}.{i}"));
                let channels = block.out_channels;
                let decoder = unet.decoder_channels_at(block.output);
                self.conv(format!("{name}.0"), channels, channels, 3);
                self.conv(format!("{name}.2"), decoder, channels, 3);
            }
        }
    }

    fn style_decoder(&mut self, unet: &StyleUnetConfig) {
        let decoder = unet.name("stylegan_decoder");
        for layer in 0..unet.style_layers {
            let name = format!("{decoder}.style_mlp.{}", 2 * layer + 1);
            self.linear(name, unet.style_size, unet.style_size);
        }
        self.tensor(
            format!("{decoder}.constant_input.weight"),
            &[1, unet.decoder_channels_at(4), 4, 4],
        );
        let (convs, rgbs) = (unet.style_convs(), unet.to_rgbs());
        self.style_conv(&convs[0], unet);
        self.rgb_layer(&rgbs[0], unet);
        for conv in &convs[1..] {
            self.style_conv(conv, unet);
        }
        for rgb in &rgbs[1..] {
            self.rgb_layer(rgb, unet);
        }
        for conv in convs {
            self.tensor(conv.noise, &[1, 1, conv.resolution, conv.resolution]);
        }
    }
}
