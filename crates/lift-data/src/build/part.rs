//! One of several processes that build a dataset together.
//!
//! A part builds a run of neighbouring shards. Invariant: the parts of a whole have all of its shards,
//! each once. Shards are the same whoever builds them, so parts of different wholes may be mixed.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

/// Part `number` of `of`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    number: u64,
    of: NonZeroU64,
}

impl Part {
    /// Part `number` of `of`; `None` unless it is one.
    pub fn new(number: u64, of: u64) -> Option<Self> {
        let of = NonZeroU64::new(of)?;
        (1..=of.get())
            .contains(&number)
            .then_some(Self { number, of })
    }

    /// The part that a cluster's scheduler says this process is, from its environment variables:
    /// Slurm's job arrays, or Kubernetes' indexed jobs with `JOB_COMPLETIONS` set by the user.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &str| -> Result<Option<u64>> {
            let Some(text) = variable(name) else {
                return Ok(None);
            };
            let bad = |_| wrong(format!("{name} is `{text}`, not a whole number"));
            text.trim().parse().map(Some).map_err(bad)
        };
        let needed = |name: &str, beside: &str| {
            number(name)?.ok_or_else(|| wrong(format!("{beside} is set, {name} is not")))
        };
        let positive = |name: &str, number: u64| match number {
            0 => Err(wrong(format!("{name} is `0`, not a number from 1 on"))),
            number => Ok(number),
        };
        if let Some(task) = number("SLURM_ARRAY_TASK_ID")? {
            let beside = "SLURM_ARRAY_TASK_ID";
            let of = "SLURM_ARRAY_TASK_COUNT";
            let count = positive(of, needed(of, beside)?)?;
            let first = needed("SLURM_ARRAY_TASK_MIN", beside)?;
            let by = "SLURM_ARRAY_TASK_STEP";
            let step = positive(by, number(by)?.unwrap_or(1))?;
            let ahead = task.checked_sub(first);
            let index = ahead
                .filter(|ahead| ahead % step == 0)
                .map(|ahead| ahead / step);
            let part = index.and_then(|index| Self::new(index.checked_add(1)?, count));
            return part.ok_or_else(|| {
                wrong(format!(
                    "{beside}: task {task} is not one of {count} tasks from {first} in steps of {step}"
                ))
            });
        }
        if let Some(index) = number("JOB_COMPLETION_INDEX")? {
            let (beside, of) = ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS");
            let count = positive(of, needed(of, beside)?)?;
            let part = index.checked_add(1).and_then(|n| Self::new(n, count));
            return part.ok_or_else(|| {
                wrong(format!(
                    "{beside}: index {index} is not one of {count}, which count from 0"
                ))
            });
        }
        Err(wrong(
            "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set".to_owned(),
        ))
    }

    /// Its shards of `num_shards`.
    pub(crate) fn shards(self, num_shards: u64) -> Range<u64> {
        let until = |parts: u64| {
            let shards = u128::from(num_shards) * u128::from(parts) / u128::from(self.of.get());
            shards as u64
        };
        until(self.number - 1)..until(self.number)
    }

    /// `2-of-8`, for file names.
    pub(crate) fn file_tag(self) -> String {
        format!("{}-of-{}", self.number, self.of)
    }
}

fn wrong(reason: String) -> Error {
    Error::Setting {
        reason: format!("--part auto: {reason}"),
        hint: "it is for Slurm's job arrays, and for Kubernetes' indexed jobs with JOB_COMPLETIONS set to their number of completions; elsewhere say --part 1/8".to_owned(),
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (number, of) = text.split_once('/').ok_or("say it as 1/8, or auto")?;
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| format!("`{text}` is not a number"))
        };
        let (number, of) = (parse(number)?, parse(of)?);
        Self::new(number, of).ok_or_else(|| format!("parts of {of} are 1/{of} to {of}/{of}"))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_every_shard_once() {
        for num_shards in [0, 1, 7, 8, 100] {
            for of in [1, 2, 3, 8, 150] {
                let mut next = 0;
                for number in 1..=of {
                    let shards = Part::new(number, of).unwrap().shards(num_shards);
                    assert_eq!(shards.start, next);
                    next = shards.end;
                    assert!(shards.end - shards.start <= num_shards.div_ceil(of));
                }
                assert_eq!(next, num_shards);
            }
        }
    }

    #[test]
    fn text_round_trips() {
        assert_eq!("2/8".parse(), Ok(Part::new(2, 8).unwrap()));
        assert_eq!(Part::new(2, 8).unwrap().to_string(), "2/8");
        for bad in ["0/8", "9/8", "1/0", "1", "a/2", "-1/2"] {
            assert!(bad.parse::<Part>().is_err(), "{bad}");
        }
    }

    fn detect(variables: &[(&str, &str)]) -> std::result::Result<Part, String> {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        };
        Part::from_environment(find).map_err(|err| err.to_string())
    }

    #[test]
    fn schedulers_say_which_part_it_is() {
        let slurm = |id, count, min| {
            detect(&[
                ("SLURM_ARRAY_TASK_ID", id),
                ("SLURM_ARRAY_TASK_COUNT", count),
                ("SLURM_ARRAY_TASK_MIN", min),
            ])
        };
        // --array=0-7 and --array=1-8
        assert_eq!(slurm("0", "8", "0"), Ok(Part::new(1, 8).unwrap()));
        assert_eq!(slurm("8", "8", "1"), Ok(Part::new(8, 8).unwrap()));
        // --array=1,5,9 says no step.
        assert!(slurm("9", "3", "1").unwrap_err().contains("task 9"));
        let stepped = detect(&[
            ("SLURM_ARRAY_TASK_ID", "9"),
            ("SLURM_ARRAY_TASK_COUNT", "3"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_STEP", "4"),
        ]);
        assert_eq!(stepped, Ok(Part::new(3, 3).unwrap()));
        let kubernetes =
            |index| detect(&[("JOB_COMPLETION_INDEX", index), ("JOB_COMPLETIONS", "4")]);
        assert_eq!(kubernetes("0"), Ok(Part::new(1, 4).unwrap()));
        assert!(
            kubernetes("4")
                .unwrap_err()
                .contains("JOB_COMPLETION_INDEX: index 4")
        );
        let huge = u64::MAX.to_string();
        assert!(kubernetes(&huge).unwrap_err().contains("is not one of 4"));
        let odd = [
            (slurm(&huge, "8", "0"), "SLURM_ARRAY_TASK_ID: task 1844"),
            (slurm(&huge, &huge, "0"), "SLURM_ARRAY_TASK_ID: task 1844"),
            (slurm("", "8", "0"), "SLURM_ARRAY_TASK_ID is ``"),
            (slurm("-1", "8", "0"), "SLURM_ARRAY_TASK_ID is `-1`"),
            (slurm("0", "0", "0"), "SLURM_ARRAY_TASK_COUNT is `0`"),
            (slurm("0", "8", "x"), "SLURM_ARRAY_TASK_MIN is `x`"),
            (slurm("0", "8", "1"), "SLURM_ARRAY_TASK_ID: task 0"),
        ];
        for (found, expected) in odd {
            let said = found.unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
        assert!(kubernetes("x").unwrap_err().contains("not a whole number"));
        let lone = detect(&[("JOB_COMPLETION_INDEX", "0")]).unwrap_err();
        assert!(lone.contains("JOB_COMPLETIONS is not"), "{lone}");
        assert!(detect(&[]).unwrap_err().contains("hint: "));
    }
}
