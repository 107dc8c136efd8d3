//! Batches of u8 pixels made into what a tower takes, on the CPU: `cargo bench --bench patches`.
//!
//! `patches` is the way of training and evaluation; `images` is what libtorch makes of the same batch in single steps
//! (copy, permute, to float, divide, subtract, divide), for a tower that cuts patches itself.

use divan::{Bencher, counter::ItemsCount};
use lift_loader::{Batch, Batches, Layout, Pixels};
use lift_models::Normalisation;
use lift_train::transfer::{Target, Transfer};
use tch::{Device, Kind};

const SIDE: u32 = 224;
const IMAGES: usize = 64;
const KINDS: [Kind; 2] = [Kind::Float, Kind::BFloat16];

fn main() {
    divan::main();
}

const LAYOUT: Layout = Layout {
    images: IMAGES,
    crops: IMAGES,
    side: SIDE,
};

/// Every second image is mirrored, as in the classic augmentation, or none.
fn batch(pixels: Pixels, mirrored: u8) -> Batch {
    let flags = (0..IMAGES).map(|image| image as u8 % 2 * mirrored);
    Batch {
        pixels,
        mirrored: flags.collect(),
        labels: vec![0; IMAGES],
        resolution: SIDE,
    }
}

fn noise() -> impl Iterator<Item = u8> {
    (0..LAYOUT.pixel_bytes()).map(|i| ((i * 7919) >> 3) as u8)
}

#[divan::bench(args = KINDS, consts = [0, 1], sample_count = 20)]
fn patches<const MIRRORED: u8>(bencher: Bencher, kind: Kind) {
    let target = Target {
        normalisation: Normalisation::CLIP,
        device: Device::Cpu,
        kind,
        patch_size: 16,
    };
    let transfer = Transfer::open(target).expect("the CPU is there");
    // The buffers that go round keep these bytes, so that batches cost nothing to make.
    let buffers = [(); 3].map(|()| transfer.pixels(LAYOUT).expect("there is memory"));
    for mut buffer in buffers {
        buffer
            .iter_mut()
            .zip(noise())
            .for_each(|(to, byte)| *to = byte);
    }
    let from = transfer.clone();
    let batches = Batches::made_by(usize::MAX, move |_| {
        Ok(batch(from.pixels(LAYOUT)?, MIRRORED))
    });
    let mut feed = transfer.feed_of(batches).expect("the CPU is there");
    bencher.counter(ItemsCount::new(IMAGES)).bench_local(|| {
        let input = feed.next().expect("there are many").expect("it fits");
        input.pixels
    });
}

#[divan::bench(args = KINDS, consts = [0, 1], sample_count = 20)]
fn images<const MIRRORED: u8>(bencher: Bencher, kind: Kind) {
    let batch = batch(noise().collect::<Vec<u8>>().into(), MIRRORED);
    bencher.counter(ItemsCount::new(IMAGES)).bench_local(|| {
        let images = lift_train::transfer::images(&batch, &Normalisation::CLIP, Device::Cpu);
        images.to_kind(kind)
    });
}
