use super::*;

/// JSON may change the last digit of numbers that are not so round.
fn seen(index: usize) -> Option<Seen> {
    let fit = || Fit {
        shape: vec![0.5, -1.25],
        expression: vec![0.25 * index as f64],
        jaw: DVec3::X,
        rotation: DMat3::IDENTITY,
        translation: DVec3::Z,
        residual: 1.5,
        poor: false,
    };
    (index != 1).then(|| Seen {
        scores: std::array::from_fn(|k| 0.01 * (index + k) as f32),
        pose: HeadPose {
            rotation: DMat3::from_diagonal(DVec3::new(-1.0, 1.0, 0.5)),
            origin: DVec2::new(0.125, index as f64),
            unit: 70.0,
        },
        presence: 0.99,
        fit: (index == 2).then(fit),
    })
}

#[test]
fn a_journal_gives_back_all_whole_frames_of_its_film() {
    let room = tempfile::tempdir().unwrap();
    let (output, film) = (room.path().join("a.json"), room.path().join("film"));
    fs::write(&film, "film").unwrap();
    let subject = |rate| Subject::new(&film, rate, String::new()).unwrap();
    let (mut journal, none) = Journal::open(&output, &subject(25.0)).unwrap();
    assert!(none.is_empty());
    for index in 0..3 {
        journal.write(seen(index).as_ref()).unwrap();
    }
    let path = journal.path.clone();
    drop(journal);
    let whole = fs::read(&path).unwrap();

    // Wherever it is cut, the frames before are kept, and writing goes on after them.
    let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let ends: Vec<_> = ends.map(|(at, _)| at + 1).collect();
    for cut in [ends[0], ends[1] - 1, ends[1], ends[2] + 40, ends[3]] {
        fs::write(&path, &whole[..cut]).unwrap();
        let (mut journal, frames) = Journal::open(&output, &subject(25.0)).unwrap();
        let expected = ends[1..].iter().filter(|end| **end <= cut).count();
        let frames_of = |count| (0..count).map(seen).collect::<Vec<_>>();
        assert_eq!(frames, frames_of(expected), "cut at {cut}");
        for index in expected..3 {
            journal.write(seen(index).as_ref()).unwrap();
        }
        drop(journal);
        assert_eq!(fs::read(&path).unwrap(), whole, "cut at {cut}");
    }

    // Of another rate or film it is of no use.
    let (journal, frames) = Journal::open(&output, &subject(30.0)).unwrap();
    assert!(frames.is_empty());
    drop(journal);
    fs::write(&film, "another").unwrap();
    let (mut journal, frames) = Journal::open(&output, &subject(30.0)).unwrap();
    assert!(frames.is_empty());
    journal.write(None).unwrap();
    drop(journal);
    let (journal, frames) = Journal::open(&output, &subject(30.0)).unwrap();
    assert_eq!(frames, [None]);
    journal.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn lines_of_other_programs_are_no_frames() {
    let room = tempfile::tempdir().unwrap();
    let (output, film) = (room.path().join("a.json"), room.path().join("film"));
    fs::write(&film, "film").unwrap();
    let subject = Subject::new(&film, 25.0, String::new()).unwrap();
    let (journal, _) = Journal::open(&output, &subject).unwrap();
    let first = fs::read(&journal.path).unwrap();
    for line in ["{}\n", "[]\n", "\n", "{\"scores\": [0.5]}\n", "\u{0}\n"] {
        fs::write(&journal.path, [&first, line.as_bytes()].concat()).unwrap();
        let (again, frames) = Journal::open(&output, &subject).unwrap();
        assert!(frames.is_empty(), "{line}");
        assert_eq!(fs::read(&again.path).unwrap(), first, "{line}");
    }
}
