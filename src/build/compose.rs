//! Composes a kernel and everything that it imports into one text with one scope.
//!
//! The preprocessor handles `#import path::item` and `#import path::{item, item}`, also over
//! several lines, and `#ifdef`, `#ifndef`, `#else` and `#endif`, also around imports. Each module
//! is added once, after its own imports; directives such as `enable` come first. A file uses only
//! names that it declares or imports. Every line keeps its origin, so that errors name the file and
//! the line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fmt, fs, io};

/// `folder/name` of the files below `shaders/`, and their texts.
pub type Files = BTreeMap<String, String>;

/// Collects the `.wgsl` files below `directory`, under names that begin with `prefix`.
pub fn read(directory: &Path, prefix: &str, files: &mut Files) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{prefix}{stem}");
        if path.is_dir() {
            read(&path, &format!("{name}/"), files)?;
        } else if path.extension().is_some_and(|e| e == "wgsl") {
            files.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// A line without its comment and indentation.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a str,
    file: &'a str,
    number: usize,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "shaders/{}.wgsl:{}: {}",
            self.file, self.number, self.text
        )
    }
}

impl Line<'_> {
    fn error(&self, what: impl fmt::Display) -> String {
        format!("{what}\n  {self}")
    }
}

/// The active lines of a file under some definitions.
#[derive(Default)]
struct Part<'a> {
    directives: Vec<Line<'a>>,
    lines: Vec<Line<'a>>,
    /// Imported item -> the module's file and the line of the import.
    imports: BTreeMap<&'a str, (&'a str, Line<'a>)>,
    /// Names declared in module scope.
    items: BTreeMap<&'a str, Line<'a>>,
}

/// A kernel's self-contained text.
pub struct Composed<'a> {
    /// Its lines correspond to `lines`.
    pub text: String,
    lines: Vec<Line<'a>>,
    /// Definitions that its files test.
    pub asked: BTreeSet<&'a str>,
}

/// All files, and the definitions that they may test.
pub struct Composer<'a> {
    files: &'a Files,
    /// Import path -> file.
    modules: BTreeMap<&'a str, &'a str>,
    definitions: &'a [&'a str],
}

impl<'a> Composer<'a> {
    pub fn new(files: &'a Files, definitions: &'a [&'a str]) -> Result<Self, String> {
        let mut modules = BTreeMap::new();
        for (file, text) in files {
            let path = text
                .lines()
                .find_map(|l| l.strip_prefix("#define_import_path "));
            if let Some(other) = path.and_then(|path| modules.insert(path, file.as_str())) {
                return Err(format!(
                    "shaders/{file}.wgsl and shaders/{other}.wgsl have one import path"
                ));
            }
        }
        Ok(Self {
            files,
            modules,
            definitions,
        })
    }

    /// The files that no other file imports, each with one entry point.
    pub fn kernels(&self) -> impl Iterator<Item = &'a str> {
        let modules: BTreeSet<_> = self.modules.values().copied().collect();
        self.files
            .keys()
            .map(String::as_str)
            .filter(move |file| !modules.contains(file))
    }

    /// The kernel `file` under `definitions`.
    pub fn compose(&self, file: &'a str, definitions: &[&str]) -> Result<Composed<'a>, String> {
        let mut parts = BTreeMap::new();
        let mut order = Vec::new();
        let mut asked = BTreeSet::new();
        self.add(file, definitions, &mut parts, &mut order, &mut asked)?;
        check(&parts)?;
        let parts = || order.iter().map(|file| &parts[file]);
        let mut lines: Vec<Line<'_>> = Vec::new();
        for directive in parts().flat_map(|part| &part.directives) {
            if lines.iter().all(|line| line.text != directive.text) {
                lines.push(*directive);
            }
        }
        lines.extend(parts().flat_map(|part| &part.lines));
        let text = lines.iter().flat_map(|line| [line.text, "\n"]).collect();
        Ok(Composed { text, lines, asked })
    }

    /// Adds a file after everything that it imports.
    fn add(
        &self,
        file: &'a str,
        definitions: &[&str],
        parts: &mut BTreeMap<&'a str, Part<'a>>,
        order: &mut Vec<&'a str>,
        asked: &mut BTreeSet<&'a str>,
    ) -> Result<(), String> {
        if parts.contains_key(file) {
            return Ok(());
        }
        let part = self.preprocess(file, definitions, asked)?;
        let modules: BTreeSet<_> = part.imports.values().map(|(module, _)| *module).collect();
        parts.insert(file, part);
        for module in modules {
            self.add(module, definitions, parts, order, asked)?;
        }
        order.push(file);
        Ok(())
    }

    fn preprocess(
        &self,
        file: &'a str,
        definitions: &[&str],
        asked: &mut BTreeSet<&'a str>,
    ) -> Result<Part<'a>, String> {
        let mut part = Part::default();
        // The enclosing conditionals, and whether each one's branch is taken.
        let mut branches: Vec<(Line<'a>, bool)> = Vec::new();
        let mut depth = 0;
        let texts = self.files[file]
            .lines()
            .map(|text| text.split("//").next().unwrap().trim());
        let mut lines = texts
            .zip(1..)
            .map(|(text, number)| Line { text, file, number });
        while let Some(line) = lines.next() {
            let active = branches.iter().all(|(_, taken)| *taken);
            let (word, rest) = line.text.split_once(' ').unwrap_or((line.text, ""));
            match word {
                "#ifdef" | "#ifndef" => {
                    if !self.definitions.contains(&rest) {
                        return Err(line.error("no such definition"));
                    }
                    if active {
                        asked.insert(rest);
                    }
                    branches.push((line, definitions.contains(&rest) == (word == "#ifdef")));
                }
                "#else" => {
                    let branch = branches
                        .last_mut()
                        .filter(|(opened, _)| opened.text != "#else");
                    let branch = branch.ok_or_else(|| line.error("no #ifdef"))?;
                    *branch = (line, !branch.1);
                }
                "#endif" => {
                    branches.pop().ok_or_else(|| line.error("no #ifdef"))?;
                }
                "#define_import_path" => {}
                "#import" => {
                    let (path, mut items) = rest
                        .rsplit_once("::")
                        .ok_or_else(|| line.error("no item"))?;
                    let module = *self
                        .modules
                        .get(path)
                        .ok_or_else(|| line.error("no such module"))?;
                    let open = items.starts_with('{');
                    loop {
                        let names = items
                            .split(['{', '}', ',', ' '])
                            .filter(|name| !name.is_empty());
                        if active {
                            part.imports
                                .extend(names.map(|name| (name, (module, line))));
                        }
                        if !open || items.ends_with('}') {
                            break;
                        }
                        items = lines.next().ok_or_else(|| line.error("no }"))?.text;
                    }
                }
                _ if word.starts_with('#') => return Err(line.error("no such directive")),
                _ if !active || word.is_empty() => {}
                "enable" | "requires" | "diagnostic" => part.directives.push(line),
                _ => {
                    if line.text.contains("/*") {
                        return Err(line.error("comments begin with //"));
                    }
                    if depth == 0
                        && let Some(name) = declared(line.text)
                    {
                        part.items.insert(name, line);
                    }
                    depth += line.text.matches('{').count();
                    depth = depth.saturating_sub(line.text.matches('}').count());
                    part.lines.push(line);
                }
            }
        }
        match branches.pop() {
            Some((line, _)) => Err(line.error("no #endif")),
            None => Ok(part),
        }
    }
}

/// Checks that one file declares each item, and that files use exactly what they import.
fn check(parts: &BTreeMap<&str, Part<'_>>) -> Result<(), String> {
    let mut items: BTreeMap<&str, Line<'_>> = BTreeMap::new();
    for (name, line) in parts.values().flat_map(|part| &part.items) {
        if let Some(other) = items.insert(name, *line) {
            return Err(line.error(format_args!("`{name}` is declared twice\n  {other}")));
        }
    }
    for part in parts.values() {
        for (name, (module, line)) in &part.imports {
            if !parts[module].items.contains_key(name) {
                return Err(line.error(format_args!("shaders/{module}.wgsl declares no `{name}`")));
            }
        }
        let words = || {
            part.lines
                .iter()
                .flat_map(|line| words(line.text).map(move |word| (line, word)))
        };
        // Locals, parameters and members may share a name with another file's item.
        let own = words()
            .filter(|(_, word)| word.labels)
            .map(|(_, word)| word.name);
        let own: BTreeSet<_> = own
            .chain(part.lines.iter().filter_map(|l| declared(l.text)))
            .collect();
        let mut unused: BTreeMap<_, _> = part.imports.iter().collect();
        for (line, word) in words().filter(|(_, word)| !word.member) {
            unused.remove(&word.name);
            let known = own.contains(word.name) || part.imports.contains_key(word.name);
            if let (Some(item), false) = (items.get(word.name), known) {
                let what = format!("`{}` is not imported\n  {item}", word.name);
                return Err(line.error(what));
            }
        }
        if let Some((name, (_, line))) = unused.pop_first() {
            return Err(line.error(format_args!("`{name}` is not used")));
        }
    }
    Ok(())
}

struct Word<'a> {
    name: &'a str,
    /// Whether it follows a dot.
    member: bool,
    /// Whether a colon follows: the name of a parameter or member.
    labels: bool,
}

/// Names and keywords of a line.
fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let names = text.split(move |c| !is_part(c));
    let names = names.filter(|name| name.starts_with(|c: char| c.is_alphabetic() || c == '_'));
    names.map(move |name| {
        let at = name.as_ptr() as usize - text.as_ptr() as usize;
        Word {
            name,
            member: text[..at].ends_with('.'),
            labels: text[at + name.len()..].starts_with(':') && !text.starts_with("case "),
        }
    })
}

/// The first name that a line declares.
fn declared(text: &str) -> Option<&str> {
    let mut words = words(text);
    let keyword = words.find(|word| {
        ["fn", "struct", "const", "alias", "override", "var", "let"].contains(&word.name)
    })?;
    let rest =
        &text[keyword.name.as_ptr() as usize - text.as_ptr() as usize + keyword.name.len()..];
    // Address spaces come before a variable's name.
    let rest = rest
        .strip_prefix('<')
        .and_then(|rest| rest.split_once('>'))
        .map_or(rest, |(_, rest)| rest);
    self::words(rest).next().map(|word| word.name)
}

impl Composed<'_> {
    /// The file that a position of the text comes from.
    pub fn file(&self, span: naga::Span) -> Option<&str> {
        self.line(span).map(|line| line.file)
    }

    fn line(&self, span: naga::Span) -> Option<Line<'_>> {
        let before = &self.text[..span.to_range()?.start.min(self.text.len())];
        let number = before.matches('\n').count();
        self.lines.get(number).or(self.lines.last()).copied()
    }

    fn error(&self, what: &str, places: impl Iterator<Item = (naga::Span, String)>) -> String {
        let places = places.filter_map(|(span, label)| Some((self.line(span)?, label)));
        let places = places.map(|(line, label)| format!("\n  {line} ({label})"));
        format!("{what}{}", places.collect::<String>())
    }

    /// Parses the text.
    pub fn parse(&self) -> Result<naga::Module, String> {
        naga::front::wgsl::parse_str(&self.text).map_err(|error| {
            let labels = error
                .labels()
                .map(|(span, label)| (span, label.to_string()));
            self.error(error.message(), labels)
        })
    }

    /// Validates a module of the text for a device with `capabilities`.
    pub fn validate(
        &self,
        module: &naga::Module,
        capabilities: naga::valid::Capabilities,
    ) -> Result<(), String> {
        let mut validator =
            naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities);
        let result = validator.validate(module);
        result.map(|_| ()).map_err(|error| {
            let mut what = error.as_inner().to_string();
            let mut source = std::error::Error::source(error.as_inner());
            while let Some(error) = source {
                what += &format!(": {error}");
                source = error.source();
            }
            self.error(&what, error.spans().cloned())
        })
    }
}

#[cfg(test)]
mod tests;
