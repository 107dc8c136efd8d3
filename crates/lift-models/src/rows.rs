//! Rows that classify, looked at before they do: zero rows, and rows that are the same.
//!
//! Rows are compared by direction, since classifiers look at no length. It is cheap for many thousand classes: only
//! rows whose projection on one fixed direction is the same are compared entry by entry. Invariant: what is found
//! depends on the rows alone, and is in label order.

use tch::{Device, Kind, Tensor};

/// Entries of two directions that differ by no more are those of one: fp32 rounds a row's by less.
const SAME: f64 = 1e-6;

/// The first row (K, d) that is zero.
pub(crate) fn zero_row(rows: &Tensor) -> Option<usize> {
    let lengths = norms(rows);
    lengths.iter().position(|&length| length == 0.0)
}

/// Groups of rows (K, d) with the same direction, each in label order, by their first; rows are finite.
pub fn identical_rows(rows: &Tensor) -> Vec<Vec<usize>> {
    let (count, width) = (rows.size()[0], rows.size()[1]);
    let place = (Kind::Double, Device::Cpu);
    let rows = rows.to_device(Device::Cpu).to_kind(Kind::Double);
    let lengths = rows.norm_scalaropt_dim(2, [-1i64], true);
    let rows = rows / lengths.clamp_min(f64::MIN_POSITIVE);
    // A direction in which no row has a reason to be alike: neighbouring entries have unlike weights.
    let direction = (Tensor::arange(width, place) * 1.7 + 0.3).sin();
    let projected = Vec::<f64>::try_from(rows.mv(&direction)).unwrap_or_default();
    let mut order: Vec<usize> = (0..count as usize).collect();
    order.sort_by(|&a, &b| projected[a].total_cmp(&projected[b]).then(a.cmp(&b)));
    // Rows that differ by SAME in each entry lie within this on the direction.
    let reach = SAME * width as f64;
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut near = 0;
    for row in order {
        while near < groups.len() && projected[row] - projected[groups[near][0]] > reach {
            near += 1;
        }
        let same = groups[near..].iter_mut().find(|group| {
            let difference = rows.get(group[0] as i64) - rows.get(row as i64);
            difference.abs().max().double_value(&[]) <= SAME
        });
        match same {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort_unstable();
    groups
}

fn norms(rows: &Tensor) -> Vec<f64> {
    let rows = rows.to_device(Device::Cpu).to_kind(Kind::Double);
    let lengths = rows.norm_scalaropt_dim(2, [-1i64], false);
    Vec::try_from(lengths).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_direction_are_grouped_in_label_order() {
        let rows = Tensor::from_slice2(&[
            [1.0f32, 0.0, 2.0],
            [0.0, 1.0, 0.0],
            [2.0, 0.0, 4.0],
            [0.0, 1.0, 1e-4],
            [0.0, 3.0, 0.0],
            [-1.0, 0.0, -2.0],
            [0.5, 0.0, 1.0],
        ]);
        assert_eq!(identical_rows(&rows), [vec![0, 2, 6], vec![1, 4]]);
        assert_eq!(zero_row(&rows), None);
        let with_zero = Tensor::cat(&[rows, Tensor::zeros([1, 3], tch::kind::FLOAT_CPU)], 0);
        assert_eq!(zero_row(&with_zero), Some(7));
    }

    #[test]
    fn rows_that_only_lie_alike_on_the_direction_are_told_apart() {
        // 200 rows and each of them again at its place plus 200, a little off as another batch's rounding is.
        tch::manual_seed(5);
        let rows = Tensor::randn([200, 64], tch::kind::FLOAT_CPU);
        let again = &rows * 3.0 * (1.0 + 1e-7);
        let groups = identical_rows(&Tensor::cat(&[&rows, &again], 0));
        let wanted: Vec<Vec<usize>> = (0..200).map(|row| vec![row, row + 200]).collect();
        assert_eq!(groups, wanted);
        let one_hot = Tensor::eye(50, tch::kind::FLOAT_CPU);
        assert!(identical_rows(&one_hot).is_empty());
    }
}
