//! All classes against all, as a picture.

use lift_page::matrix::{MOST_CLASSES, Matrix};

use crate::run_report::RunReport;

/// What the images of each class were taken for, the most frequent class first; nothing for very many classes, or where
/// predictions are not known.
pub fn matrix(report: &RunReport) -> Option<Matrix> {
    let classes = &report.per_class;
    if !(2..=MOST_CLASSES).contains(&classes.len()) {
        return None;
    }
    let tested: Vec<u64> = classes
        .iter()
        .map(|class| class.test_count)
        .collect::<Option<_>>()?;
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by_key(|&label| std::cmp::Reverse(classes[label].train_count));
    let mut place = vec![0; classes.len()];
    for (at, &label) in order.iter().enumerate() {
        place[label] = at;
    }
    let mut rows = vec![Vec::new(); classes.len()];
    for (label, class) in classes.iter().enumerate() {
        if let Some(right) = class.after.filter(|_| tested[label] > 0) {
            rows[place[label]].push((place[label], right));
        }
    }
    for mistake in &report.mistakes {
        let (label, predicted) = (mistake.label as usize, mistake.predicted as usize);
        let share = mistake.images as f64 / tested[label].max(1) as f64;
        rows[place[label]].push((place[predicted], share));
    }
    let wrong: u64 = report.mistakes.iter().map(|mistake| mistake.images).sum();
    // More training images than the image's own class has.
    let to_larger: u64 = report
        .mistakes
        .iter()
        .filter(|mistake| place[mistake.predicted as usize] < place[mistake.label as usize])
        .map(|mistake| mistake.images)
        .sum();
    Some(Matrix {
        title: "What the images of each class were taken for".into(),
        description: format!(
            "{wrong} of {} test images were taken for another class, {to_larger} of them for one with at least as many \
             training images.",
            tested.iter().sum::<u64>()
        ),
        caption: "A row a class, a column what its images were taken for, the class with the most training images first; the \
                  darker, the larger the share of the class's test images (in % where it is written). Below the diagonal: taken \
                  for a more frequent class."
            .into(),
        names: order.iter().map(|&label| classes[label].class.clone()).collect(),
        rows,
    })
}
