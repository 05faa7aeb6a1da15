use super::*;

const DEFINITIONS: &[&str] = &["WIDE", "FAST"];

fn files<const N: usize>(texts: [(&str, &str); N]) -> Files {
    let texts = texts.into_iter();
    texts
        .map(|(file, text)| (file.to_string(), text.to_string()))
        .collect()
}

/// Composes the kernel `a/kernel`.
fn compose<const N: usize>(
    texts: [(&str, &str); N],
    definitions: &[&str],
) -> Result<String, String> {
    let files = files(texts);
    let composer = Composer::new(&files, DEFINITIONS)?;
    Ok(composer.compose("a/kernel", definitions)?.text)
}

fn error<const N: usize>(texts: [(&str, &str); N]) -> String {
    compose(texts, &[]).unwrap_err()
}

const ONE: (&str, &str) = (
    "a/one",
    "#define_import_path x::one\n\n// Comment.\nconst ONE = 1u; // 1\nfn one() -> u32 {\n    return ONE;\n}\n",
);

#[test]
fn modules_come_once_and_before_their_users() {
    let two = "#define_import_path x::two\n#import x::one::one\nfn two() -> u32 {\nreturn one() + one();\n}\n";
    let kernel = "#import x::two::two\n#import x::one::{\n    ONE,\n    one, // Both.\n}\nconst THREE = two() + one() + ONE;\n";
    let text = compose([ONE, ("a/two", two), ("a/kernel", kernel)], &[]).unwrap();
    assert_eq!(
        text,
        "const ONE = 1u;\nfn one() -> u32 {\nreturn ONE;\n}\n\
         fn two() -> u32 {\nreturn one() + one();\n}\n\
         const THREE = two() + one() + ONE;\n"
    );
}

#[test]
fn only_files_without_an_import_path_are_kernels() {
    let files = files([ONE, ("a/kernel", "")]);
    let composer = Composer::new(&files, DEFINITIONS).unwrap();
    assert_eq!(composer.kernels().collect::<Vec<_>>(), ["a/kernel"]);
}

#[test]
fn definitions_choose_lines_imports_and_directives() {
    let kernel = "#ifdef WIDE\nenable f16;\n#import x::one::ONE\n#ifndef FAST\nconst A = ONE;\n#else\nconst B = ONE;\n#endif\n#else\nconst C = 0u;\n#endif\n";
    let compose = |definitions: &[&str]| {
        let files = files([ONE, ("a/kernel", kernel)]);
        let composer = Composer::new(&files, DEFINITIONS).unwrap();
        let composed = composer.compose("a/kernel", definitions).unwrap();
        let asked = composed.asked.iter().map(|name| name.to_string());
        (composed.text, asked.collect::<Vec<_>>())
    };
    let one = "enable f16;\nconst ONE = 1u;\nfn one() -> u32 {\nreturn ONE;\n}\n";
    let expected = |line: &str| format!("{one}{line}\n");
    // A condition inside a branch that is not taken is not tested.
    assert_eq!(
        compose(&[]),
        ("const C = 0u;\n".into(), vec!["WIDE".into()])
    );
    let both = vec!["FAST".to_string(), "WIDE".to_string()];
    assert_eq!(
        compose(&["WIDE"]),
        (expected("const A = ONE;"), both.clone())
    );
    assert_eq!(
        compose(&["FAST", "WIDE"]),
        (expected("const B = ONE;"), both)
    );
}

#[test]
fn errors_of_the_preprocessor_name_the_line() {
    for (kernel, line, what) in [
        ("\n#ifdef WIDE\n", 2, "no #endif"),
        ("#endif\n", 1, "no #ifdef"),
        ("#else\n", 1, "no #ifdef"),
        ("#ifdef WIDE\n#else\n#else\n#endif\n", 3, "no #ifdef"),
        ("#ifdef WIDTH\n#endif\n", 1, "no such definition"),
        ("#if WIDE\n", 1, "no such directive"),
        ("#import x::three::three\n", 1, "no such module"),
        ("#import one\n", 1, "no item"),
        ("\n#import x::one::{one,\n", 2, "no }"),
        ("\n\n#import x::one::two\n", 3, "declares no `two`"),
        (
            "#import x::one::one\nconst A = 1;\n",
            1,
            "`one` is not used",
        ),
        ("const A = 1;\nconst B = ONE;\n", 2, "`ONE` is declared"),
        (
            "#import x::one::one\nconst A = one() + ONE;\n",
            2,
            "`ONE` is not imported",
        ),
        (
            "#import x::one::one\nconst ONE = one();\n",
            2,
            "`ONE` is declared twice",
        ),
        ("/* A */\n", 1, "comments begin with //"),
    ] {
        // A module that is not imported declares nothing.
        if what == "`ONE` is declared" {
            assert!(compose([ONE, ("a/kernel", kernel)], &[]).is_ok());
            continue;
        }
        let error = error([ONE, ("a/kernel", kernel)]);
        assert!(error.contains(what), "{kernel}: {error}");
        assert!(
            error.contains(&format!("shaders/a/kernel.wgsl:{line}: ")),
            "{kernel}: {error}"
        );
    }
}

#[test]
fn names_of_members_and_locals_are_free() {
    let kernel = "#import x::one::one\nstruct S { ONE: u32 }\nfn f(s: S) -> u32 {\n    return s.ONE + one();\n}\n";
    compose([ONE, ("a/kernel", kernel)], &[]).unwrap();
    let kernel = "#import x::one::one\nfn f() -> u32 {\n    let ONE = one();\n    return ONE;\n}\n";
    compose([ONE, ("a/kernel", kernel)], &[]).unwrap();
    // A `case` selector declares no name.
    let kernel = "#import x::one::one\nfn f() {\n    switch one() {\n        case ONE: {}\n        default: {}\n    }\n}\n";
    assert!(error([ONE, ("a/kernel", kernel)]).contains("kernel.wgsl:4: case ONE: {}"));
}

#[test]
fn import_paths_belong_to_one_file() {
    let files = files([ONE, ("b/one", ONE.1)]);
    let error = Composer::new(&files, DEFINITIONS).err().unwrap();
    assert!(
        error.contains("shaders/a/one.wgsl") && error.contains("shaders/b/one.wgsl"),
        "{error}"
    );
}

#[test]
fn errors_of_the_language_name_file_and_line() {
    let validated = |one: &str, kernel: &str| {
        let files = files([("a/one", one), ("a/kernel", kernel)]);
        let composer = Composer::new(&files, DEFINITIONS)?;
        let composed = composer.compose("a/kernel", &[])?;
        composed.validate(&composed.parse()?, naga::valid::Capabilities::all())
    };
    let kernel =
        "#import x::one::one\n\n@compute @workgroup_size(1)\nfn main() {\n    _ = one();\n}\n";
    validated(ONE.1, kernel).unwrap();
    // An error of the parser, in a module.
    let error = validated(&ONE.1.replace("return ONE", "return TWO"), kernel).unwrap_err();
    assert!(
        error.contains("shaders/a/one.wgsl:6: return TWO;"),
        "{error}"
    );
    // An error of the validator, in the kernel.
    let kernel = kernel.replace("_ = one();", "a[0] = one();");
    let read_only = "@group(0) @binding(0) var<storage, read> a: array<u32>;";
    let error = validated(ONE.1, &kernel.replace("\n\n", &format!("\n{read_only}\n")));
    let error = error.unwrap_err();
    assert!(
        error.contains("shaders/a/kernel.wgsl:5: a[0] = one();"),
        "{error}"
    );
}

#[test]
fn constants_are_of_the_file_that_declares_them() {
    let files = files([
        ONE,
        ("a/kernel", "#import x::one::ONE\nconst TWO = 2u * ONE;\n"),
    ]);
    let composer = Composer::new(&files, DEFINITIONS).unwrap();
    let composed = composer.compose("a/kernel", &[]).unwrap();
    let module = composed.parse().unwrap();
    let constants = module.constants.iter().map(|(handle, constant)| {
        let file = composed.file(module.constants.get_span(handle));
        (constant.name.clone().unwrap(), file.unwrap().to_string())
    });
    let expected = [("ONE", "a/one"), ("TWO", "a/kernel")];
    assert_eq!(
        constants.collect::<Vec<_>>(),
        expected.map(|(name, file)| (name.to_string(), file.to_string()))
    );
}

#[test]
fn sizes_may_be_constants_and_overrides() {
    let text = "override WIDTH: u32 = 8u;\nconst LINES = 4u;\nvar<workgroup> memory: array<f32, WIDTH * LINES>;\n@compute @workgroup_size(WIDTH, LINES)\nfn main() {\n    memory[0] = 1.0;\n}\n";
    let files = files([("a/kernel", text)]);
    let composer = Composer::new(&files, DEFINITIONS).unwrap();
    let composed = composer.compose("a/kernel", &[]).unwrap();
    composed
        .validate(&composed.parse().unwrap(), naga::valid::Capabilities::all())
        .unwrap();
    assert!(composed.text.contains("array<f32, WIDTH * LINES>"));
    assert!(composed.text.contains("@workgroup_size(WIDTH, LINES)"));
}
