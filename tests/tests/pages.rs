//! The pages of the documentation hold together: links lead somewhere, the book has every page, and
//! what the reference names is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// The folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the workspace").to_owned()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder whose name ends so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What is written, without blocks of code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let is_prose = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    };
    text.lines().filter(is_prose).collect::<Vec<_>>().join("\n")
}

/// The places of a page that links can lead to, as GitHub and mdBook name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let text = prose(text);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
            let anchor: String = kept.collect();
            let count = seen.entry(anchor.clone()).or_default();
            *count += 1;
            if *count > 1 { format!("{anchor}-{}", *count - 1) } else { anchor }
        })
        .collect()
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

/// A path without `..` in it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_link_leads_somewhere() {
    let root = root();
    let mut pages = files(&root.join("docs"), ".md");
    pages.extend([root.join("README.md"), root.join("CHANGELOG.md")]);
    let (mut broken, mut inside) = (Vec::new(), 0);
    for page in &pages {
        let own = text(page);
        for link in links(&own).into_iter().filter(|link| !link.contains("://")) {
            inside += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => plain(&page.with_file_name(file)),
            };
            let leads =
                target.exists() && (anchor.is_empty() || anchors(&text(&target)).contains(anchor));
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(inside > 100, "only {inside} links found");
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

#[test]
fn the_book_has_every_page() {
    let docs = root().join("docs");
    let summary = text(&docs.join("SUMMARY.md"));
    let told: BTreeSet<PathBuf> = links(&summary).iter().map(|link| docs.join(link)).collect();
    let all = files(&docs, ".md").into_iter().filter(|page| !page.ends_with("SUMMARY.md"));
    assert_eq!(told, all.collect());
}

/// The cells of the tables on the page about membership, by the heading of their column.
fn cells(column: &str) -> Vec<String> {
    let page = text(&root().join("docs/reference/membership.md"));
    let mut index = None;
    let mut cells = Vec::new();
    for line in page.lines() {
        let Some(row) = line.strip_prefix("| ") else {
            if !line.starts_with('|') {
                index = None;
            }
            continue;
        };
        let row: Vec<&str> = row.trim_end_matches(" |").split(" | ").map(str::trim).collect();
        match index {
            None => index = Some(row.iter().position(|cell| *cell == column)),
            Some(Some(index)) => {
                let cell = row.get(index).unwrap_or_else(|| panic!("a short row: {line}"));
                cells.push((*cell).to_owned());
            }
            // A table without such a column.
            Some(None) => {}
        }
    }
    cells
}

/// What stands in code in these cells.
fn code(cells: &[String]) -> BTreeSet<String> {
    let texts = cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
    texts.map(str::to_owned).collect()
}

#[test]
fn the_tests_that_membership_names_are_there() {
    let root = root();
    let named = code(&cells("test"));
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let beginnings = [root.join("tests/tests").join(&name), root.join(&name)];
        let is_there = |path: &PathBuf| path.exists() || path.with_extension("rs").exists();
        assert!(beginnings.iter().any(is_there), "no test {name}");
    }
}

#[test]
fn the_rust_that_membership_names_is_there() {
    let folders = ["kernel/src", "transport/src", "tuning/src"].map(|folder| root().join(folder));
    let sources = folders.iter().flat_map(|folder| files(folder, ".rs"));
    let sources: String = sources.map(|path| text(&path)).collect();
    let named = code(&cells("Rust"));
    assert!(named.len() > 40, "{named:?}");
    for path in named {
        let name = path.rsplit("::").next().unwrap_or(&path);
        let definitions = ["pub fn ", "pub async fn ", "pub struct ", "pub enum ", "pub "];
        let is_defined = definitions.iter().any(|before| {
            ["(", "<", " ", ":", ";"]
                .iter()
                .any(|after| sources.contains(&format!("{before}{name}{after}")))
        });
        // A value, and no name of Rust.
        assert!(is_defined || path == "undefined", "no {path} in Rust");
    }
}

#[test]
fn every_suite_is_on_the_page_about_tests() {
    let page = text(&root().join("docs/testing.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let told: BTreeSet<String> = rows
        .flat_map(|row| row.split('|').next().unwrap_or_default().split([',', '`', ' ']))
        .map(str::to_owned)
        .collect();
    for suite in files(&root().join("tests/tests"), ".rs") {
        let name = suite.file_stem().expect("a file").to_string_lossy().into_owned();
        assert!(told.contains(&name), "{name} is not in docs/testing.md");
    }
}
