use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::SyntheticRules;
use crate::gpu::Resource;
use crate::reference::{self, fusion as twin, shared};
use crate::stage::testing::*;
use crate::weights::tests::tiny_weights;

/// One call of each kernel.
pub(in crate::stage) fn examples(gpu: &Gpu) {
    for format in [Format::F32, Format::F16] {
        Scene::new(1, format, [5, 7], 12, 3).compare(gpu, Attention::Softmax);
    }
}

/// The network in front of the attention, made up.
struct Projection {
    norm: [Vec<f32>; 2],
    /// Weight and bias.
    layers: [[Vec<f32>; 2]; 3],
}

impl Projection {
    fn new(seed: u64, name: &str, channels: usize) -> Self {
        let random = |part: &str, count| random(seed, &format!("{name} {part}"), count);
        let layer = |index: usize| {
            // Keeps the variance of the input.
            let gain = (3.0 / channels as f32).sqrt();
            let weight = random(&format!("weight {index}"), channels * channels).into_iter();
            let bias = random(&format!("bias {index}"), channels);
            [weight.map(|w| w * gain).collect(), bias]
        };
        Self {
            norm: [random("gain", channels), random("offset", channels)],
            layers: [0, 1, 2].map(layer),
        }
    }

    fn packed(&self) -> Vec<f32> {
        let channels = self.norm[0].len() as u32;
        let mut packed = self.norm.concat();
        for [weight, bias] in &self.layers {
            packed.extend(pack::blocks(weight, channels, channels));
            packed.extend(bias);
        }
        packed
    }

    fn twin(&self) -> twin::AttentionHead {
        let linear = |[weight, bias]: &[Vec<f32>; 2]| shared::Linear::new(weight, bias);
        twin::AttentionHead {
            norm: self.norm.clone(),
            layers: self.layers.each_ref().map(linear),
        }
    }
}

/// Runs `fuse` for each source, with the bindings of the results.
fn fuse_each(
    gpu: &Gpu,
    sources: &[reference::Tensor],
    [planes, logits]: [&Tensor; 2],
    fuse: impl Fn(&reference::Tensor, &[(&str, Resource<'_>)]),
) {
    for (index, source) in (0u32..).zip(sources) {
        let current = params::Source {
            index,
            count: sources.len() as u32,
            ..Default::default()
        };
        let current = Tensor::uniform(gpu, "source", &[current]).unwrap();
        let outside = [
            ("planes", planes),
            ("logits", logits),
            ("current", &current),
        ];
        fuse(
            source,
            &outside.map(|(name, tensor)| (name, Resource::Tensor(tensor))),
        );
    }
}

/// Planes of several sources, and the attention's inputs.
struct Scene {
    channels: u32,
    sources: Vec<reference::Tensor>,
    query: reference::Tensor,
    to_query: Projection,
    to_key: Projection,
    scale: f32,
    /// Format of sources and fused planes.
    format: Format,
}

impl Scene {
    fn new(seed: u64, format: Format, sides: [usize; 2], channels: usize, sources: usize) -> Self {
        let map = |name: &str| random_map(seed, name, [sides[0], sides[1], 3 * channels]);
        let source = |i| rounded_map(format, map(&format!("source {i}")));
        Self {
            format,
            channels: channels as u32,
            sources: (0..sources).map(source).collect(),
            query: map("query"),
            to_query: Projection::new(seed, "query", channels),
            to_key: Projection::new(seed, "key", channels),
            scale: 0.7,
        }
    }

    /// Texels times planes.
    fn count(&self) -> usize {
        self.query.data.len() / self.channels as usize
    }

    fn queries(&self, gpu: &Gpu) -> Tensor {
        let kernel = gpu.kernel(&kernels::QUERY, &[]).unwrap();
        let result = output(gpu, self.query.data.len());
        let count = self.count() as u32;
        run(gpu, &[], |b| {
            let size = params::Query {
                count,
                channels: self.channels / 4,
                ..Default::default()
            };
            b.dispatch(
                Dispatch::new("queries", &kernel)
                    .uniform("size", size)
                    .bind("projection", &input(gpu, &self.to_query.packed()))
                    .bind("input", &input(gpu, &self.query.data))
                    .bind("output", &result)
                    .row_of_threads(count),
            );
        });
        result
    }

    /// Fused planes and the logits of all sources.
    fn fuse(&self, gpu: &Gpu, attention: Attention, query: &Tensor) -> (Vec<f32>, Vec<f32>) {
        let format = self.format;
        let (count, elements) = (self.count(), self.query.data.len());
        let softmax = attention == Attention::Softmax;
        let size = params::Fuse {
            count: count as u32,
            channels: self.channels / 4,
            scale: self.scale,
            softmax: softmax.into(),
        };
        let sums = output(gpu, if softmax { 1 } else { 2 } * elements);
        let state = output(gpu, 2 * count);
        let planes = stored_output(gpu, format, elements);
        let logits = output(gpu, self.sources.len() * count);
        fuse_each(gpu, &self.sources, [&planes, &logits], |source, outside| {
            run_in(gpu, stored_in(format), outside, |b| {
                let kernel = b.kernel(&kernels::FUSE, &[]).unwrap();
                b.dispatch(
                    Dispatch::new("fuse", &kernel)
                        .uniform("size", size)
                        .bind("projection", &input(gpu, &self.to_key.packed()))
                        .bind("source", &stored_input(gpu, format, &source.data))
                        .bind("query", query)
                        .bind("sums", &sums)
                        .bind("state", &state)
                        .row_of_threads(count as u32),
                );
            });
        });
        written(gpu, &sums, if softmax { 1 } else { 2 } * elements);
        written(gpu, &state, 2 * count);
        (
            stored_written(gpu, format, &planes, elements),
            written(gpu, &logits, self.sources.len() * count),
        )
    }

    /// Runs both kernels and compares queries, logits and planes.
    fn compare(&self, gpu: &Gpu, attention: Attention) {
        let queries = self.queries(gpu);
        let found = written(gpu, &queries, self.query.data.len());
        let query = twin::attention_head(&self.to_query.twin(), &self.query);
        // Three layers at order one, with an error function good to 1.5e-7 between them. Texels
        // that vary little are magnified by the normalisation.
        assert_close("queries", &found, &query.data, |_| 1e-5);

        let (planes, logits) = self.fuse(gpu, attention, &queries);
        let key_head = self.to_key.twin();
        let key = |source| twin::attention_head(&key_head, source);
        let keys: Vec<_> = self.sources.iter().map(key).collect();
        let channels = self.channels as usize;
        let products = |texel: usize, absolute: bool| -> Vec<f32> {
            let query = &query.data[texel * channels..][..channels];
            let product = |key: &reference::Tensor| {
                let key = &key.data[texel * channels..][..channels];
                let products = query.iter().zip(key).map(|(q, k)| q * k);
                let products = products.map(|p| if absolute { p.abs() } else { p });
                products.sum::<f32>()
            };
            keys.iter().map(product).collect()
        };
        let factor = match attention {
            Attention::Softmax => self.scale,
            Attention::Ratio => 1.0,
        };
        // Errors of queries and keys, as above, times the other.
        let error = |texel: usize| {
            let absolute = products(texel, true);
            2e-5 * factor * (channels as f32).sqrt()
                + 1e-5 * absolute.iter().fold(0.0f32, |m, p| m.max(*p))
        };
        let count = self.count();
        let expected: Vec<f32> = (0..keys.len())
            .flat_map(|source| (0..count).map(move |texel| (source, texel)))
            .map(|(source, texel)| factor * products(texel, false)[source])
            .collect();
        let what = format!("{count} x {channels}, {attention:?} of {}", keys.len());
        assert_close(&what, &logits, &expected, |i| error(i % count));

        let weights = twin::attention(attention, &query, &keys, self.scale);
        let expected = twin::fuse(&self.sources, &weights);
        assert_close(&what, &planes, &expected.data, |i| {
            let texel = i / channels;
            let stored = rounding(self.format, expected.data[i]);
            stored
                + match attention {
                    // Weights change by no more than the logits do.
                    Attention::Softmax => 2.0 * error(texel),
                    // Where products nearly cancel, their errors are divided by a small sum.
                    Attention::Ratio => {
                        let sum: f32 = products(texel, false).iter().sum();
                        let weights = weights.row(texel).iter();
                        let most = weights.fold(1.0f32, |m, w| m.max(w.abs()));
                        error(texel) * keys.len() as f32 * most / sum.abs()
                    }
                }
        });
    }
}

#[test]
fn sources_are_fused_as_the_attention_says() {
    // The last is the widest that a texel has room for.
    let channels = select(vec![4usize, 12, 32, 64]);
    let sides = [1usize..=12, 1..=12];
    let cases = (any::<u64>(), formats(), sides, channels, 1usize..=4);
    check(16, cases, |(seed, format, sides, channels, sources)| {
        let scene = Scene::new(seed, format, sides, channels, sources);
        scene.compare(gpu(), Attention::Softmax);
        scene.compare(gpu(), Attention::Ratio);
    });
}

#[test]
fn large_products_overflow_no_exponential() {
    let mut scene = Scene::new(2, Format::F32, [4, 4], 8, 3);
    scene.scale = 1e4;
    let (planes, logits) = scene.fuse(gpu(), Attention::Softmax, &scene.queries(gpu()));
    assert!(logits.iter().any(|logit| logit.abs() > 1e4));
    for (i, found) in planes.iter().enumerate() {
        let texel = i / 8;
        let logit = |source: usize| logits[source * scene.count() + texel];
        let by_logit = |a: &usize, b: &usize| logit(*a).total_cmp(&logit(*b));
        let largest = (0..3).max_by(by_logit).unwrap();
        let alone = (0..3).all(|s| s == largest || logit(s) < logit(largest) - 20.0);
        // One source has all the weight except for e⁻²⁰.
        let expected = scene.sources[largest].data[i];
        assert!(found.is_finite() && (!alone || (found - expected).abs() < 1e-6));
    }
}

#[test]
fn products_that_cancel_leave_equal_weights() {
    // The key of a texel is (1, 0, 0, 0) where its first two channels are the large ones, and
    // (-1, 0, 0, 0) where the last two are: both are plus or minus one after the normalisation,
    // and stay so far from zero that GELU passes or stops them.
    let channels = 4;
    let matrix = |rows: [[f32; 4]; 4]| rows.as_flattened().to_vec();
    let diagonal = |d: f32| {
        let mut rows = [[0.0; 4]; 4];
        (0..4).for_each(|i| rows[i][i] = d);
        matrix(rows)
    };
    let difference = matrix([[0.5, 0.5, -0.5, -0.5], [0.0; 4], [0.0; 4], [0.0; 4]]);
    let weights = [diagonal(20.0), diagonal(1.0), difference];
    let mut scene = Scene::new(3, Format::F32, [6, 6], channels, 2);
    scene.to_key = Projection {
        norm: [1.0, 0.0].map(|value| vec![value; 4]),
        layers: weights.map(|weight| [weight, vec![0.0; 4]]),
    };
    let patterns = [[0.75, 0.75, 0.25, 0.25], [0.25, 0.25, 0.75, 0.75]];
    for (source, pattern) in scene.sources.iter_mut().zip(patterns) {
        let texels = source.data.chunks_exact_mut(channels);
        texels.for_each(|texel| texel.copy_from_slice(&pattern));
    }
    let (planes, logits) = scene.fuse(gpu(), Attention::Ratio, &scene.queries(gpu()));
    let (first, second) = logits.split_at(scene.count());
    for (a, b) in first.iter().zip(second) {
        assert!(*a == -b && a.abs() > 1e-4);
    }
    assert_eq!(planes, vec![0.5; planes.len()]);
}

/// The stage itself, from weights with the checkpoint's names.
#[test]
fn the_stage_plans_what_the_twin_computes() {
    for attention in [Attention::Softmax, Attention::Ratio] {
        let config = ModelConfig {
            plane_channels: 8,
            attention,
            ..tiny_weights().config().clone()
        };
        let rules = SyntheticRules::new(&config).unwrap();
        let weights = Weights::synthetic(config, 5, rules).unwrap();
        let config = weights.config();
        let (size, channels) = (config.plane_size as usize, config.plane_channels as usize);
        let shape = [size, size, 3 * channels];
        let sources = ["0", "1", "2"].map(|name| random_map(6, name, shape));

        let map = input_map(gpu(), &sources[0]);
        let packed = FusionWeights::load(&weights).unwrap();
        let fusion = Fusion::new(gpu(), config, &packed, Formats::F32, &map).unwrap();
        let planes = output(gpu(), sources[0].data.len());
        let logits = output(gpu(), fusion.count as usize * sources.len());
        fuse_each(gpu(), &sources, [&planes, &logits], |source, outside| {
            let values = bytemuck::cast_slice(&source.data);
            gpu().queue().write_buffer(map.buffer(), 0, values);
            submit(gpu(), &fusion.program, outside);
        });
        let found = written(gpu(), &planes, sources[0].data.len());

        let head = |name: &str| twin::AttentionHead::load(&weights, name).unwrap();
        let learned = weights.f32("query_style_tplane").unwrap();
        let learned = reference::Tensor::from_planar([shape[2], shape[0], shape[1]], &learned);
        let query = twin::attention_head(&head("to_q_"), &learned);
        let key = |source| twin::attention_head(&head("to_k_"), source);
        let keys: Vec<_> = sources.iter().map(key).collect();
        let scale = weights.f32("attn_module.scale").unwrap()[0];
        let shares = twin::attention(attention, &query, &keys, scale);
        let expected = twin::fuse(&sources, &shares);
        // Errors of 1e-5 in queries and keys, magnified where products nearly cancel.
        assert_close("planes", &found, &expected.data, |i| {
            let most = shares.row(i / 8).iter().fold(1.0f32, |m, w| m.max(w.abs()));
            2e-4 * most * most
        });
    }
}
