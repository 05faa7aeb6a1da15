//! The numbers of a model, from a file or made up, checked against its configuration.

mod synthetic;

use std::borrow::Cow;

use crate::{Error, ModelConfig, Result};

pub use synthetic::SyntheticRules;

/// The weights of a model, with the names and shapes of the authors' checkpoint.
#[derive(Debug)]
pub struct Weights {
    config: ModelConfig,
    seed: u64,
    rules: SyntheticRules,
}

impl Weights {
    /// Made-up weights: the same for the same seed and rules, on every machine. Values are drawn
    /// when asked for.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not valid, [`Error::Tensors`] if the rules do not
    /// list its tensors with their shapes.
    pub fn synthetic(config: ModelConfig, seed: u64, rules: SyntheticRules) -> Result<Self> {
        let mut problems = Vec::new();
        for spec in config.tensors()? {
            match rules.get(&spec.name) {
                None if spec.required => problems.push(format!("{}: missing", spec.name)),
                Some(rule) if rule.shape != spec.shape => problems.push(format!(
                    "{}: expected shape {:?}, found {:?}",
                    spec.name, spec.shape, rule.shape
                )),
                _ => {}
            }
        }
        if !problems.is_empty() {
            return Err(Error::Tensors {
                what: "table of synthetic weights".into(),
                problems,
            });
        }
        Ok(Self {
            config,
            seed,
            rules,
        })
    }

    /// The configuration that the tensors fit.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Dimensions of tensor `name`, outermost first.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        self.rule(name).map(|rule| rule.shape.as_slice())
    }

    /// Values of tensor `name`, row-major.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such tensor.
    pub fn f32(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        Ok(self.rule(name)?.values(self.seed, name).into())
    }

    fn rule(&self, name: &str) -> Result<&synthetic::Rule> {
        self.rules
            .get(name)
            .ok_or_else(|| Error::argument("tensor name", "a tensor of the weights", name))
    }
}
