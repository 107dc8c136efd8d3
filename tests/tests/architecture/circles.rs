//! No circle of files: of two files of a crate that are not above each other, one may use the other, not both, nor by way
//! of a third.
//!
//! It reads the `use` lines and the paths that begin with `crate::` or `super::`, as text; tests are left out, as they may look
//! at anything. A file and those in the folder of its name are one another's parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A module by its path in the crate; the crate's own file is the empty one.
type Module = Vec<String>;

/// The files of a crate, with the text that is no test and no comment.
fn modules(src: &Path) -> BTreeMap<Module, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![src.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let relative = path.strip_prefix(src).unwrap().with_extension("");
            let mut module: Module = relative
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if ["mod", "lib", "main"].contains(&module.last().unwrap().as_str()) {
                module.pop();
            }
            if path.extension().is_none_or(|end| end != "rs")
                || module.contains(&"tests".to_owned())
            {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let text = text
                .split("#[cfg(test)]\npub(crate) mod tests")
                .next()
                .unwrap();
            let lines = text.lines().map(|line| line.split("//").next().unwrap());
            let entry: &mut String = found.entry(module).or_default();
            lines.for_each(|line| *entry += &format!("{line}\n"));
        }
    }
    found
}

/// The paths of a `use` tree.
fn expand(prefix: &str, tree: &str, out: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((before, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap();
        out.push(format!("{prefix}{path}"));
        return;
    };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(
                        &format!("{prefix}{}", before.trim()),
                        &inner[start..at],
                        out,
                    );
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// All paths that a file names.
fn paths(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let starts_a_line = rest[..at].rsplit('\n').next().is_some_and(|before| {
            let before = before.trim();
            before.is_empty() || before.starts_with("pub")
        });
        rest = &rest[at + 4..];
        if starts_a_line && let Some(end) = rest.find(';') {
            expand("", &rest[..end].replace('\n', " "), &mut out);
        }
    }
    for start in ["crate::", "super::"] {
        for (at, _) in text.match_indices(start) {
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let end = text[at..].find(|c| !is_path(c)).unwrap_or(text.len() - at);
            out.push(text[at..at + end].to_owned());
        }
    }
    out
}

/// The file that a path in `module` leads to.
fn target(modules: &BTreeMap<Module, String>, module: &Module, path: &str) -> Option<Module> {
    let mut parts = path.split("::").map(str::trim).peekable();
    let mut at: Module = match parts.peek() {
        Some(&"crate") => {
            parts.next();
            Module::new()
        }
        Some(&"self") => {
            parts.next();
            module.clone()
        }
        Some(&"super") => {
            let mut at = module.clone();
            while parts.next_if_eq(&"super").is_some() {
                at.pop();
            }
            at
        }
        _ => module.clone(),
    };
    let mut found = None;
    for part in parts {
        at.push(part.to_owned());
        if !modules.contains_key(&at) {
            break;
        }
        found = Some(at.clone());
    }
    found
}

/// The circles of a crate: files that reach each other.
pub fn circles(src: &Path) -> Vec<String> {
    let modules = modules(src);
    let is_part = |a: &Module, b: &Module| a.starts_with(b) || b.starts_with(a);
    let mut uses: BTreeMap<&Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, text) in &modules {
        let used = paths(text);
        let used = used
            .iter()
            .filter_map(|path| target(&modules, module, path));
        uses.insert(module, used.filter(|used| !is_part(used, module)).collect());
    }
    let reached = |from: &Module| {
        let mut reached = BTreeSet::new();
        let mut open: Vec<Module> = uses[from].iter().cloned().collect();
        while let Some(module) = open.pop() {
            if reached.insert(module.clone()) {
                open.extend(uses[&module].iter().cloned());
            }
        }
        reached
    };
    let reaches: BTreeMap<&Module, BTreeSet<Module>> = modules
        .keys()
        .map(|module| (module, reached(module)))
        .collect();
    let mut circles = Vec::new();
    for (a, reached) in &reaches {
        for b in reached.iter().filter(|b| a < b) {
            if reaches[b].contains(*a) {
                circles.push(format!("{} <-> {}", a.join("::"), b.join("::")));
            }
        }
    }
    circles
}

#[test]
fn a_circle_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    write("lib.rs", "mod a;\nmod b;\nmod c;\n");
    write(
        "a.rs",
        "mod part;\nuse crate::b::{self, Thing};\nuse std::fs;\n",
    );
    write("a/part.rs", "use super::Whole;\n// use crate::c;\n");
    write("b.rs", "pub(crate) use super::{\n    c::More,\n};\n");
    write(
        "c.rs",
        "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n",
    );
    assert!(circles(dir.path()).is_empty());
    write("c.rs", "fn f() -> crate::a::part::Part { todo!() }\n");
    assert!(circles(dir.path()).is_empty(), "a part is no whole");
    write("a/part.rs", "use crate::b;\n");
    assert_eq!(
        circles(dir.path()),
        ["a::part <-> b", "a::part <-> c", "b <-> c"]
    );
}
