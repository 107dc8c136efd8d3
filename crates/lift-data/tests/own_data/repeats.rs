//! An image that lists name twice is refused, however its path is spelt.

use super::support::Workplace;

#[test]
fn an_image_is_listed_once() {
    let place = Workplace::new();
    for name in ["a", "b", "c"] {
        place.image(&format!("photos/{name}.png"), 4, 4);
    }
    place.write("lists/train.txt", "a.png 0\nb.png 1\n./b.png 0\n");
    place.write("lists/test.txt", "c.png 0\nx/../a.png 0\n");
    let build = "build list --source lists --root photos --short-side 0";
    insta::assert_snapshot!(place.run(&format!("{build} --out no")), @r"
    exit 1
    ----
    error: lists: listed more than once, images: 2
      a.png: in train (image 0), in test (image 1)
      b.png: in train (image 1), in train (image 2) with label 0 instead of 1
    hint: take out all but one line of each, or take them as they are with --allow-repeats
    ");
    insta::assert_snapshot!(place.run(&format!("{build} --allow-repeats --out out")), @r"
    exit 0
    ----
    note: lists: listed more than once, images: 2
      a.png: in train (image 0), in test (image 1)
      b.png: in train (image 1), in train (image 2) with label 0 instead of 1
    train: 3 images of 2 classes, 1.3 kB in 1 shard, [time] -> out/train
    test: 2 images of 2 classes, 1.2 kB in 1 shard, [time] -> out/test
    ");
    // A hold-out would part the two.
    place.write(
        "one.csv",
        "path,label\na.png,x\na.png,x\nb.png,x\nphotos/../c.png,x\n",
    );
    let said = place.run("split list --source one.csv --root photos --holdout 0.5 --out no");
    assert!(
        said.contains("error: one.csv: listed more than once, images: 1\n  a.png: in train (image 0), in train (image 1)\n"),
        "{said}"
    );
    let said = place.run("build folder --source photos --allow-repeats --out no");
    assert!(
        said.contains("--allow-repeats is for lists, not for folder"),
        "{said}"
    );
}
