//! Arguments that choose the network and the person.

use std::error::Error;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gpavatar::{
    Avatar, AvatarOptions, Camera, Gpu, HeadModel, Model, ModelOptions, Precision, SourceImage,
    Weights,
};
use image::RgbaImage;

use crate::args::TuningArgs;
use crate::demo::{self, Sample};
use crate::sheet::Cell;
use crate::tracked::read_json;

#[derive(clap::Args)]
#[command(next_help_heading = "Network")]
pub struct ModelArgs {
    /// Weights file [default: what ships with the repository]
    #[arg(long = "model", value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Head model file, if the weights file holds none
    #[arg(long, value_name = "FILE", requires = "weights")]
    head: Option<PathBuf>,
    /// Numeric formats: mixed keeps what decides where samples lie in 32 bits
    #[arg(long, default_value = "f32",
          value_parser = PossibleValuesParser::new(["f32", "mixed", "f16"])
              .try_map(|name| name.parse::<Precision>()))]
    precision: Precision,
    #[command(flatten)]
    tuning: TuningArgs,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Avatar")]
pub struct AvatarArgs {
    /// Person that ships with the repository [default: the first]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sources", "avatar"])]
    sample: Option<String>,
    /// List the people that ship with the repository and do nothing else
    #[arg(long)]
    pub list_samples: bool,
    /// Picture of the person instead of a sample; give several for more sides
    #[arg(short, long = "source", value_name = "PICTURE")]
    sources: Vec<PathBuf>,
    /// JSON list with the tracked camera of each source: a matrix of 3 rows of 4 numbers, or null
    #[arg(long, value_name = "FILE", requires = "sources")]
    tracked: Option<PathBuf>,
    /// Avatar file to load instead of sources
    #[arg(long, value_name = "FILE", conflicts_with = "sources")]
    avatar: Option<PathBuf>,
    /// Avatar file to write
    #[arg(long, value_name = "FILE")]
    save_avatar: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

impl ModelArgs {
    /// The weights file.
    pub fn path(&self) -> PathBuf {
        self.weights.clone().unwrap_or_else(demo::weights)
    }

    /// How the network is set up.
    pub fn options(&self, gpu: &Gpu) -> gpavatar::Result<ModelOptions> {
        Ok(ModelOptions {
            head: self.head.as_ref().map(HeadModel::open).transpose()?,
            precision: self.precision,
            tuning: self.tuning.choose(gpu),
            ..ModelOptions::default()
        })
    }

    /// The network with a head model.
    ///
    /// # Errors
    /// If there is no head model, and as for [`Model::with_options`].
    pub fn open(&self, gpu: &Gpu) -> Result<Model, Box<dyn Error>> {
        let model = Model::with_options(gpu, Weights::open(self.path())?, self.options(gpu)?)?;
        match model.head() {
            Some(_) => Ok(model),
            None => Err("the weights file holds no head model to animate: give one with --head")?,
        }
    }
}

impl AvatarArgs {
    /// The avatar and the pictures it was built from, none if it was loaded.
    pub fn open(&self, gpu: &Gpu) -> Result<(Avatar, Vec<SourceImage>), Box<dyn Error>> {
        let model = self.model.open(gpu)?;
        let (avatar, sources) = match &self.avatar {
            Some(path) => (Avatar::load(&model, path)?, Vec::new()),
            None if self.sources.is_empty() => {
                let sample = Sample::named(self.sample.as_deref())?;
                let (sources, options) = of_sample(&model, &sample)?;
                (Avatar::with_options(&model, &sources, &options)?, sources)
            }
            None => {
                let sources = self.own_sources()?;
                (Avatar::from_images(&model, &sources)?, sources)
            }
        };
        if let Some(path) = &self.save_avatar {
            avatar.save(path)?;
        }
        Ok((avatar, sources))
    }

    fn own_sources(&self) -> Result<Vec<SourceImage>, Box<dyn Error>> {
        let sources = self.sources.iter().map(SourceImage::open);
        let sources: Vec<_> = sources.collect::<gpavatar::Result<_>>()?;
        let Some(path) = &self.tracked else {
            return Ok(sources);
        };
        let cameras: Vec<Option<[[f32; 4]; 3]>> = read_json(path)?;
        if cameras.len() != sources.len() {
            let (path, cameras, sources) = (path.display(), cameras.len(), sources.len());
            return Err(format!("{path}: {cameras} cameras for {sources} sources").into());
        }
        let tracked = |(source, camera): (SourceImage, Option<_>)| match camera {
            Some(transform) => source.tracked(Camera::from_transform(transform)),
            None => source,
        };
        Ok(sources.into_iter().zip(cameras).map(tracked).collect())
    }
}

/// Pictures and options of the avatar of a person who ships with the repository.
pub fn of_sample(
    model: &Model,
    sample: &Sample,
) -> gpavatar::Result<(Vec<SourceImage>, AvatarOptions)> {
    let sources = sample.pictures()?;
    let mut options = AvatarOptions::default();
    // Another head model has other directions.
    if model.head().map(HeadModel::shape_count) == Some(sample.shape.len()) {
        options.shape.clone_from(&sample.shape);
    }
    Ok((sources, options))
}

/// Prints who ships with the repository.
pub fn list_samples() -> Result<(), Box<dyn Error>> {
    for sample in Sample::all()? {
        let (name, pictures) = (sample.name, sample.sources.len());
        let plural = if pictures == 1 { "" } else { "s" };
        println!("{name}, {pictures} picture{plural}");
    }
    Ok(())
}

/// Cells of a contact sheet with the sources of an avatar.
pub fn cells(sources: &[SourceImage]) -> Vec<Cell> {
    let pictures = sources.iter().filter_map(|source| {
        let pixels = source.pixels().to_vec();
        RgbaImage::from_raw(source.width(), source.height(), pixels)
    });
    let cell = |(number, picture)| Cell::new(format!("source {number}"), picture);
    (1..).zip(pictures).map(cell).collect()
}
