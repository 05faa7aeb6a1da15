//! Arguments that choose the network and the person.

use std::error::Error;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gpavatar::{
    Avatar, AvatarOptions, Gpu, HeadModel, Model, ModelOptions, Precision, SourceImage, Weights,
};
use image::RgbaImage;

use crate::args::TuningArgs;
use crate::demo::{self, Sample};
use crate::report;
use crate::sheet::Cell;
use crate::tracked::{sources, track};
use crate::tracking::{TrackerArgs, photo, shape_of};

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
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sources", "photos", "avatar"])]
    sample: Option<String>,
    /// List the people that ship with the repository and do nothing else
    #[arg(long)]
    pub list_samples: bool,
    /// Picture of the person instead of a sample, or a folder with sources.json, as import sources
    /// writes it; give several for more sides
    #[arg(short, long = "source", value_name = "PICTURE")]
    sources: Vec<PathBuf>,
    /// Photograph of the person, to be tracked, cropped and matted; give several for more sides
    #[arg(long = "photo", value_name = "PICTURE", conflicts_with_all = ["sources", "avatar"])]
    photos: Vec<PathBuf>,
    /// Tracked cameras of the sources: sources.json, or a JSON list of matrices of 3 or 4 rows of 4
    /// numbers, or null
    #[arg(long, value_name = "FILE", requires = "sources")]
    tracked: Option<PathBuf>,
    /// Takes truncated pictures as far as they go
    #[arg(long, requires = "sources")]
    lenient: bool,
    /// Avatar file to load instead of sources
    #[arg(long, value_name = "FILE", conflicts_with = "sources")]
    avatar: Option<PathBuf>,
    /// Avatar file to write
    #[arg(long, value_name = "FILE")]
    save_avatar: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    pub tracker: TrackerArgs,
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
            None if !self.photos.is_empty() => {
                let (sources, shape) = self.tracked_photos(gpu, &model)?;
                let options = with_shape(&model, &shape);
                (Avatar::with_options(&model, &sources, &options)?, sources)
            }
            None if self.sources.is_empty() => {
                let sample = Sample::named(self.sample.as_deref())?;
                let (sources, options) = of_sample(&model, &sample)?;
                (Avatar::with_options(&model, &sources, &options)?, sources)
            }
            None => {
                let (sources, shape) = self.own_sources()?;
                let options = with_shape(&model, &shape);
                if options.shape != shape {
                    let (found, head) = (shape.len(), model.head().map(HeadModel::shape_count));
                    eprintln!(
                        "the {found} identity coefficients of the sources are those of another head \
                         model, this one has {}: they are left out",
                        head.unwrap_or(0)
                    );
                }
                (Avatar::with_options(&model, &sources, &options)?, sources)
            }
        };
        if let Some(path) = &self.save_avatar {
            avatar.save(path)?;
        }
        Ok((avatar, sources))
    }

    /// The sources that photographs become, and the person's shape if it is fitted.
    fn tracked_photos(
        &self,
        gpu: &Gpu,
        model: &Model,
    ) -> gpavatar::Result<(Vec<SourceImage>, Vec<f32>)> {
        let tracker = self.tracker.open(gpu, model.head(), 1)?;
        let stills = self.photos.iter().map(|path| {
            let (_, mut stills) = photo(&tracker, path)?;
            Ok(stills.remove(0))
        });
        let stills = stills.collect::<gpavatar::Result<Vec<_>>>()?;
        let faces: Vec<_> = stills.iter().map(|still| &still.face).collect();
        let fits = match model.head() {
            Some(head) => self.tracker.identity(head, &faces)?,
            None => None,
        };
        let shape = fits.as_deref().map_or(Vec::new(), shape_of);
        Ok((
            stills.into_iter().map(|still| still.source).collect(),
            shape,
        ))
    }

    /// The pictures, and the person's shape if they come with it.
    fn own_sources(&self) -> Result<(Vec<SourceImage>, Vec<f32>), Box<dyn Error>> {
        let (mut pictures, mut shape) = sources(&self.sources, self.lenient)?;
        if let Some(file) = &self.tracked {
            let tracked = track(&mut pictures, &self.sources, file)?;
            if !tracked.is_empty() {
                shape = tracked;
            }
        }
        Ok((pictures, shape))
    }
}

/// Options with a person's shape, if the head model has as many identity directions: another one
/// has other directions.
fn with_shape(model: &Model, shape: &[f32]) -> AvatarOptions {
    let mut options = AvatarOptions::default();
    if model.head().map(HeadModel::shape_count) == Some(shape.len()) {
        options.shape = shape.to_vec();
    }
    options
}

/// Pictures and options of the avatar of a person who ships with the repository.
pub fn of_sample(
    model: &Model,
    sample: &Sample,
) -> gpavatar::Result<(Vec<SourceImage>, AvatarOptions)> {
    Ok((sample.pictures()?, with_shape(model, &sample.list.shape)))
}

/// Prints who ships with the repository.
pub fn list_samples() -> Result<(), Box<dyn Error>> {
    for sample in Sample::all()? {
        let (name, pictures) = (sample.name, sample.list.sources.len());
        println!("{name}, {}", report::pictures(pictures));
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
