//! Holds `docs/reference` to what the command takes: a flag or key is in both, or in neither.

use super::{Arguments, config, erl};
use clap::CommandFactory;
use krarup_tuning::option::OptionName;
use krarup_tuning::profile::Profile;
use std::collections::{BTreeMap, BTreeSet};

const CLI: &str = include_str!("../../../docs/reference/cli.md");
const CONFIG: &str = include_str!("../../../docs/reference/config.md");

/// The cells of the rows of every table in `text` whose first heading is `heading`.
fn rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    let mut is_inside = false;
    let mut rows = Vec::new();
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|') else {
            is_inside = false;
            continue;
        };
        let cells = row.trim_end().trim_end_matches('|').split('|').map(|cell| cell.trim().into());
        let cells: Vec<String> = cells.collect();
        match is_inside {
            true if !row.starts_with("---") => rows.push(cells),
            true => {}
            false => is_inside = cells.first().is_some_and(|cell| cell == heading),
        }
    }
    rows
}

/// What stands in code in a cell.
fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The text without its blocks of code.
fn without_examples(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The first words of what stands in code in the first cells: flags, keys, names.
fn names(rows: &[Vec<String>]) -> BTreeSet<String> {
    let first = rows.iter().filter_map(|row| row.first());
    first
        .flat_map(|cell| code(cell))
        .filter_map(|text| text.split([' ', '=']).next())
        .map(str::to_owned)
        .collect()
}

/// The sections of the page about the command, by the verbs in their headings.
fn sections() -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    for section in CLI.split("\n## krarup ").skip(1) {
        let (heading, text) = section.split_once('\n').unwrap();
        // What follows under another heading is no verb's.
        let text = text.split("\n## ").next().unwrap();
        for verb in heading.split(" and ") {
            sections.insert(verb.to_owned(), text.to_owned());
        }
    }
    sections
}

/// The flags that a verb has besides `--help`.
fn flags(verb: &str) -> BTreeSet<String> {
    let command = super::command();
    let verb = command.find_subcommand(verb).unwrap();
    let seen = verb.get_arguments().filter(|argument| !argument.is_hide_set());
    seen.filter_map(|argument| argument.get_long()).map(|flag| format!("--{flag}")).collect()
}

fn verbs() -> BTreeSet<String> {
    let command = Arguments::command();
    let seen = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    seen.map(|verb| verb.get_name().to_owned()).collect()
}

#[test]
fn every_verb_is_on_the_page_and_in_the_command() {
    let listed: BTreeSet<String> = rows(CLI, "verb")
        .iter()
        .map(|row| {
            let name = code(&row[0]).next().unwrap();
            name.to_owned()
        })
        .collect();
    assert_eq!(listed, verbs());
    assert_eq!(sections().into_keys().collect::<BTreeSet<_>>(), verbs());
}

#[test]
fn every_flag_of_a_verb_is_on_the_page_and_in_the_command() {
    let sections = sections();
    for (verb, text) in &sections {
        if verb == "epmd" {
            continue;
        }
        let mut told = names(&rows(text, "flag"));
        // In a sentence the page also names flags of other verbs.
        let prose = without_examples(text);
        let words = code(&prose).flat_map(str::split_whitespace);
        told.extend(words.map(str::to_owned).filter(|word| flags(verb).contains(word)));
        if text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .contains("flags are those of `ping`")
        {
            told.extend(names(&rows(&sections["ping"], "flag")));
        }
        if verb == "node" {
            told.extend(
                rows(CONFIG, "key, and flag with `--`").iter().flat_map(|row| {
                    code(&row[0]).map(|key| format!("--{key}")).collect::<Vec<_>>()
                }),
            );
        }
        assert_eq!(told, flags(verb), "krarup {verb}");
    }
}

#[test]
fn every_flag_of_epmd_is_on_the_page_and_in_its_help() {
    let in_help = super::epmd::HELP.lines().filter_map(|line| line.strip_prefix("  -"));
    let in_help: BTreeSet<String> = in_help
        .filter_map(|line| line.split_whitespace().next())
        .map(|flag| format!("-{flag}"))
        .collect();
    assert_eq!(names(&rows(&sections()["epmd"], "flag")), in_help);
}

#[test]
fn every_flag_of_erl_on_the_page_is_understood() {
    let mut kernel = BTreeSet::new();
    for row in rows(CLI, "erl") {
        for text in code(&row[0]) {
            let words: Vec<&str> = text.split_whitespace().collect();
            match words.as_slice() {
                ["-kernel", parameter, ..] => drop(kernel.insert(parameter.to_string())),
                flags if flags.iter().any(|word| word.starts_with('-')) => {
                    for flag in flags.iter().filter_map(|word| word.strip_prefix('-')) {
                        assert!(erl::knows(flag), "-{flag}");
                    }
                }
                // The second of several parameters, or an emulator flag.
                [parameter, ..] => drop(kernel.insert(parameter.to_string())),
                [] => {}
            }
        }
    }
    kernel.remove("+FLAGS");
    assert_eq!(kernel, erl::kernel_parameters().map(str::to_owned).collect());
}

#[test]
fn every_setting_is_on_the_page_with_its_default() {
    let rows = rows(CONFIG, "key, and flag with `--`");
    let told: Vec<&str> = rows.iter().flat_map(|row| code(&row[0])).collect();
    let keys: Vec<String> = config::keys().collect();
    assert_eq!(
        told.iter().copied().collect::<BTreeSet<_>>(),
        keys.iter().map(String::as_str).collect()
    );
    assert_eq!(told.len(), keys.len(), "a key stands there twice");
    for row in &rows {
        for key in code(&row[0]) {
            let Some(default) = config::default_of(key) else { continue };
            let told = row[2].trim_matches('`');
            // As many as this host has cores.
            if key != "shards" {
                assert_eq!(told, default, "default of {key}");
            }
        }
    }
}

#[test]
fn every_socket_option_and_profile_is_on_the_page() {
    let told: BTreeSet<String> = rows(CONFIG, "option")
        .iter()
        .flat_map(|row| code(&row[0]).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(told, OptionName::ALL.iter().map(|name| name.as_str().to_owned()).collect());
    let told: BTreeSet<String> = names(&rows(CONFIG, "profile"));
    assert_eq!(told, Profile::ALL.iter().map(ToString::to_string).collect());
}
