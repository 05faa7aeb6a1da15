use super::*;

#[test]
fn rules_are_read_to_the_last_field() {
    let header = "name\tshape\tscale\toffset";
    let parse = |lines: &str| SyntheticRules::parse(&format!("{header}\n{lines}"));
    let rules = parse("a\t2x3\t0.5\t1.0\nb\t4\t0.0\t-2.5\n").unwrap();
    let shapes: Vec<_> = rules.shapes().collect();
    assert_eq!(shapes, [("a", [2, 3].as_slice()), ("b", &[4])]);
    assert_eq!(rules.get("b").unwrap().values(1, "b"), [-2.5; 4]);
    let a = rules.get("a").unwrap().values(1, "a");
    assert_eq!(a.len(), 6);
    assert!(a.iter().all(|x| (0.5..1.5).contains(x)), "{a:?}");

    assert!(SyntheticRules::parse("").is_err());
    for wrong in [
        "a\t2\t1.0",
        "a\t2\t1.0\t0.0\t0.0",
        "a\t2x\t1.0\t0.0",
        "a\t-2\t1.0\t0.0",
        "a\t2\tNaN\t0.0",
        "a\t2\t3e38\t3e38",
        "a\t2\t1.0\t0.0\na\t2\t1.0\t0.0",
        "\n",
    ] {
        let error = parse(wrong).unwrap_err().to_string();
        let line = format!("line {}:", 1 + wrong.lines().count());
        assert!(error.contains(&line), "{wrong:?}: {error}");
    }
}

#[test]
fn own_rules_resemble_those_of_the_golden_data() {
    let released = include_str!("../../../tests/golden/checkpoint_released.tsv");
    let paper = include_str!("../../../tests/golden/checkpoint_paper.tsv");
    for (point_weighting, golden) in [
        (PointWeighting::Released, released),
        (PointWeighting::Paper, paper),
    ] {
        let config = ModelConfig {
            point_weighting,
            ..ModelConfig::default()
        };
        let own = SyntheticRules::new(&config).unwrap();
        let golden = SyntheticRules::parse(golden).unwrap();
        assert!(own.shapes().eq(golden.shapes()));
        for (name, _) in own.shapes() {
            let (own, golden) = (own.get(name).unwrap(), golden.get(name).unwrap());
            assert_eq!(own.offset, golden.offset, "{name}");
            // The golden rules give layers gains from 0.3 to 2.5.
            let ratio = own.scale / golden.scale;
            let alike = own.scale == golden.scale || (0.3..3.2).contains(&ratio);
            assert!(alike, "{name}: {} against {}", own.scale, golden.scale);
        }
    }
}

#[test]
fn generator_matches_the_known_sequence() {
    let values: Vec<f32> = uniform(7, "a.weight").take(4).collect();
    assert_eq!(values, [0.664047, 0.65289223, 0.13270187, -0.21251774]);
}
