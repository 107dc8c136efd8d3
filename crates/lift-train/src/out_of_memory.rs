//! A step for which memory does not suffice becomes an error that says what would fit.
//!
//! tch panics where an allocation fails. Such a panic is caught here, and said nothing of; any other goes its way.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use lift_clip::{device_name, libtorch};
use tch::Device;

use crate::{
    error::Error,
    footprint::{Footprint, parts},
    memory::{self, MemorySize},
};

/// What was asked for at a failed allocation, as libtorch says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// `2.00 GiB`, or nothing where that is not known.
    wanted: Option<String>,
}

/// Does `work`, or says that memory did not suffice for it.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Refused> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if refused(info.payload()).is_none() {
                usual(info);
            }
        }));
    });
    // A model whose step broke off has some gradients; it is not used again.
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| match refused(&*payload) {
        Some(refused) => refused,
        None => panic::resume_unwind(payload),
    })
}

/// CUDA: `CUDA out of memory. Tried to allocate 2.00 GiB. ...`; the CPU: `DefaultCPUAllocator: can't allocate memory: you
/// tried to allocate 1125899906842624 bytes. ...`.
fn refused(payload: &(dyn std::any::Any + Send)) -> Option<Refused> {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())?;
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
    /// The error of a step of `images`, of which `part` were passed at once.
    pub(crate) fn error(
        self,
        device: Device,
        footprint: Footprint,
        [images, part]: [usize; 2],
        limit: Option<MemorySize>,
    ) -> Error {
        let there = limit.or_else(|| {
            let of_device = libtorch::total_memory(device).ok().flatten();
            of_device
                .or_else(memory::total_bytes)
                .map(|bytes| MemorySize { bytes })
        });
        // A tenth is for the allocator; what has failed already is no advice.
        let fitting = there.map_or(0, |size| footprint.most_images(size.bytes / 10 * 9));
        let fitting = fitting.min(part / 2);
        let hint = match fitting {
            0 => "--activation-checkpointing or a smaller --model takes less".to_owned(),
            fitting => {
                let parts = parts(images, fitting);
                format!(
                    "--accumulate {parts} (at most {} at once, the same result) or --batch-size {fitting} should fit; \
                     --activation-checkpointing takes less too",
                    images.div_ceil(parts)
                )
            }
        };
        let wanted = self
            .wanted
            .map_or("more".into(), |wanted| format!("{wanted} more"));
        let there = there.map_or(String::new(), |size| format!(", of {size} in all"));
        Error::OutOfMemory {
            device: device_name(device),
            reason: format!("{wanted} was asked for{there}, in a step with {part} images at once"),
            hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Tensor, kind::FLOAT_CPU};

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
    fn the_error_says_what_fits() {
        let footprint = Footprint {
            fixed: 1 << 30,
            an_image: 100 << 20,
        };
        let limit = "10GiB".parse().unwrap();
        let refused = Refused {
            wanted: Some("2.00 GiB".into()),
        };
        // 9 GiB without the 1 that is fixed hold 81 images: two parts of 64.
        let error = refused
            .clone()
            .error(Device::Cuda(1), footprint, [128, 128], Some(limit));
        assert_eq!(
            error.to_string(),
            "cuda:1: out of memory: 2.00 GiB more was asked for, of 10.00 GiB in all, in a step with 128 images at once\n\
             hint: --accumulate 2 (at most 64 at once, the same result) or --batch-size 64 should fit; \
             --activation-checkpointing takes less too"
        );
        let error = refused.error(Device::Cpu, footprint, [128, 1], Some(limit));
        assert!(
            error
                .to_string()
                .ends_with("hint: --activation-checkpointing or a smaller --model takes less")
        );
    }
}
