//! The background of a rendered head.

use std::str::FromStr;

use gpavatar::{Background, Frame, Playback, RenderOptions, Result};
use image::{Rgba, RgbaImage};

/// The background of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backdrop {
    Black,
    Transparent,
    Colour([u8; 3]),
}

impl FromStr for Backdrop {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let colour = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match (text, colour) {
            ("black", _) => Ok(Self::Black),
            ("transparent", _) => Ok(Self::Transparent),
            (_, Some(colour)) => {
                let [_, rgb @ ..] = colour.to_be_bytes();
                Ok(Self::Colour(rgb))
            }
            _ => Err("expected black, transparent or #rrggbb".into()),
        }
    }
}

impl Backdrop {
    /// The frames of a sequence and their pictures, with this behind the heads.
    pub fn play<I>(self, playback: Playback<I>) -> impl Iterator<Item = Result<(Frame, RgbaImage)>>
    where
        Playback<I>: Iterator<Item = Result<(Frame, RgbaImage)>>,
    {
        let options = RenderOptions {
            background: match self {
                Self::Black => Background::Black,
                Self::Transparent | Self::Colour(_) => Background::Straight,
            },
            ..RenderOptions::default()
        };
        playback.options(options).map(move |played| {
            let (frame, mut picture) = played?;
            self.apply(&mut picture);
            Ok((frame, picture))
        })
    }

    /// Puts a colour behind a transparent picture.
    pub fn apply(self, picture: &mut RgbaImage) {
        if let Self::Colour(colour) = self {
            for Rgba([rgb @ .., alpha]) in picture.pixels_mut() {
                let opacity = u16::from(*alpha);
                for (front, back) in rgb.iter_mut().zip(colour) {
                    let sum = u16::from(*front) * opacity + u16::from(back) * (255 - opacity);
                    *front = ((sum + 127) / 255) as u8;
                }
                *alpha = 255;
            }
        }
    }
}

#[cfg(test)]
mod tests;
