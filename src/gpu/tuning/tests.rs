use super::*;
use crate::file::Scratch;
use crate::gpu::Dispatch;
use crate::gpu::kernels::{params, style_unet};
use crate::options::Format;
use crate::stage::testing::gpu;

/// A variant that sums this many numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sum(pub u32);

impl Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sum of {}", self.0)
    }
}

impl Sum {
    pub(super) fn plan(self, b: &mut ProgramBuilder<'_>) -> Result<()> {
        let Self(count) = self;
        let [left, right, output] = ["left", "right", "output"]
            .map(|name| b.tensor(name, Format::F32, [1, count, 4]).unwrap());
        let kernel = b.kernel(&style_unet::ADD, &[])?;
        let size = params::Add::from(count);
        b.dispatch(
            Dispatch::new("sum", &kernel)
                .uniform("size", size)
                .bind("left", &left)
                .bind("right", &right)
                .bind("output", &output)
                .row_of_threads(count),
        );
        Ok(())
    }
}

/// The factor of a thousand exceeds any noise of the machine.
const CANDIDATES: [Sum; 3] = [Sum(1_000_000), Sum(1000), Sum(1_000_000)];

const FASTEST: Sum = CANDIDATES[1];

fn tuner(tuning: Tuning) -> Result<Tuner> {
    Tuner::new(gpu(), &tuning)
}

fn measured(file: &Path) -> Result<Tuner> {
    tuner(Tuning::Measure {
        file: Some(file.into()),
    })
}

fn choose(tuner: &Tuner, layer: &str) -> Result<Sum> {
    let layer = (layer, Formats::F32);
    tuner.choose(gpu(), layer, &CANDIDATES, |sum, b| sum.plan(b))
}

fn known(tuner: &Tuner, layer: &str, candidates: &[Sum]) -> Result<Sum> {
    let layer = (layer, Formats::F32);
    tuner.choose(gpu(), layer, candidates, |sum, _| panic!("{sum} is timed"))
}

/// The file with a layer's variant replaced.
fn changed(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn an_estimate_is_the_first_candidate() {
    let tuner = tuner(Tuning::Estimate).unwrap();
    assert_eq!(known(&tuner, "layer", &CANDIDATES).unwrap(), CANDIDATES[0]);
    assert_eq!((&tuner.file, tuner.choices().len()), (&None, 0));
    tuner.save().unwrap();
}

#[test]
fn the_fastest_is_found_once_and_remembered() {
    let scratch = Scratch::new("tuning-measure");
    let file = scratch.path("folder/that is new/variants.json");
    let first = measured(&file).unwrap();
    assert_eq!(choose(&first, "layer").unwrap(), FASTEST);
    assert_eq!(known(&first, "layer", &CANDIDATES).unwrap(), FASTEST);
    assert!(!file.exists());
    first.save().unwrap();

    let second = measured(&file).unwrap();
    assert_eq!(known(&second, "layer", &CANDIDATES).unwrap(), FASTEST);
    assert_eq!(second.choices(), first.choices());
    let choice = &second.choices()["layer"];
    assert_eq!(choice.variant, FASTEST.to_string());
    assert_eq!(choice.nanoseconds.len(), 2, "the third is the first");
    assert!(choice.nanoseconds.values().all(|time| *time > Some(0)));
    // Further layers are added.
    choose(&second, "another layer").unwrap();
    second.save().unwrap();
    assert_eq!(measured(&file).unwrap().choices().len(), 2);
}

#[test]
fn a_layer_that_can_be_computed_in_one_way_is_not_timed() {
    let tuner = measured(Path::new("is not written")).unwrap();
    assert_eq!(
        known(&tuner, "layer", &CANDIDATES[..1]).unwrap(),
        CANDIDATES[0]
    );
    tuner.save().unwrap();
    assert!(!Path::new("is not written").exists());
}

#[test]
fn what_was_measured_of_other_kernels_or_another_adapter_does_not_count() {
    let scratch = Scratch::new("tuning-other");
    let file = scratch.path("variants.json");
    for what in ["kernels", "adapter"] {
        let tuner = measured(&file).unwrap();
        choose(&tuner, "layer").unwrap();
        tuner.save().unwrap();
        let field = format!("\"{what}\": \"");
        changed(&file, &field, &format!("{field}other "));
        assert_eq!(measured(&file).unwrap().choices().len(), 0, "{what}");
    }
}

#[test]
fn variants_that_are_no_more_are_measured_anew() {
    let scratch = Scratch::new("tuning-renamed");
    let file = scratch.path("variants.json");
    let tuner = measured(&file).unwrap();
    choose(&tuner, "layer").unwrap();
    tuner.save().unwrap();
    changed(&file, r#""variant": "sum of 1000""#, r#""variant": "sum""#);
    assert_eq!(choose(&measured(&file).unwrap(), "layer").unwrap(), FASTEST);
}

#[test]
fn what_was_not_compared_with_all_candidates_is_measured_anew() {
    let tuner = measured(Path::new("is not written")).unwrap();
    let layer = ("layer", Formats::F32);
    let some = [CANDIDATES[0], Sum(2_000_000)];
    let best = tuner.choose(gpu(), layer, &some, |sum, b| sum.plan(b));
    assert_ne!(best.unwrap(), FASTEST);
    assert_eq!(choose(&tuner, "layer").unwrap(), FASTEST);
    // Fewer candidates do not make a choice outdated.
    assert_eq!(known(&tuner, "layer", &CANDIDATES[1..]).unwrap(), FASTEST);
}

#[test]
fn a_variant_that_the_limits_forbid_takes_no_part() {
    let tuner = measured(Path::new("is not written")).unwrap();
    let layer = ("layer", Formats::F32);
    let best = tuner.choose(gpu(), layer, &CANDIDATES, |sum, b| {
        if sum == FASTEST {
            return Err(Error::Limit {
                what: sum.to_string(),
                limit: "some limit",
                expected: 2,
                found: 1,
            });
        }
        sum.plan(b)
    });
    assert_eq!(best.unwrap(), CANDIDATES[0]);
    assert_eq!(tuner.choices()["layer"].nanoseconds["sum of 1000"], None);
    assert_eq!(known(&tuner, "layer", &CANDIDATES).unwrap(), CANDIDATES[0]);
}

#[test]
fn a_pinned_file_decides() {
    let scratch = Scratch::new("tuning-pinned");
    let file = scratch.path("variants.json");
    let measured = measured(&file).unwrap();
    choose(&measured, "layer").unwrap();
    measured.save().unwrap();
    // Pinned choices also apply to other adapters.
    changed(&file, "\"adapter\": \"", "\"adapter\": \"other ");
    let text = std::fs::read(&file).unwrap();

    let pinned = tuner(Tuning::Pinned(file.clone())).unwrap();
    assert_eq!(known(&pinned, "layer", &CANDIDATES).unwrap(), FASTEST);
    assert_eq!(
        known(&pinned, "another layer", &CANDIDATES).unwrap(),
        CANDIDATES[0]
    );
    pinned.save().unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), text);

    let fastest = r#""variant": "sum of 1000""#;
    changed(&file, fastest, r#""variant": "magic""#);
    let pinned = tuner(Tuning::Pinned(file)).unwrap();
    let message = known(&pinned, "layer", &CANDIDATES)
        .unwrap_err()
        .to_string();
    for part in ["variants.json", "layer", "sum of 1000", "found \"magic\""] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn files_that_cannot_be_used_are_refused_and_kept() {
    let scratch = Scratch::new("tuning-bad");
    let file = scratch.path("variants.json");
    let missing = tuner(Tuning::Pinned(file.clone())).err().unwrap();
    assert!(missing.to_string().contains("cannot read"), "{missing}");
    let choice = r#"{"variant": "sum of 1000", "nanoseconds": {}, "more": 1}"#;
    for text in [
        "",
        "my notes",
        "{}",
        r#"{"adapter": "a", "kernels": "k", "choices": []}"#,
        &format!(r#"{{"adapter": "a", "kernels": "k", "choices": {{"layer": {choice}}}}}"#),
    ] {
        std::fs::write(&file, text).unwrap();
        for refused in [tuner(Tuning::Pinned(file.clone())), measured(&file)] {
            let error = refused.err().unwrap().to_string();
            assert!(error.contains("variants.json"), "{error}");
            assert!(error.contains(FORMAT), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    // The folder cannot be made: saving reports an error.
    let tuner = measured(&file.join("below a file.json")).unwrap();
    choose(&tuner, "layer").unwrap();
    assert!(matches!(tuner.save(), Err(Error::Io { .. })));
}

#[test]
fn what_options_say() {
    let measure = |file| Tuning::Measure { file };
    let named = "some/file.json";
    for (text, expected) in [
        ("estimate", Tuning::Estimate),
        ("measure", measure(None)),
        ("measure=some/file.json", measure(Some(named.into()))),
        (named, Tuning::Pinned(named.into())),
    ] {
        assert_eq!(text.parse(), Ok(expected));
    }
}

#[test]
fn hashes_are_the_same_in_every_build() {
    assert_eq!(fnv([""; 0]), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv(["foobar"]), 0x3453_1ca7_168b_8f38);
    assert_ne!(fnv(["foo", "bar"]), fnv(["foob", "ar"]));
}
