//! Tensors that hold NaN or infinity: found when a file is read, and said with the place.
//!
//! It looks and changes nothing. Invariant: a tensor is never called finite unless each of its entries is.

use tch::{Kind, Tensor};

/// Whether no entry is NaN or infinite.
pub fn is_finite(tensor: &Tensor) -> bool {
    tensor.isfinite().all().int64_value(&[]) == 1
}

/// `NAME holds values that are not finite: 3 of 512, the first at [0, 7] is NaN`; nothing where all are.
pub fn not_finite(name: &str, tensor: &Tensor) -> Option<String> {
    if is_finite(tensor) {
        return None;
    }
    let is_bad = tensor.isfinite().logical_not();
    let count = is_bad.sum(Kind::Int64).int64_value(&[]);
    // Of zeros and ones, one by one: the largest of equal ones need not be the first.
    let places = is_bad.nonzero();
    let place: Vec<i64> = Vec::try_from(places.get(0)).unwrap_or_default();
    let value = tensor.double_value(&place);
    Some(format!(
        "{name} holds values that are not finite: {count} of {}, the first at {place:?} is {value}",
        tensor.numel()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_is_named_with_its_place() {
        let of = |values: &[f32]| Tensor::from_slice(values).view([2, 3]);
        assert_eq!(
            not_finite("w", &of(&[0.0, -1.0, 1e38, 3.0, 4.0, 5.0])),
            None
        );
        let broken = of(&[0.0, 1.0, 2.0, 3.0, f32::NEG_INFINITY, f32::NAN]);
        assert!(!is_finite(&broken));
        assert_eq!(
            not_finite("w", &broken).unwrap(),
            "w holds values that are not finite: 2 of 6, the first at [1, 1] is -inf"
        );
        let scalar = Tensor::from(f32::NAN);
        assert_eq!(
            not_finite("scale", &scalar).unwrap(),
            "scale holds values that are not finite: 1 of 1, the first at [] is NaN"
        );
        assert!(is_finite(&Tensor::from_slice(&[true, false])), "masks are");
    }
}
