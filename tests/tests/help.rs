//! The help of lift-text and lift-train: on a terminal of 80 columns, nothing is wrapped twice, and what `-h` says fits a screen.

use clap::{Command, CommandFactory};

/// Every command of a program with its own name, the program itself first.
fn commands(program: Command) -> Vec<Command> {
    let below = program.get_subcommands().cloned().flat_map(commands);
    let below: Vec<Command> = below.collect();
    let mut all = vec![program];
    all.extend(below);
    all
}

fn programs() -> [Command; 2] {
    [
        lift_text::cli::Cli::command(),
        lift_train::cli::Cli::command(),
    ]
}

#[test]
fn short_help_is_forty_lines_of_eighty_columns() {
    let mut wrong = Vec::new();
    for program in programs() {
        let name = program.get_name().to_owned();
        for mut command in commands(program) {
            command = command.term_width(80);
            let text = command.render_help().to_string();
            let lines = text.lines().count();
            let widest = text.lines().map(|line| line.chars().count()).max();
            if lines > 40 || widest.is_some_and(|width| width > 80) {
                wrong.push(format!(
                    "{name} {}: {lines} lines, {widest:?} columns",
                    command.get_name()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn paragraphs_are_wrapped_by_the_terminal_alone() {
    for program in programs() {
        for command in commands(program) {
            let Some(text) = command.get_after_long_help() else {
                continue;
            };
            let text = text.to_string();
            let lines: Vec<&str> = text.lines().collect();
            for pair in lines.windows(2) {
                // Prose that goes on in the next line, cut where the source was.
                let cut = pair
                    .iter()
                    .all(|line| !line.starts_with(' ') && !line.is_empty());
                assert!(
                    !(cut && pair[0].chars().count() > 78),
                    "{}: {:?}",
                    command.get_name(),
                    pair[0]
                );
            }
        }
    }
}
