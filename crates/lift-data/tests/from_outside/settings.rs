//! Numbers that no machine can serve, settings without effect, and parts that a scheduler describes oddly: all are wrong
//! usage, said before anything is done.

use std::process::Command;

use crate::support::Workplace;

#[test]
fn threads_and_seconds_have_bounds() {
    let place = Workplace::new();
    place.class_folders("photos");
    let threads = "threads are a number from 1 to 1024";
    for command in [
        "build folder --source photos --out no",
        "report photos",
        "draw shapes-lt --out no",
    ] {
        for number in ["0", "1025", "4000", "1000000", "18446744073709551616", "x"] {
            let said = place.run(&format!("{command} --threads {number}"));
            let expected =
                format!("error: invalid value '{number}' for '--threads <N>': {threads}\n");
            assert!(
                said.starts_with("exit 2\n") && said.contains(&expected),
                "{said}"
            );
        }
    }
    place.write(
        "recipe.toml",
        "[data]\ndataset = 'folder'\nsource = 'photos'\nout = 'no'\nthreads = 1000000\n",
    );
    let said = place.run("build --config recipe.toml");
    assert!(
        said.starts_with("exit 1\n")
            && said.contains("recipe.toml: line 5: ")
            && said.contains(threads),
        "{said}"
    );
    for seconds in ["inf", "nan", "1e300", "86401", "-0.1", "x"] {
        let said = place.run(&format!("bench folder --source photos --seconds={seconds}"));
        let expected = "for '--seconds <S>': seconds are a number from 0 to 86400\n";
        assert!(
            said.starts_with("exit 2\n") && said.contains(expected),
            "{said}"
        );
    }
    let said = place.run("bench folder --source photos --seconds 0.01");
    assert!(said.starts_with("exit 0\n"), "{said}");
    // The most that may be asked for is served.
    let said = place.run("build folder --source photos --out most --threads 1024");
    assert!(said.starts_with("exit 0\n"), "{said}");
    assert!(!place.path("no").exists());
}

#[test]
fn settings_without_effect_are_refused() {
    let place = Workplace::new();
    place.class_folders("photos");
    let original = "with --encoding original, which keeps files as they are";
    let sizes = "with --short-side 0, which keeps sizes";
    for (settings, flag, beside) in [
        (
            "--encoding original --short-side 8 --quality 50",
            "--quality",
            original,
        ),
        (
            "--encoding original --subsampling 444",
            "--subsampling",
            original,
        ),
        (
            "--encoding original --short-side 8",
            "--short-side",
            original,
        ),
        ("--encoding original --enlarge", "--enlarge", original),
        ("--encoding original --exact", "--exact", original),
        ("--quality 50", "--quality", "with --encoding rgb8"),
        (
            "--encoding png --quality 50",
            "--quality",
            "with --encoding png",
        ),
        (
            "--encoding png --subsampling 420",
            "--subsampling",
            "with --encoding png",
        ),
        ("--check decode", "--check", "with --encoding rgb8"),
        (
            "--encoding jpeg --check header",
            "--check",
            "with --encoding jpeg",
        ),
        ("--short-side 0 --enlarge", "--enlarge", sizes),
        ("--encoding jpeg --short-side 0 --exact", "--exact", sizes),
    ] {
        let said = place.run(&format!("build folder --source photos --out no {settings}"));
        let expected = format!("exit 2\n----\nerror: {flag} has no effect {beside}\n");
        assert!(said.starts_with(&expected), "{settings}: {said}");
    }
    for (flag, value) in [
        ("--out", "no"),
        ("--threads", "2"),
        ("--max-bad", "1"),
        ("--shard-mib", "1"),
        ("--order", "list"),
    ] {
        let said = place.run(&format!("bench folder --source photos {flag} {value}"));
        let expected = format!("exit 2\n----\nerror: {flag} has no effect with bench\n");
        assert!(said.starts_with(&expected), "{said}");
    }
    let said = place.run("build folder --source photos --out no --dry-run --part 1/2");
    assert!(
        said.starts_with("exit 2\n")
            && said.contains("the argument '--dry-run' cannot be used with '--part <I/N>'"),
        "{said}"
    );
    place.write("names.txt", "cat/0.png 0\n");
    let list = "build list --source names.txt --root photos/train --split train --out no";
    for flag in ["--path-column", "--label-column"] {
        let said = place.run(&format!("{list} {flag} x"));
        let expected =
            format!("exit 2\n----\nerror: {flag} has no effect on a list that is no table\n");
        assert!(said.starts_with(&expected), "{said}");
    }
    assert!(!place.path("no").exists());
    // What a flag replaces of a recipe goes with all that belongs to it.
    place.write(
        "recipe.toml",
        "[data]\ndataset = 'folder'\nsource = 'photos'\nout = 'shards'\nencoding = 'jpeg'\nquality = 50\nshort_side = 8\nenlarge = true\n",
    );
    let said = place.run("build --config recipe.toml --encoding original");
    assert!(said.starts_with("exit 0\n"), "{said}");
    let said = place.run("build --config recipe.toml --encoding original --quality 9");
    assert!(said.starts_with("exit 2\n"), "{said}");
}

#[test]
fn schedulers_that_say_odd_things_are_named() {
    let place = Workplace::new();
    place.class_folders("photos");
    let build = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lift-data"));
        for name in ["ID", "COUNT", "MIN", "STEP"] {
            command.env_remove(format!("SLURM_ARRAY_TASK_{name}"));
        }
        command
            .env_remove("JOB_COMPLETION_INDEX")
            .env_remove("JOB_COMPLETIONS");
        let output = command
            .args("build folder --source photos --out no --part auto".split(' '))
            .envs(variables.iter().copied())
            .current_dir(place.path(""))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        said
    };
    let slurm = |task, count, first, step| {
        build(&[
            ("SLURM_ARRAY_TASK_ID", task),
            ("SLURM_ARRAY_TASK_COUNT", count),
            ("SLURM_ARRAY_TASK_MIN", first),
            ("SLURM_ARRAY_TASK_STEP", step),
        ])
    };
    let most = "18446744073709551615";
    for (said, expected) in [
        (
            slurm("", "8", "0", "1"),
            "SLURM_ARRAY_TASK_ID is ``, not a whole number",
        ),
        (
            slurm("-1", "8", "0", "1"),
            "SLURM_ARRAY_TASK_ID is `-1`, not a whole number",
        ),
        (
            slurm(most, "8", "0", "1"),
            "SLURM_ARRAY_TASK_ID: task 18446744073709551615 is not one of 8",
        ),
        (
            slurm(most, most, "0", "1"),
            "SLURM_ARRAY_TASK_ID: task 18446744073709551615 is not one of",
        ),
        (
            slurm("0", "0", "0", "1"),
            "SLURM_ARRAY_TASK_COUNT is `0`, not a number from 1 on",
        ),
        (
            slurm("0", "8", "0", "0"),
            "SLURM_ARRAY_TASK_STEP is `0`, not a number from 1 on",
        ),
        (
            slurm("0", "8", "x", "1"),
            "SLURM_ARRAY_TASK_MIN is `x`, not a whole number",
        ),
        (
            slurm("2", "8", "1", "4"),
            "SLURM_ARRAY_TASK_ID: task 2 is not one of 8 tasks from 1 in steps of 4",
        ),
        (
            build(&[("SLURM_ARRAY_TASK_ID", "0")]),
            "SLURM_ARRAY_TASK_COUNT is not",
        ),
        (
            build(&[("JOB_COMPLETION_INDEX", most), ("JOB_COMPLETIONS", "4")]),
            "JOB_COMPLETION_INDEX: index 18446744073709551615 is not one of 4",
        ),
        (
            build(&[("JOB_COMPLETION_INDEX", "0"), ("JOB_COMPLETIONS", "0")]),
            "JOB_COMPLETIONS is `0`",
        ),
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!place.path("no").exists());
}
