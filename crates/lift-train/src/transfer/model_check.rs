//! The ring on the stand-in: through every order that a device may show in small cases, and random ones in larger.

use std::collections::VecDeque;

use proptest::prelude::*;

use lift_loader::Layout;

use super::{
    ring::{Pinned, Ring},
    stand_in::{Chooser, Fault, StandIn},
};

/// What the host does with a device.
#[derive(Clone, Debug)]
struct Plan {
    /// Images of each batch.
    batches: Vec<usize>,
    slots: usize,
    buffers: usize,
    /// Whether the loader is ready with the next batch when it is asked; in turn.
    ready: Vec<bool>,
    /// Outputs that are kept before they go; in turn.
    kept: Vec<usize>,
    /// Batches that are taken before the feed is dropped.
    taken: usize,
}

/// The bytes of a batch: pixels, labels, flags.
fn batch(number: usize, images: usize) -> (Layout, Vec<u8>, Vec<i64>, Vec<u8>) {
    let layout = Layout::square(images, 1);
    let byte = number as u8 + 1;
    let pixels = vec![byte; layout.pixel_bytes()];
    let labels = vec![i64::from(byte); images];
    (layout, pixels, labels, vec![byte; images])
}

fn expected(number: usize, images: usize) -> Vec<u8> {
    let (layout, mut bytes, labels, mirrored) = batch(number, images);
    bytes.resize(layout.labels_at(), 0);
    bytes.extend(labels.iter().flat_map(|label| label.to_ne_bytes()));
    bytes.extend(mirrored);
    bytes
}

/// Follows the plan: as the feed does, and the loader's pool. Outputs looked at, wrong ones, choices.
fn follow(
    plan: &Plan,
    given: Vec<usize>,
    fault: Option<Fault>,
) -> (usize, usize, Vec<(usize, usize)>) {
    let device = StandIn::new(given, fault);
    let most = plan
        .batches
        .iter()
        .map(|&images| Layout::square(images, 1).bytes());
    let most = most.max().unwrap_or(0);
    let mut pool: VecDeque<Pinned<StandIn>> = (0..plan.buffers)
        .map(|_| Pinned::new(&device, most).unwrap())
        .collect();
    let mut ring = Ring::new(&device, plan.slots).unwrap();
    let (mut staged, mut ready) = (0, plan.ready.iter().cycle());
    let mut kept = VecDeque::new();
    let taken = plan.taken.min(plan.batches.len());
    for number in 0..taken {
        while staged < plan.batches.len()
            && (ring.is_empty() || (!ring.is_full() && *ready.next().unwrap()))
        {
            let (layout, pixels, labels, mirrored) = batch(staged, plan.batches[staged]);
            let mut pinned = pool.pop_front().unwrap();
            pinned.settle().unwrap();
            // The gap before the labels belongs to nobody.
            let mut bytes = pixels;
            bytes.resize(layout.labels_at(), 0);
            pinned.write(0, &bytes);
            ring.stage(&mut pinned, (&labels, &mirrored), layout)
                .unwrap();
            pool.push_back(pinned);
            staged += 1;
        }
        let output = ring.hand_over().unwrap().unwrap();
        device.look(&output, expected(number, plan.batches[number]));
        kept.push_back(output);
        while kept.len() > plan.kept[number % plan.kept.len()] {
            kept.pop_front();
        }
    }
    drop(ring);
    drop(pool);
    drop(kept);
    device.end()
}

/// Every order of a plan: how many there are, and how many of them show a wrong byte.
fn every_order(plan: &Plan, fault: Option<Fault>) -> (usize, usize) {
    let (mut orders, mut wrong_orders) = (0, 0);
    let mut given = Some(Vec::new());
    while let Some(choices) = given {
        let (looked_at, wrong, chosen) = follow(plan, choices, fault);
        assert_eq!(looked_at, plan.taken.min(plan.batches.len()));
        orders += 1;
        wrong_orders += usize::from(wrong > 0);
        given = Chooser::after(&chosen);
    }
    (orders, wrong_orders)
}

fn small_plans() -> Vec<Plan> {
    let plan = |batches: &[usize], slots, buffers, ready: &[bool], kept: &[usize], taken| Plan {
        batches: batches.to_vec(),
        slots,
        buffers,
        ready: ready.to_vec(),
        kept: kept.to_vec(),
        taken,
    };
    vec![
        plan(&[1, 1, 1, 1], 2, 1, &[true], &[0], 4),
        plan(&[1, 1, 1], 2, 2, &[true], &[1], 3),
        plan(&[1, 1, 1, 1], 3, 1, &[true, false], &[0], 4),
        // Memory grows, and a batch that was staged is never taken.
        plan(&[1, 3, 20, 2], 2, 1, &[true], &[0], 3),
    ]
}

#[test]
fn no_order_of_a_small_case_shows_a_wrong_byte() {
    for plan in small_plans() {
        let (orders, wrong) = every_order(&plan, None);
        assert_eq!(wrong, 0, "{plan:?}");
        assert!(
            orders > 20,
            "{plan:?}: {orders} orders are too few to say anything"
        );
    }
}

#[test]
fn every_wait_is_needed_and_its_loss_is_seen() {
    for fault in [
        Fault::CopiesIgnoreUse,
        Fault::ComputeIgnoresCopy,
        Fault::HostIgnoresCopy,
    ] {
        let found = small_plans()
            .iter()
            .any(|plan| every_order(plan, Some(fault)).1 > 0);
        assert!(found, "{fault:?} is not seen");
    }
}

proptest! {
    #[test]
    fn no_random_order_shows_a_wrong_byte(
        batches in prop::collection::vec(0usize..30, 0..12),
        slots in 2usize..5,
        buffers in 1usize..5,
        ready in prop::collection::vec(any::<bool>(), 1..5),
        kept in prop::collection::vec(0usize..4, 1..5),
        taken in 0usize..14,
        given in prop::collection::vec(0usize..6, 0..400),
    ) {
        let plan = Plan { batches, slots, buffers, ready, kept, taken };
        let (looked_at, wrong, _) = follow(&plan, given, None);
        prop_assert_eq!((looked_at, wrong), (plan.taken.min(plan.batches.len()), 0));
    }
}
