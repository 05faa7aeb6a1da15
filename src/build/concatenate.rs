//! Kernels as one text, for what naga_oil cannot compose: it loses the operands of loads and stores
//! of cooperative matrices.
//!
//! Imported modules are put in front of the kernel, all names in one scope: naga refuses two of a
//! kind. Of the preprocessor there is what such kernels need: `#import` on one line, `#ifdef`,
//! `#else`, `#endif`.

use crate::{Modules, imports};

/// The kernel with all its imports, without what it does not use.
pub fn module(
    path: &str,
    source: &str,
    modules: &Modules<'_>,
    definitions: &[&str],
) -> naga::Module {
    let mut texts = Vec::new();
    collect(path, source, modules, &mut texts);
    let lines = texts
        .iter()
        .flat_map(|text| active(path, text, definitions));
    // Directives come before everything else.
    let (directives, rest): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("enable "));
    let text = [directives, rest].concat().join("\n");
    let mut module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|error| panic!("{path}: {}", error.emit_to_string(&text)));
    naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
    module
}

/// A text behind everything that it imports, each once.
fn collect<'a>(file: &str, source: &'a str, modules: &Modules<'a>, texts: &mut Vec<&'a str>) {
    for import in imports(file, source, modules) {
        let (file, text) = modules[&import];
        if !texts.contains(&text) {
            collect(file, text, modules, texts);
        }
    }
    texts.push(source);
}

/// The lines that are compiled under these definitions.
fn active<'a>(path: &str, text: &'a str, definitions: &[&str]) -> Vec<&'a str> {
    // Whether the branches that a line is in are taken.
    let mut branches = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("#ifdef") => branches.push(words.next().is_some_and(|d| definitions.contains(&d))),
            Some("#else") => {
                let branch = branches.last_mut();
                let branch = branch.unwrap_or_else(|| panic!("{path}: #else without #ifdef"));
                *branch = !*branch;
            }
            Some("#endif") => {
                branches.pop();
            }
            Some("#import" | "#define_import_path") => {}
            Some(word) if word.starts_with('#') => panic!("{path}: {line}"),
            _ if branches.iter().all(|taken| *taken) => lines.push(line),
            _ => {}
        }
    }
    lines
}
