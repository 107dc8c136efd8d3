//! How close classes lie to each other in text: a look at a classifier file before training.
//!
//! It reads a [`Head`] and no model. Invariant: memory is bounded by a block of rows, not by the square
//! of the number of classes.

use lift_models::{Head, normalize};
use lift_page::terminal::aligned;
use lift_shards::classes::told_apart;
use serde::Serialize;
use tch::Tensor;

/// Rows compared with all others at a time.
const BLOCK: i64 = 256;

/// Another class and its cosine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Neighbour {
    /// Its label.
    pub label: usize,
    /// Its name, with the label where several classes bear it.
    pub class: String,
    /// Cosine of the two classes' vectors.
    pub cosine: f64,
}

/// A class and those nearest to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nearest {
    /// Its label.
    pub label: usize,
    /// Its name, with the label where several classes bear it.
    pub class: String,
    /// The others, nearest first.
    pub nearest: Vec<Neighbour>,
}

/// The `count` nearest classes of each of `labels`. Compared are the class texts in the joint space where
/// the file has them, else the rows.
///
/// # Panics
/// When a label is not below the number of classes.
pub fn nearest(head: &Head, labels: &[usize], count: usize) -> Vec<Nearest> {
    let vectors = vectors(head);
    let names = told_apart(&head.class_names);
    let mut all = Vec::new();
    for block in labels.chunks(BLOCK as usize) {
        let cosines = rows(&vectors, block).matmul(&vectors.tr());
        for (i, &label) in block.iter().enumerate() {
            let row = Vec::<f32>::try_from(cosines.get(i as i64)).expect("a row of fp32");
            let mut others: Vec<usize> = (0..row.len()).filter(|&other| other != label).collect();
            // Equal cosines keep label order, so that the answer is always the same.
            others.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let neighbour = |&other: &usize| Neighbour {
                label: other,
                class: names[other].clone(),
                cosine: row[other].into(),
            };
            all.push(Nearest {
                label,
                class: names[label].clone(),
                nearest: others.iter().take(count).map(neighbour).collect(),
            });
        }
    }
    all
}

/// The cosines of `labels` with each other: a row for each, in their order.
///
/// # Panics
/// When a label is not below the number of classes.
pub fn cosines(head: &Head, labels: &[usize]) -> Vec<Vec<f64>> {
    let rows = rows(&vectors(head), labels);
    let cosines = rows.matmul(&rows.tr());
    let row = |i: usize| Vec::<f64>::try_from(cosines.get(i as i64)).expect("a row of numbers");
    (0..labels.len()).map(row).collect()
}

fn vectors(head: &Head) -> Tensor {
    normalize(head.text_embeds.as_ref().unwrap_or(&head.weight))
}

fn rows(vectors: &Tensor, labels: &[usize]) -> Tensor {
    let index: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    vectors.index_select(0, &Tensor::from_slice(&index))
}

/// An aligned text: each class and its nearest, then the given cosines, a line a class.
pub fn table(all: &[Nearest], cosines: &[Vec<f64>]) -> String {
    let near = |one: &Nearest| {
        let near: Vec<_> = one
            .nearest
            .iter()
            .map(|other| format!("{} {:.3}", other.class, other.cosine))
            .collect();
        vec![one.class.clone(), near.join(", ")]
    };
    let text = aligned(&all.iter().map(near).collect::<Vec<_>>(), 2);
    let square = |(one, row): (&Nearest, &Vec<f64>)| {
        let cells = row.iter().map(|cosine| format!("{cosine:6.3}"));
        std::iter::once(one.class.clone()).chain(cells).collect()
    };
    let square: Vec<Vec<String>> = all.iter().zip(cosines).map(square).collect();
    if square.is_empty() {
        text
    } else {
        text + "\n" + &aligned(&square, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_a_class_is_not_its_own_neighbour() {
        let head = Head {
            weight: Tensor::from_slice2(&[[1.0f32, 0.0], [0.0, 2.0], [3.0, 4.0], [-1.0, 0.0]]),
            text_embeds: None,
            class_names: ["east", "north", "between", "west"]
                .map(String::from)
                .into(),
            class_hash: String::new(),
            template: String::new(),
            model: String::new(),
            logit_scale: 100.0,
        };
        let all = nearest(&head, &[0, 1], 2);
        let names = |one: &Nearest| {
            one.nearest
                .iter()
                .map(|n| n.class.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&all[0]), ["between", "north"]);
        assert!((all[0].nearest[0].cosine - 0.6).abs() < 1e-6);
        // East and west are equally far from north: label order decides.
        assert_eq!(names(&all[1]), ["between", "east"]);
        let square = cosines(&head, &[0, 1]);
        assert_eq!(square, [[1.0, 0.0], [0.0, 1.0]]);
        // Two classes of one name are told apart.
        let mut head = head;
        head.class_names[2] = "east".into();
        let twins = nearest(&head, &[1], 3);
        assert_eq!(names(&twins[0]), ["east (2)", "east (0)", "west"]);
        assert_eq!(twins[0].nearest[0].label, 2);
        let expected = "east   between 0.600, north 0.000\nnorth  between 0.800, east 0.000\n\n\
                        east    1.000   0.000\nnorth   0.000   1.000\n";
        assert_eq!(table(&all, &square), expected);
    }
}
