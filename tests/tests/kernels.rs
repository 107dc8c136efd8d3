//! The kernel that makes patches, run on the CPU, against libtorch: normalise, mirror, cut, to the last bit.

use lift_loader::{Batch, Layout};
use lift_models::Normalisation;
use lift_tests::kernels::Crops;
use lift_train::transfer::images;
use tch::{Device, Kind, Tensor};

/// Deterministic noise; every byte comes.
fn batch(crops: usize, side: u32) -> Batch {
    let bytes = Layout::square(crops, side).pixel_bytes();
    let noise = |i: usize| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 29) as u8;
    Batch {
        pixels: (0..bytes).map(noise).collect::<Vec<u8>>().into(),
        // Any flag but 0 is one.
        mirrored: (0..crops).map(|crop| [0, 1, 0, 255, 7][crop % 5]).collect(),
        labels: vec![0; crops],
        resolution: side,
    }
}

/// Words of a tensor of 2-byte or 4-byte numbers.
fn words<const W: usize>(tensor: &Tensor) -> Vec<[u8; W]> {
    let mut bytes = vec![0; tensor.numel() * W];
    tensor.contiguous().copy_data_u8(&mut bytes, tensor.numel());
    bytes.as_chunks::<W>().0.to_vec()
}

#[test]
fn the_kernel_makes_what_libtorch_makes_to_the_last_bit() {
    for (normalisation, kind) in [
        (Normalisation::CLIP, Kind::Float),
        (Normalisation::CLIP, Kind::BFloat16),
        (Normalisation::CLIP, Kind::Half),
        (Normalisation::HALF, Kind::Half),
    ] {
        let grey: Vec<u8> = (0..=255).flat_map(|byte| [byte; 3]).collect();
        let grey = Tensor::from_slice(&grey).view([1, 1, 256, 3]);
        let table = normalisation.apply(&grey, Device::Cpu).to_kind(kind);
        for (crops, side, patch) in [(5, 32, 8), (3, 28, 14), (7, 15, 5), (4, 9, 9), (6, 7, 1)] {
            let batch = batch(crops, side);
            let (columns, p) = (i64::from(side / patch), i64::from(patch));
            let expected = images(&batch, &normalisation, Device::Cpu)
                .to_kind(kind)
                .view([-1, 3, columns, p, columns, p])
                .permute([0, 2, 4, 1, 3, 5]);
            let seen = Crops {
                pixels: &batch.pixels,
                mirrored: &batch.mirrored,
                side,
                patch,
            };
            // Rows that take a crop each, and fewer that take several; blocks that end within a crop.
            for (rows, threads) in [(crops as u32, 256), (2, 32), (1, 7)] {
                let what =
                    format!("{kind:?}, {crops} crops of {side}, patches of {patch}, {rows} rows");
                match kind {
                    Kind::Float => {
                        let table = words::<4>(&table).into_iter().map(u32::from_ne_bytes);
                        let table: Vec<u32> = table.collect();
                        let made = seen.of_4_bytes(&table.try_into().unwrap(), rows, threads);
                        let expected = words::<4>(&expected).into_iter().map(u32::from_ne_bytes);
                        assert!(made.into_iter().eq(expected), "{what}");
                    }
                    _ => {
                        let table = words::<2>(&table).into_iter().map(u16::from_ne_bytes);
                        let table: Vec<u16> = table.collect();
                        let made = seen.of_2_bytes(&table.try_into().unwrap(), rows, threads);
                        let expected = words::<2>(&expected).into_iter().map(u16::from_ne_bytes);
                        assert!(made.into_iter().eq(expected), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn mirrored_images_by_hand() {
    // Two crops of 2 x 2 pixels, the second mirrored; red is the pixel's number.
    let pixels: Vec<u8> = [0, 51, 102, 153]
        .into_iter()
        .flat_map(|red| [red, 0, 0])
        .collect();
    let batch = Batch {
        pixels: pixels.repeat(2).into(),
        mirrored: vec![0, 1],
        labels: vec![0; 2],
        resolution: 2,
    };
    let nothing = Normalisation {
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let red = images(&batch, &nothing, Device::Cpu).select(1, 0);
    let red = (red * 5.0).round().view([8]);
    assert_eq!(
        Vec::<f32>::try_from(red).unwrap(),
        [0.0, 1.0, 2.0, 3.0, 1.0, 0.0, 3.0, 2.0]
    );
}
