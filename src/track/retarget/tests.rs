use super::*;
use crate::error::refused;
use crate::file::Scratch;
use crate::head::HeadModelParts;
use crate::track::fit::tests::shipped_head;

/// Channels of the shipped head that the mixed one has no counterpart for.
const LEFT_OUT: [&str; 2] = ["jawForward", "tongueOut"];

/// An orthogonal matrix, by Gram and Schmidt from made-up numbers.
fn orthogonal(n: usize) -> Vec<Vec<f64>> {
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64 - 0.5
    };
    let mut rows: Vec<Vec<f64>> = Vec::new();
    while rows.len() < n {
        let mut row: Vec<f64> = (0..n).map(|_| random()).collect();
        for _ in 0..2 {
            for other in &rows {
                let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let length = row.iter().map(|a| a * a).sum::<f64>().sqrt();
        row.iter_mut().for_each(|a| *a /= length);
        rows.push(row);
    }
    rows
}

/// A head whose nameless directions are a mix of 50 channels of the shipped one; twice as large.
fn mixed(head: &HeadModel) -> HeadModel {
    let parts = head.parts();
    let count = head.vertex_count();
    let kept: Vec<&[[f32; 3]]> = (parts.expression_basis.chunks(count).zip(&parts.channels))
        .filter(|(_, name)| !LEFT_OUT.contains(&name.as_str()))
        .map(|(basis, _)| basis)
        .collect();
    let mut basis = Vec::new();
    for row in orthogonal(kept.len()) {
        basis.extend((0..count).map(|i| -> [f32; 3] {
            std::array::from_fn(|axis| {
                let sum = row
                    .iter()
                    .zip(&kept)
                    .map(|(q, basis)| q * f64::from(basis[i][axis]));
                sum.sum::<f64>() as f32
            })
        }));
    }
    HeadModel::new(HeadModelParts {
        template: parts.template.clone(),
        expression_basis: basis,
        scale: 2.0,
        ..Default::default()
    })
    .unwrap()
}

#[test]
fn channels_come_back_on_the_mixed_head() {
    let (head, embedding) = (
        shipped_head(),
        Embedding::shipped().with_sigma(2.0).unwrap(),
    );
    let target = mixed(&head);
    let retarget = Retarget::new((&head, &embedding), (&target, &embedding)).unwrap();
    assert_eq!(retarget.channels(), head.parts().channels);
    let count = head.vertex_count();
    let (mut at_points, mut at_vertices) = (Vec::new(), Vec::new());
    for (i, name) in retarget.channels().iter().enumerate() {
        let mut values = vec![0.0; retarget.channels().len()];
        values[i] = 1.0;
        let (expression, pose) = retarget.apply(&values).unwrap();
        assert!(pose.is_empty());
        let wanted = &head.parts().expression_basis[i * count..(i + 1) * count];
        let found: Vec<[f32; 3]> = (0..count)
            .map(|v| {
                std::array::from_fn(|axis| {
                    let basis = target.parts().expression_basis.chunks(count);
                    basis
                        .zip(&expression)
                        .map(|(basis, e)| basis[v][axis] * e)
                        .sum()
                })
            })
            .collect();
        let share = |pick: &dyn Fn(&[[f32; 3]]) -> Vec<DVec3>| {
            let (found, wanted) = (pick(&found), pick(wanted));
            let left: f64 = found
                .iter()
                .zip(&wanted)
                .map(|(a, b)| a.distance_squared(*b))
                .sum();
            let all: f64 = wanted.iter().map(|b| b.length_squared()).sum();
            (left / all).sqrt()
        };
        let vector = |v: &[f32; 3]| DVec3::from_array(v.map(f64::from));
        let points = share(&|values| embedding.points().iter().map(|p| p.blend(values)).collect());
        let vertices = share(&|values| values.iter().map(vector).collect());
        match LEFT_OUT.contains(&name.as_str()) {
            true => println!(
                "{name}: {:.3} of its displacements is left",
                retarget.residuals()[i]
            ),
            false => {
                assert!(
                    (points - f64::from(retarget.residuals()[i])).abs() < 2e-3,
                    "{name}"
                );
                at_points.push(points);
                at_vertices.push(vertices);
            }
        }
    }
    at_points.sort_by(f64::total_cmp);
    at_vertices.sort_by(f64::total_cmp);
    println!(
        "points: median {:.4}, worst {:.4}; vertices: median {:.4}, worst {:.4}",
        at_points[25], at_points[49], at_vertices[25], at_vertices[49]
    );
    assert!(at_points[49] <= 0.01, "{}", at_points[49]);
    assert!(at_vertices[25] <= 0.03, "{}", at_vertices[25]);
    assert_eq!(
        retarget.residuals()[head.channel("tongueOut").unwrap()],
        1.0
    );
    let forward = head.channel("jawForward").unwrap();
    assert!(retarget.residuals()[forward] > 0.3);
}

/// The same head without names: the mouth is opened by its jaw, too.
#[test]
fn a_jaw_opens_within_its_bounds() {
    let (head, embedding) = (
        shipped_head(),
        Embedding::shipped().with_sigma(2.0).unwrap(),
    );
    let parts = head.parts();
    let at = head.channel("jawOpen").unwrap();
    let count = head.vertex_count();
    let mut basis = parts.expression_basis.clone();
    basis.drain(at * count..(at + 1) * count);
    let target = HeadModel::new(HeadModelParts {
        channels: Vec::new(),
        expression_basis: basis,
        ..parts.clone()
    })
    .unwrap();
    let retarget = Retarget::new((&head, &embedding), (&target, &embedding)).unwrap();
    println!("jawOpen: {:.3} is left", retarget.residuals()[at]);
    assert!(
        retarget.residuals()[at] < 0.5,
        "{}",
        retarget.residuals()[at]
    );
    let mut values = vec![0.0; 52];
    values[at] = 1.0;
    let (expression, pose) = retarget.apply(&values).unwrap();
    assert_eq!((expression.len(), pose.len()), (51, 6));
    assert!(pose[3] > 0.0 && pose[3] <= 0.6, "{pose:?}");
    values[at] = 1e6;
    let (expression, pose) = retarget.apply(&values).unwrap();
    assert!(pose[3] <= 0.6 && expression.iter().all(|e| e.abs() <= 3.0));
}

#[test]
fn it_is_fitted_once() {
    let (head, embedding) = (shipped_head(), Embedding::shipped());
    let target = mixed(&head);
    let (source, target) = ((&head, &embedding), (&target, &embedding));
    let name = Retarget::file_name(source, target).unwrap();
    assert_ne!(name, Retarget::file_name(source, source).unwrap());
    let scratch = Scratch::new("track-retarget");
    let file = scratch.path("folder").join(name);
    let mut made = 0;
    let mut get = || {
        let kept = Retarget::kept(Some(&file), || {
            made += 1;
            Retarget::new(source, target)
        });
        kept.unwrap()
    };
    let first = get();
    assert_eq!(get(), first);
    std::fs::write(&file, b"damaged").unwrap();
    assert_eq!(get(), first);
    assert_eq!(made, 2);
}

#[test]
fn damaged_files_are_refused() {
    let (head, embedding) = (shipped_head(), Embedding::shipped());
    let retarget = Retarget::new((&head, &embedding), (&mixed(&head), &embedding)).unwrap();
    let bytes = retarget.to_safetensors().unwrap();
    assert_eq!(Retarget::from_safetensors(bytes.clone()).unwrap(), retarget);
    for end in (0..bytes.len()).step_by(211) {
        assert!(Retarget::from_safetensors(bytes[..end].to_vec()).is_err());
    }
    let mut wrong = retarget.clone();
    wrong.rows[7] = f32::NAN;
    refused!(
        Retarget::from_safetensors(wrong.to_safetensors().unwrap()),
        Format
    );
    wrong.jaw = Some([2, 2]);
    wrong.rows[7] = 0.0;
    refused!(
        Retarget::from_safetensors(wrong.to_safetensors().unwrap()),
        Format
    );
    refused!(
        Retarget::from_safetensors(head.to_safetensors().unwrap()),
        Format
    );
}

#[test]
fn heads_without_anything_in_common_are_refused() {
    let (head, embedding) = (shipped_head(), Embedding::shipped());
    let target = mixed(&head);
    let unnamed = Retarget::new((&target, &embedding), (&head, &embedding));
    let found = refused!(unnamed, Argument);
    assert!(found.contains("named channels"), "{found}");
    let few = Embedding::new(embedding.points()[..11].to_vec()).unwrap();
    refused!(
        Retarget::new((&head, &few), (&target, &embedding)),
        Argument
    );
    let still = HeadModel::new(HeadModelParts {
        template: head.parts().template.clone(),
        ..Default::default()
    })
    .unwrap();
    refused!(
        Retarget::new((&head, &embedding), (&still, &embedding)),
        Argument
    );
    let retarget = Retarget::new((&head, &embedding), (&target, &embedding)).unwrap();
    refused!(retarget.apply(&[0.0; 3]), Argument);
    refused!(retarget.apply(&[f32::NAN; 52]), Argument);
    refused!(retarget.check(&head), Argument);
}
