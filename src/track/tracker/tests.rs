use std::sync::OnceLock;

use glam::{Vec2, vec2};
use image::Rgba;

use super::*;
use crate::camera::Camera;
use crate::error::refused;
use crate::reference::track_fits::degrees;
use crate::stage::testing::gpu;
use crate::track::View;
use crate::track::detection::tests::detections;
use crate::track::driver::{Driver, DriverOptions};
use crate::track::files::tests::{files, golden as golden_path};
use crate::track::fit::tests::shipped_head;
use crate::track::fit::{FitOptions, Fitter};
use crate::track::landmarks::tests::{assert_near, golden, golden_landmarks, golden_regions};
use crate::weights::TensorFile;
use crate::{Avatar, Drive, Model};

/// The tracker, whose networks are compiled once.
fn tracker(faces: usize) -> Tracker {
    static NETS: OnceLock<Nets> = OnceLock::new();
    let options = TrackerOptions {
        faces,
        ..TrackerOptions::default()
    };
    let mut tracker = Tracker::new(gpu(), files(), options).unwrap();
    tracker.nets = NETS.get_or_init(|| tracker.nets.clone()).clone();
    tracker
}

fn picture(name: &str) -> RgbaImage {
    image::open(golden_path(&format!("{name}.png")))
        .unwrap()
        .to_rgba8()
}

fn uploaded(picture: &RgbaImage) -> Picture {
    Picture::new(gpu(), picture.width(), picture.height(), picture).unwrap()
}

fn worst(found: impl Iterator<Item = f32>) -> f32 {
    found.fold(0.0, f32::max)
}

/// The golden numbers come from exactly two passes.
#[test]
fn two_passes_over_the_golden_pictures() {
    let (tracker, file) = (tracker(2), golden());
    for name in ["astronaut", "two", "rot20", "none"] {
        let image = uploaded(&picture(name));
        let mut workspace = Workspace::default();
        let whole = letterbox(image.whole());
        pollster::block_on(tracker.detect(&image, &whole, &mut workspace)).unwrap();
        detection::suppress(&mut workspace.found);
        let found = workspace.found.clone();
        let expected = detections(name);
        assert_eq!(found.len(), expected.len(), "{name}");
        for (i, (detection, expected)) in found.iter().zip(&expected).enumerate() {
            let places = |d: &Detection| d.corners.into_iter().chain(d.keys);
            let moved = places(detection).zip(places(expected));
            let moved = worst(moved.map(|(a, b)| (a - b).abs().max_element()));
            let score = (detection.score - expected.score).abs();
            assert!(
                moved <= 0.02 && score <= 1e-3,
                "{name}.{i}: {moved} px, {score}"
            );

            let field = |field: &str| format!("{name}.{i}.{field}");
            let passes = golden_landmarks(&file, &field("xyz"), &field("presence"));
            let regions = golden_regions(&file, &field("roi"));
            let mut region = detection.region();
            let (mut points, mut presence) = (0.0, 0.0);
            for (pass, expected) in passes.iter().enumerate() {
                assert_near(&region, &regions[pass]);
                pollster::block_on(tracker.look(&image, &region, &mut workspace)).unwrap();
                let landmarks = &workspace.landmarks;
                let pairs = landmarks.points.iter().zip(&expected.points);
                points = worst(pairs.map(|(a, b)| (*a - *b).abs().max_element())).max(points);
                presence = (landmarks.presence - expected.presence).abs().max(presence);
                region = landmarks.region().unwrap();
            }
            println!(
                "{name}.{i}: box and keys {moved:.1e} px, score {score:.1e}, landmarks {points:.1e} px, presence {presence:.1e}"
            );
            assert!(
                points <= 0.05 && presence <= 1e-4,
                "{name}.{i}: {points} px, {presence}"
            );
            assert_near(&region, &golden_regions(&file, &field("next_roi"))[0]);
            let upright = file.f32(&field("upright")).unwrap();
            let (scores, pose) = tracker.read(&regions[1], &mut workspace).unwrap();
            let scores = worst(
                scores
                    .iter()
                    .zip(&upright[53..])
                    .map(|(a, b)| (a - b).abs()),
            );
            let (crop, camera) = pose.source();
            let [crops, rows] =
                ["source_crop", "source_transform"].map(|name| file.f32(&field(name)).unwrap());
            let moved = (crop.centre - vec2(crops[0], crops[1])).abs().max_element();
            let grown = (crop.size.x - crops[2]).abs();
            let turned = camera.transform.as_flattened().iter().zip(&*rows);
            let turned = worst(turned.map(|(a, b)| (a - b).abs()));
            println!(
                "{name}.{i}: scores {scores:.1e}, crop {:.1e} px, transform {turned:.1e}",
                moved.max(grown)
            );
            assert!(scores <= 2e-3 && moved.max(grown) <= 0.1 && turned <= 1e-3);
        }
    }
}

#[test]
fn the_astronaut_is_matted_by_the_network() {
    let (tracker, file) = (tracker(1), golden());
    let astronaut = picture("astronaut");
    let image = uploaded(&astronaut);
    let mask = pollster::block_on(tracker.mask_of(&image, &image.whole())).unwrap();
    let expected = file.f32("astronaut.matte").unwrap();
    let differences = mask.iter().zip(&*expected).map(|(a, b)| (a - b).abs());
    let (most, mean) = (
        worst(differences.clone()),
        differences.sum::<f32>() / mask.len() as f32,
    );
    let alpha = alpha_of(&astronaut, astronaut.dimensions(), &mask).unwrap();
    let expected = file.f32("astronaut.alpha").unwrap();
    let pairs = expected.iter().enumerate().map(|(i, expected)| {
        (f32::from(alpha[512 * (4 * (i / 128)) + 4 * (i % 128)]) / 255.0 - expected).abs()
    });
    let of_alpha = pairs.sum::<f32>() / expected.len() as f32;
    println!("mask {most:.1e}, mean {mean:.1e}; alpha, in bytes, mean {of_alpha:.1e}");
    assert!(most <= 5e-3 && mean <= 5e-4 && of_alpha <= 2e-3);
}

/// Of a small face in a large picture the network sees too little: its wall stays, unless the source is
/// looked at by itself.
#[test]
fn a_small_face_is_matted_by_itself() {
    let resized = |picture, width, height| {
        image::imageops::resize(
            &picture,
            width,
            height,
            image::imageops::FilterType::Triangle,
        )
    };
    let mut photo = resized(picture("none"), 1600, 1200);
    image::imageops::overlay(
        &mut photo,
        &resized(picture("astronaut"), 300, 300),
        900,
        500,
    );
    let stills = pollster::block_on(tracker(1).still(&photo)).unwrap();
    let (pixels, side) = (stills[0].source.pixels(), stills[0].source.width() as usize);
    let mean = |columns: std::ops::Range<usize>, rows: std::ops::Range<usize>| {
        let places = rows.flat_map(|row| columns.clone().map(move |column| row * side + column));
        let greens: Vec<_> = places
            .map(|place| f64::from(pixels[4 * place + 1]))
            .collect();
        greens.iter().sum::<f64>() / greens.len() as f64
    };
    let [wall, face] = [mean(5..60, 60..250), mean(220..290, 270..330)];
    println!("wall {wall:.1}, face {face:.1}");
    assert!(wall < 5.0 && face > 100.0);
}

#[test]
fn a_still_becomes_a_source() {
    let tracker = tracker(1);
    let stills = pollster::block_on(tracker.still(&picture("astronaut"))).unwrap();
    let [still] = &stills[..] else {
        panic!("{} faces", stills.len());
    };
    assert!(still.face.landmarks.presence >= 0.9999);
    let smile = ARKIT
        .iter()
        .position(|name| *name == "mouthSmileLeft")
        .unwrap();
    assert!(
        still.face.scores[smile] > 0.7,
        "{}",
        still.face.scores[smile]
    );
    let source = &still.source;
    assert_eq!((source.width(), source.height()), (512, 512));
    source.camera().unwrap().validate().unwrap();
    // The background is black, the face is not.
    let pixel = |x: usize, y: usize| &source.pixels()[4 * (512 * y + x)..][..3];
    assert_eq!(pixel(2, 2), [0, 0, 0]);
    assert!(pixel(256, 256)[0] > 60, "{:?}", pixel(256, 256));
    // The same bytes again.
    let again = pollster::block_on(tracker.still(&picture("astronaut"))).unwrap();
    assert_eq!(again[0].source, still.source);
    assert_eq!(again[0].face, still.face);
}

#[test]
fn own_alpha_comes_first() {
    let tracker = tracker(1);
    let mut astronaut = picture("astronaut");
    // All but the face is transparent, and of a colour that must not show.
    for (x, y, pixel) in astronaut.enumerate_pixels_mut() {
        if !(120..330).contains(&x) || !(10..240).contains(&y) {
            *pixel = Rgba([0, 255, 0, 0]);
        }
    }
    let stills = pollster::block_on(tracker.still(&astronaut)).unwrap();
    let source = &stills[0].source;
    assert!(source.pixels().chunks(4).all(|p| p[1] < 250 || p[0] > 100));
    // What is inside stays, also what the network does not take for a person.
    let (crop, _) = stills[0].face.pose.source();
    let at = 512.0 * crop.from_picture(vec2(130.0, 20.0));
    let index = 4 * (512 * at.y as usize + at.x as usize);
    let there = astronaut.get_pixel(130, 20).0;
    let found = &source.pixels()[index..index + 3];
    assert!(
        found.iter().zip(there).all(|(a, b)| a.abs_diff(b) < 40),
        "{found:?} {there:?}"
    );
}

#[test]
fn faces_of_stills() {
    let (one, two) = (tracker(1), tracker(2));
    let count = |tracker: &Tracker, image: &RgbaImage| {
        pollster::block_on(tracker.still(image)).unwrap().len()
    };
    let pair = picture("two");
    assert_eq!([count(&one, &pair), count(&two, &pair)], [1, 2]);
    assert_eq!(count(&two, &picture("none")), 0);
    for size in [[1, 1], [1, 300], [64, 64]] {
        let black = RgbaImage::from_pixel(size[0], size[1], Rgba([0, 0, 0, 255]));
        assert_eq!(count(&one, &black), 0);
    }
    refused!(
        pollster::block_on(one.still(&RgbaImage::new(0, 0))),
        Argument
    );
}

/// Upside down the detector sees a face, but its landmarks are wrong until the picture is turned.
#[test]
fn a_face_is_found_however_it_is_turned() {
    let tracker = tracker(1);
    let astronaut = picture("astronaut");
    let upright = pollster::block_on(tracker.still(&astronaut))
        .unwrap()
        .remove(0)
        .face;
    let width = upright.landmarks.bounds();
    let width = (width[1] - width[0]).x;
    for (name, turned, back) in [
        (
            "90",
            image::imageops::rotate90(&astronaut),
            [vec2(0.0, 1.0), vec2(-1.0, 0.0)],
        ),
        (
            "180",
            image::imageops::rotate180(&astronaut),
            [vec2(-1.0, 0.0), vec2(0.0, -1.0)],
        ),
        (
            "270",
            image::imageops::rotate270(&astronaut),
            [vec2(0.0, -1.0), vec2(1.0, 0.0)],
        ),
    ] {
        let found = pollster::block_on(tracker.still(&turned)).unwrap();
        assert_eq!(found.len(), 1, "{name}");
        let pairs = found[0]
            .face
            .landmarks
            .points
            .iter()
            .zip(&upright.landmarks.points);
        let distances = pairs.map(|(found, upright)| {
            let about = upright.xy() - 256.0;
            let expected = about.x * back[0] + about.y * back[1] + 256.0;
            found.xy().distance(expected)
        });
        let mean = distances.sum::<f32>() / 478.0 / width;
        println!("{name}°: {:.2} % of the face's width", 100.0 * mean);
        assert!(mean < 0.015, "{name}: {mean}");
    }
}

#[test]
fn a_small_face_is_found_in_parts() {
    let tracker = tracker(1);
    let astronaut = picture("astronaut");
    // Its face is 0.045 of the picture wide.
    let small =
        image::imageops::resize(&astronaut, 256, 256, image::imageops::FilterType::Triangle);
    let mut large = RgbaImage::from_pixel(1024, 800, Rgba([90, 110, 120, 255]));
    image::imageops::overlay(&mut large, &small, 700, 480);
    let found = pollster::block_on(tracker.still(&large)).unwrap();
    assert_eq!(found.len(), 1);
    let centre = found[0].face.region.centre;
    assert!(
        centre.distance(vec2(700.0 + 113.0, 480.0 + 62.0)) < 15.0,
        "{centre}"
    );
}

/// Frames of 256 x 256 that move over the astronaut; three are black.
fn clip() -> Vec<RgbaImage> {
    let astronaut = picture("astronaut");
    let frame = |k: u32| match k {
        10..=12 => RgbaImage::from_pixel(256, 256, Rgba([0, 0, 0, 255])),
        _ => image::imageops::crop_imm(&astronaut, 60 + 4 * k, 2 * k, 256, 256).to_image(),
    };
    (0..24).map(frame).collect()
}

#[test]
fn the_golden_clip_is_followed() {
    let file: TensorFile = golden();
    let expected = golden_landmarks(&file, "clip.xyz", "clip.presence");
    let searched = file.u8("clip.searched").unwrap();
    let mut tracker = tracker(1);
    let frames = clip();
    let mut on_device = uploaded(&frames[0]);
    let mut most = 0.0f32;
    for (k, frame) in frames.iter().enumerate() {
        on_device.replace(gpu(), frame).unwrap();
        assert_eq!(tracker.faces.searches(), searched[k] != 0, "frame {k}");
        let faces = pollster::block_on(tracker.frame(&on_device, 1.0 / 30.0)).unwrap();
        let [face] = faces else {
            panic!("{} faces in frame {k}", faces.len());
        };
        let there = expected[k].presence >= 0.5;
        assert_eq!(
            (face.id, face.lost, face.frame().is_some()),
            (0, !there, there),
            "frame {k}"
        );
        let shown = if there { k } else { 9 };
        let pairs = face.landmarks.points.iter().zip(&expected[shown].points);
        most = most.max(worst(pairs.map(|(a, b)| (*a - *b).abs().max_element())));
    }
    println!("landmarks {most:.1e} px");
    assert!(most <= 0.1, "{most} px");
    let sources = pollster::block_on(tracker.sources(&frames[23], &on_device)).unwrap();
    assert_eq!((sources.len(), sources[0].0), (1, 0));
    tracker.restart();
    assert!(tracker.faces().is_empty() && tracker.faces.searches());
}

#[test]
fn bad_options_are_refused() {
    for change in [
        |options: &mut TrackerOptions| options.faces = 0,
        |options: &mut TrackerOptions| options.source_size = 0,
        |options: &mut TrackerOptions| options.source_size = 1 << 20,
    ] {
        let mut options = TrackerOptions::default();
        change(&mut options);
        refused!(Tracker::new(gpu(), files(), options).map(drop), Argument);
    }
    let head = shipped_head();
    let tracker = tracker(1).for_head(&head, &Embedding::shipped()).unwrap();
    assert!((tracker.placement.scale - Placement::SHIPPED.scale).abs() < 1e-5);
}

#[test]
fn scale_roll_and_place_hardly_matter() {
    let tracker = tracker(1);
    let astronaut = picture("astronaut");
    let upright = pollster::block_on(tracker.still(&astronaut))
        .unwrap()
        .remove(0)
        .face;
    let [low, high] = upright.landmarks.bounds();
    let (width, face) = ((high - low).x, upright.region.centre);
    let mut most = 0.0f32;
    for (scale, roll, off) in [
        (0.6, 0.0, [0.0, 0.0]),
        (0.8, -105.0, [0.0, 0.0]),
        (1.0, 105.0, [60.0, 30.0]),
        (1.0, 60.0, [-100.0, 60.0]),
        (1.5, -45.0, [0.0, 40.0]),
        (2.0, 20.0, [-30.0, 0.0]),
        (3.0, -80.0, [0.0, 0.0]),
    ] {
        let region = Region {
            centre: face + vec2(off[0], off[1]),
            size: Vec2::splat(512.0 / scale),
            angle: f32::to_radians(roll),
        };
        let pixels = cut(&astronaut, [512, 512], None, &region, 512).unwrap();
        let turned = RgbaImage::from_raw(512, 512, pixels).unwrap();
        let found = pollster::block_on(tracker.still(&turned)).unwrap();
        assert_eq!(found.len(), 1, "scale {scale}, roll {roll}");
        let pairs = found[0]
            .face
            .landmarks
            .points
            .iter()
            .zip(&upright.landmarks.points);
        let distances = pairs
            .map(|(found, upright)| region.to_picture(found.xy() / 512.0).distance(upright.xy()));
        let error = distances.sum::<f32>() / 478.0 / width;
        println!(
            "scale {scale}, roll {roll}°: {:.2} % of the face's width",
            100.0 * error
        );
        most = most.max(error);
    }
    assert!(most < 0.015, "{most}");
}

/// The shipped people are drawn; their identity and cameras are known.
#[test]
fn the_shipped_people_are_found_and_fitted() {
    #[derive(serde::Deserialize)]
    struct File {
        samples: Vec<Person>,
    }
    #[derive(serde::Deserialize)]
    struct Person {
        shape: Vec<f64>,
        sources: Vec<Source>,
    }
    #[derive(serde::Deserialize)]
    struct Source {
        picture: String,
        transform: [[f32; 4]; 3],
    }
    let folder = TensorFile::golden_path("../../weights/samples");
    let json = std::fs::read_to_string(folder.join("samples.json")).unwrap();
    let file: File = serde_json::from_str(&json).unwrap();
    let (tracker, head) = (tracker(1), shipped_head());
    let embedding = Embedding::shipped_for_drawings();
    let mut fitter = Fitter::new(&head, &embedding, FitOptions::of(&head)).unwrap();
    let (mut targets, mut errors) = (Vec::new(), Vec::new());
    for person in &file.samples {
        for source in &person.sources {
            let picture = image::open(folder.join(&source.picture))
                .unwrap()
                .to_rgba8();
            let whole = Region::whole(picture.width(), picture.height());
            let found = pollster::block_on(tracker.still(&picture)).unwrap();
            assert_eq!(found.len(), 1, "{}", source.picture);
            let landmarks = &found[0].face.landmarks;
            assert!(
                landmarks.presence > 0.99,
                "{}: {}",
                source.picture,
                landmarks.presence
            );
            embedding
                .targets(landmarks, &whole, 512.0, &mut targets)
                .unwrap();
            let fit = fitter.fit(&targets, Some(&person.shape)).unwrap();
            let truth = Camera::from_transform(source.transform);
            let error = degrees(fit.rotation, truth.rotation().as_dmat3());
            let alone = degrees(found[0].face.pose.rotation, truth.rotation().as_dmat3());
            println!(
                "{}: fit {error:.1}°, canonical face {alone:.1}°, residual {:.1} px",
                source.picture, fit.residual
            );
            errors.push(error);
        }
    }
    assert_eq!(errors.len(), 10);
    let median = crate::track::maths::median(&mut errors);
    println!("rotation: median {median:.2}°");
    assert!(median < 4.0, "{median}");
}

/// A drawn person moves through a video: the identity of its first frame stays, the pose follows.
#[test]
fn a_head_model_is_laid_over_the_faces_of_a_video() {
    let head = shipped_head();
    let mut tracker = tracker(1)
        .for_head(&head, &Embedding::shipped_for_drawings())
        .unwrap();
    let samples = TensorFile::golden_path("../../weights/samples");
    let person = image::open(samples.join("indigo/source_0.png")).unwrap();
    let frame = |k: i64| {
        let mut frame = RgbaImage::from_pixel(320, 300, Rgba([90, 110, 120, 255]));
        image::imageops::overlay(&mut frame, &person.to_rgba8(), 10 + 6 * k, 20 + 3 * k);
        frame
    };
    let truth = Camera::orbit(10.6, 2.0, 8.0).rotation().as_dmat3();
    let mut on_device = uploaded(&frame(0));
    let mut driver = Driver::new(&head, DriverOptions::default()).unwrap();
    let mut first = None;
    for k in 0..6 {
        on_device.replace(gpu(), &frame(k)).unwrap();
        let faces = pollster::block_on(tracker.frame(&on_device, 1.0 / 30.0)).unwrap();
        let fit = faces[0].fit.clone().unwrap();
        let error = degrees(fit.rotation, truth);
        println!("frame {k}: {error:.1}°, residual {:.1} px", fit.residual);
        assert!(!fit.poor && error < 8.0, "frame {k}: {error}°");
        let face = faces[0].frame().unwrap();
        assert_eq!(face.fit, Some(&fit));
        driver.drive(Some(&face), 1.0 / 30.0).unwrap();
        let first = first.get_or_insert_with(|| fit.clone());
        assert_eq!(fit.shape, first.shape, "frame {k}");
        assert!(degrees(fit.rotation, first.rotation) < 2.0, "frame {k}");
    }
    let still = pollster::block_on(tracker.still(&frame(0)))
        .unwrap()
        .remove(0);
    let fit = still.face.fit.unwrap();
    assert_eq!(still.source.camera(), Some(&fit.camera()));
    let first = first.unwrap();
    let apart = fit.shape.iter().zip(&first.shape);
    assert!(apart.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) < 0.5);
}

/// Twenty own renders, of people of all colours, tell where the landmarks are on the head model.
#[test]
fn an_embedding_is_found_by_looking_at_the_shipped_head() {
    const PEOPLE: [&str; 4] = ["indigo", "ginger", "ash", "copper"];
    let weights = TensorFile::golden_path("../../weights");
    let model = Model::open(gpu(), weights.join("demo.safetensors")).unwrap();
    let avatars = PEOPLE.map(|name| {
        let path = weights.join(format!("samples/{name}/source_0.png"));
        let source = SourceImage::open(path).unwrap();
        let source = source.tracked(Camera::orbit(10.6, 2.0, 8.0));
        Avatar::from_images(&model, &[source]).unwrap()
    });
    let tracker = tracker(1);
    let mut views = Vec::new();
    for azimuth in [-30.0, -15.0, 0.0, 15.0, 30.0] {
        for (avatar, elevation) in avatars.iter().zip([-10.0, -3.0, 3.0, 10.0]) {
            let camera = Camera::orbit(10.6, elevation, azimuth);
            let frame = avatar.render(&Drive::neutral().camera(camera)).unwrap();
            let picture = frame.to_image().unwrap();
            let found = pollster::block_on(tracker.still(&picture)).unwrap();
            assert_eq!(found.len(), 1, "{azimuth}, {elevation}");
            views.push(View {
                camera,
                size: picture.width(),
                landmarks: found[0].face.landmarks.clone(),
            });
        }
    }
    let head = shipped_head();
    let found = Embedding::triangulated(&head, None, &views).unwrap();
    let places = found.rest(&head).unwrap();
    let authored = Embedding::shipped_for_drawings();
    let pairs = authored.points().iter().zip(authored.rest(&head).unwrap());
    let distances = pairs.map(|(point, place)| {
        let of = point.landmarks.iter().map(|i| places[usize::from(*i)]);
        place.distance(of.sum::<glam::DVec3>() / point.landmarks.len() as f64)
    });
    let distance = crate::track::maths::median(&mut distances.collect::<Vec<_>>());
    let mut residuals: Vec<f64> = found.points().iter().map(|p| p.sigma.into()).collect();
    let residual = crate::track::maths::median(&mut residuals);
    println!("residual {residual:.2} px, {distance:.4} units from the authored points");
    assert!(residual < 2.0 && distance < 0.012, "{residual}, {distance}");
}
