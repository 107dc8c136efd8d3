//! The CUDA kernels of `lift-train`, compiled for the CPU (`kernels/on_cpu.cpp`): the same text, without a device.

use lift_loader::Layout;

unsafe extern "C" {
    fn on_cpu_patches_of_2_bytes(
        blocks_x: u32,
        blocks_y: u32,
        threads: u32,
        pixels: *const u8,
        mirrored: *const u8,
        table: *const u16,
        out: *mut u16,
        crops: u32,
        side: u32,
        patch: u32,
    );
    fn on_cpu_patches_of_4_bytes(
        blocks_x: u32,
        blocks_y: u32,
        threads: u32,
        pixels: *const u8,
        mirrored: *const u8,
        table: *const u32,
        out: *mut u32,
        crops: u32,
        side: u32,
        patch: u32,
    );
}

/// What the kernels read.
pub struct Crops<'a> {
    /// (crops, side, side, 3).
    pub pixels: &'a [u8],
    /// One flag a crop.
    pub mirrored: &'a [u8],
    /// Side of a crop in pixels.
    pub side: u32,
    /// Side of a patch in pixels, which divides it.
    pub patch: u32,
}

/// Grid and threads, then what `kernels/patches.cu` takes, with words of a kind.
type Kernel<Word> = unsafe extern "C" fn(
    u32,
    u32,
    u32,
    *const u8,
    *const u8,
    *const Word,
    *mut Word,
    u32,
    u32,
    u32,
);

impl Crops<'_> {
    /// The kernel for words of 2 bytes with a table (3, 256), on a grid of `rows` rows with blocks of `threads`.
    pub fn of_2_bytes(&self, table: &[u16; 768], rows: u32, threads: u32) -> Vec<u16> {
        self.run(on_cpu_patches_of_2_bytes, table, rows, threads)
    }

    /// The kernel for words of 4 bytes, likewise.
    pub fn of_4_bytes(&self, table: &[u32; 768], rows: u32, threads: u32) -> Vec<u32> {
        self.run(on_cpu_patches_of_4_bytes, table, rows, threads)
    }

    fn run<Word: Clone + Default>(
        &self,
        kernel: Kernel<Word>,
        table: &[Word; 768],
        rows: u32,
        threads: u32,
    ) -> Vec<Word> {
        let mut out = vec![Word::default(); self.pixels.len()];
        let (crops, blocks) = self.grid(threads);
        // SAFETY: `grid` checks that pixels and flags are of as many crops and that patches fill them; the kernel writes
        // as many words as there are pixel bytes, and reads 768 of the table.
        unsafe {
            kernel(
                blocks,
                rows,
                threads,
                self.pixels.as_ptr(),
                self.mirrored.as_ptr(),
                table.as_ptr(),
                out.as_mut_ptr(),
                crops,
                self.side,
                self.patch,
            );
        }
        out
    }

    /// Crops, and blocks of a row that cover a crop's words.
    fn grid(&self, threads: u32) -> (u32, u32) {
        let layout = Layout::square(self.mirrored.len(), self.side);
        assert_eq!(self.pixels.len(), layout.pixel_bytes());
        assert_eq!(self.side % self.patch, 0);
        let words = layout.crop_bytes() as u32;
        (self.mirrored.len() as u32, words.div_ceil(threads))
    }
}
