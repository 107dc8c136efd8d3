//! Memory that does not suffice becomes an error, or less work at once.
//!
//! tch panics where an allocation fails. Such a panic is caught at the border of a model's work, a step or a pass, and becomes its
//! result; any other goes its way.

use std::panic::{self, AssertUnwindSafe};

use tch::Device;

use crate::{device::device_name, error::Error, memory::MemorySize, say::say};

/// What was asked for at a failed allocation, as libtorch says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `2.00 GiB`, or nothing where that is not known.
    wanted: Option<String>,
}

/// Does `work`, or says that memory did not suffice for it.
///
/// # Errors
/// When an allocation failed in it.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Refused> {
    // A model whose step broke off has some gradients; it is not used again.
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| match refused(&*payload) {
        Some(refused) => refused,
        None => panic::resume_unwind(payload),
    })
}

/// Does `work`, which is told how much to do at once, without gradients; again with half as much whenever memory does not
/// suffice, which is said once on standard error. `at_once` stays at what was possible.
///
/// # Errors
/// When memory does not suffice for one at once.
pub fn halving<T>(
    at_once: &mut usize,
    what: &str,
    mut work: impl FnMut(usize) -> T,
) -> Result<T, Refused> {
    let asked = *at_once;
    loop {
        // Caught inside, so that gradients are kept track of again whatever happens.
        match tch::no_grad(|| caught(|| work(*at_once))) {
            Ok(done) => {
                if *at_once < asked {
                    say(&format!(
                        "note: {asked} {what} at once were too many for the memory; it goes on with {at_once}"
                    ));
                }
                return Ok(done);
            }
            Err(refused) if *at_once <= 1 => return Err(refused),
            Err(_) => *at_once /= 2,
        }
    }
}

/// What a panic says.
pub(crate) fn words(payload: &(dyn std::any::Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
}

/// Whether a panic is a failed allocation.
pub(crate) fn is_refusal(payload: &(dyn std::any::Any + Send)) -> bool {
    refused(payload).is_some()
}

/// CUDA: `CUDA out of memory. Tried to allocate 2.00 GiB. ...`; the CPU: `DefaultCPUAllocator: can't allocate memory: you
/// tried to allocate 1125899906842624 bytes. ...`.
fn refused(payload: &(dyn std::any::Any + Send)) -> Option<Refused> {
    let text = words(payload)?;
    let is_refused = ["out of memory", "can't allocate memory"];
    is_refused
        .iter()
        .any(|words| text.contains(words))
        .then(|| Refused {
            wanted: wanted(text),
        })
}

fn wanted(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("ried to allocate ")?;
    let mut words = rest.split_whitespace();
    let (number, unit) = (words.next()?, words.next()?);
    match unit.trim_end_matches('.') {
        "bytes" => {
            let bytes = number.parse().ok()?;
            Some(MemorySize { bytes }.to_string())
        }
        unit => Some(format!("{number} {unit}")),
    }
}

impl Refused {
    /// The error of `work`, such as `a step with 64 images at once`, where so much is there in all.
    pub fn error(self, device: Device, there: Option<MemorySize>, work: &str, hint: &str) -> Error {
        let wanted = self
            .wanted
            .map_or("more".into(), |wanted| format!("{wanted} more"));
        let there = there.map_or(String::new(), |size| format!(", of {size} in all"));
        Error::OutOfMemory {
            device: device_name(device),
            reason: format!("{wanted} was asked for{there}, in {work}"),
            hint: hint.into(),
        }
    }

    /// One line for where it is not known what was being done.
    pub fn line(&self) -> String {
        let wanted = self.wanted.as_deref().unwrap_or("more");
        format!(
            "out of memory: {wanted} was asked for\n\
             hint: a smaller --batch-size or --max-memory takes less, as do fewer --threads; `lift-train resume` goes on with a run"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor, kind::FLOAT_CPU};

    #[test]
    fn an_allocation_that_cannot_be_is_caught() {
        let refused = caught(|| Tensor::zeros([1 << 48], FLOAT_CPU)).unwrap_err();
        assert_eq!(refused.wanted.as_deref(), Some("1048576.00 GiB"));
        assert_eq!(caught(|| 7), Ok(7));
        let other = panic::catch_unwind(|| caught(|| panic!("another")));
        assert_eq!(other.unwrap_err().downcast_ref(), Some(&"another"));
    }

    #[test]
    fn cudas_message_tells_what_was_wanted() {
        let text = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 2.25 GiB. \
                    GPU 0 has a total capacity of 79.11 GiB of which 1.02 GiB is free.";
        let refused = refused(&text.to_owned()).unwrap();
        assert_eq!(refused.wanted.as_deref(), Some("2.25 GiB"));
    }

    #[test]
    fn work_goes_on_with_half_as_much_and_gradients_are_kept_track_of_after_it() {
        let fits = |most: usize| {
            move |n: usize| {
                if n > most {
                    Tensor::zeros([1 << 48], FLOAT_CPU)
                } else {
                    Tensor::full([], n as i64, (Kind::Int64, Device::Cpu))
                }
            }
        };
        let mut at_once = 100;
        let done = halving(&mut at_once, "crops", fits(30)).unwrap();
        assert_eq!((done.int64_value(&[]), at_once), (25, 25));
        assert!(halving(&mut at_once, "crops", fits(0)).is_err());
        assert_eq!(at_once, 1);
        let leaf = Tensor::zeros([1], FLOAT_CPU).set_requires_grad(true);
        assert!((&leaf * 2.0).requires_grad());
    }

    #[test]
    fn the_error_says_what_was_asked_for_and_of_how_much() {
        let refused = Refused {
            wanted: Some("2.00 GiB".into()),
        };
        let limit = Some("10GiB".parse().unwrap());
        let error = refused.error(Device::Cuda(1), limit, "a pass with 1 crop at once", "less");
        assert_eq!(
            error.to_string(),
            "cuda:1: out of memory: 2.00 GiB more was asked for, of 10.00 GiB in all, in a pass with 1 crop at once\n\
             hint: less"
        );
    }
}
