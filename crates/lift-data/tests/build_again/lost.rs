//! The same command on a finished folder of which something is gone, cut or changed: it says what, and builds it again.

use std::fs;

use super::support::Workplace;
use super::{BUILD, large_photos};

/// Five shards of images, two of them bad, in either order.
fn built(order: &str) -> (Workplace, String) {
    let place = large_photos();
    place.write("photos/train/cat/00.png", "no image");
    place.write("photos/train/dog/13.png", "no image");
    let build = format!("{BUILD} --max-bad 2 --order {order} --out shards");
    let said = place.run(&build);
    assert!(said.starts_with("exit 0"), "{said}");
    (place, build)
}

#[test]
fn what_a_finished_folder_has_lost_is_built_again() {
    for order in ["list", "shuffled"] {
        let (place, build) = built(order);
        let whole = place.files("shards");
        let shard = |n: u32| format!("shards/train/train-0000{n}.parquet");
        type Harm = fn(&Workplace, &str);
        let harms: [(Harm, &str); 3] = [
            (
                |place, shard| place.remove(shard),
                "cannot read: No such file or directory",
            ),
            (
                |place, shard| {
                    let bytes = fs::read(place.path(shard)).unwrap();
                    fs::write(place.path(shard), &bytes[..bytes.len() / 2]).unwrap();
                },
                " bytes, the manifest says ",
            ),
            // Within an image.
            (|place, shard| place.flip(shard, 5000), "checksum mismatch"),
        ];
        for (harm, reason) in harms {
            harm(&place, &shard(2));
            let part = place.run(&format!("{build} --part 1/2"));
            assert!(
                part.starts_with("exit 1\n")
                    && part.contains(
                        "error: shards/train: finished and no longer whole: train-00002.parquet: "
                    )
                    && part.contains("hint: run the same command without --part"),
                "{part}"
            );
            let joined = place.run("commit shards");
            assert!(
                joined.starts_with("exit 1\n") && joined.contains(reason),
                "{joined}"
            );
            let said = place.run(&build);
            assert!(said.starts_with("exit 0\n"), "{said}");
            assert!(
                said.contains("note: shards/train/train-00002.parquet: ")
                    && said.contains(reason)
                    && said.contains("in 5 shards (4 finished before)"),
                "{said}"
            );
            assert_eq!(place.files("shards"), whole, "{order}: {reason}");
        }
        // Without the listing the shards are built again that have bad images.
        place.remove("shards/train/quarantine.jsonl");
        let said = place.run(&build);
        assert!(
            said.contains("note: shards/train/quarantine.jsonl: missing: it lists the 2 bad images that were left out: built again"),
            "{said}"
        );
        assert_eq!(place.files("shards"), whole);
        let said = place.run(&build);
        assert!(said.contains("in 5 shards (finished before)"), "{said}");
    }
}

#[test]
fn a_shard_that_cannot_be_built_again_leaves_an_unfinished_build() {
    let (place, build) = built("list");
    let whole = place.files("shards");
    place.remove("shards/train/train-00002.parquet");
    let good = fs::read(place.path("photos/train/dog/01.png")).unwrap();
    let lost = place.path("photos/train/dog/03.png");
    let image = fs::read(&lost).unwrap();
    // Which is not among the images of the sample where it is cut behind its header.
    assert!(!good.is_empty());
    fs::write(&lost, &image[..image.len() - 9]).unwrap();
    let said = place.run(&build);
    assert!(said.starts_with("exit 1\n"), "{said}");
    fs::write(&lost, &image).unwrap();
    let said = place.run(&build);
    assert!(said.starts_with("exit 0\n"), "{said}");
    assert_eq!(place.files("shards"), whole);
}
