//! A walk through a JPEG's Huffman-coded data: whether every block of every scan is there (ITU-T T.81, annexes F and G).
//!
//! It makes no pixels. Invariant: no bit is read that the file does not have.

use super::super::{DecodeError, JPEG, jpeg};
use super::refused;

/// More than so many stray bytes after coded data are data that no block took.
const MOST_STRAY_BYTES: usize = 32;

/// Walks through all scans.
///
/// # Errors
/// When blocks are missing or codes are wrong; when the decoders would mix up the colours.
pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut walk = Walk::default();
    for segment in jpeg::segments(bytes) {
        let payload = segment.payload;
        match segment.marker {
            // Arithmetic coding and the like: the decoder refuses them.
            0xC0..=0xC2 => walk.frame(segment.marker, payload)?,
            0xC4 => walk
                .tables(payload)
                .ok_or_else(|| damaged("a Huffman table is cut off"))?,
            0xDD => walk.interval = payload.get(..2).map_or(0, |two| number(two)),
            0xDA if !walk.colours.is_empty() => {
                let scan = walk
                    .scan(payload)
                    .ok_or_else(|| damaged("a scan's header is cut off"))?;
                walk.data(&scan, jpeg::after(bytes, payload))?;
            }
            _ => {}
        }
    }
    if walk
        .colours
        .iter()
        .all(|colour| colour.is_seen && colour.low.iter().all(|&low| low == 0))
    {
        Ok(())
    } else {
        Err(damaged("scans are missing"))
    }
}

fn damaged(reason: &str) -> DecodeError {
    DecodeError::Damaged {
        format: JPEG,
        reason: reason.to_owned(),
    }
}

fn number(two: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([two[0], two[1]]))
}

/// Length and value of the code that 16 bits begin with; length 0: none.
type Table = Vec<(u8, u8)>;

#[derive(Default)]
struct Walk {
    is_progressive: bool,
    /// Blocks of all colours a row, and rows of them.
    mcus: (usize, usize),
    colours: Vec<Colour>,
    dc: [Table; 4],
    ac: [Table; 4],
    interval: usize,
}

struct Colour {
    id: u8,
    /// Blocks in a block of all colours.
    wide: usize,
    tall: usize,
    /// Blocks that hold pixels.
    blocks: (usize, usize),
    /// Which coefficients of each block are known not to be zero.
    nonzero: Vec<u64>,
    is_seen: bool,
    /// Bits of each coefficient that are still to come.
    low: [u8; 64],
}

/// What a scan's header says.
struct Scan {
    /// The colours' places, and their tables.
    colours: Vec<(usize, usize, usize)>,
    start: usize,
    end: usize,
    is_first: bool,
    low: u8,
}

impl Walk {
    fn frame(&mut self, marker: u8, payload: &[u8]) -> Result<(), DecodeError> {
        let cut = || damaged("the frame header is cut off");
        let (height, width) = (
            payload.get(1..3).ok_or_else(cut)?,
            payload.get(3..5).ok_or_else(cut)?,
        );
        let (height, width) = (number(height), number(width));
        let count = usize::from(*payload.get(5).ok_or_else(cut)?);
        let of_colours = payload.get(6..6 + count * 3).ok_or_else(cut)?;
        let factors = |colour: &[u8]| (usize::from(colour[1] >> 4), usize::from(colour[1] & 15));
        let all: Vec<_> = of_colours.chunks_exact(3).map(factors).collect();
        let widest = all
            .iter()
            .map(|factors| factors.0)
            .max()
            .unwrap_or(1)
            .max(1);
        let tallest = all
            .iter()
            .map(|factors| factors.1)
            .max()
            .unwrap_or(1)
            .max(1);
        // zune-jpeg mixes colours up that are sampled otherwise.
        let is_usual = |(nth, &factors): (usize, &(usize, usize))| match nth {
            0 => factors == (widest, tallest) && widest <= 4 && tallest <= 2 && widest != 3,
            3 => factors == (widest, tallest),
            _ => factors == (1, 1),
        };
        if count > 1 && !all.iter().enumerate().all(is_usual) {
            return Err(refused(
                "colours sampled in this way are not read without libjpeg-turbo",
            ));
        }
        self.is_progressive = marker == 0xC2;
        self.mcus = (width.div_ceil(widest * 8), height.div_ceil(tallest * 8));
        let colour = |colour: &[u8]| {
            let (wide, tall) = factors(colour);
            let side = |side: usize, of: usize, most: usize| (side * of).div_ceil(most).div_ceil(8);
            let padded = self.mcus.0 * wide * self.mcus.1 * tall;
            Colour {
                id: colour[0],
                wide,
                tall,
                blocks: (side(width, wide, widest), side(height, tall, tallest)),
                nonzero: vec![0; if self.is_progressive { padded } else { 0 }],
                is_seen: false,
                low: [0; 64],
            }
        };
        self.colours = of_colours.chunks_exact(3).map(colour).collect();
        Ok(())
    }

    fn tables(&mut self, mut payload: &[u8]) -> Option<()> {
        while let Some((&which, rest)) = payload.split_first() {
            let (lengths, rest) = rest.split_at_checked(16)?;
            let count = lengths.iter().map(|&count| usize::from(count)).sum();
            let (values, rest) = rest.split_at_checked(count)?;
            let mut table = Vec::with_capacity(1 << 16);
            let mut values = values.iter();
            for (length, &count) in (1_u8..).zip(lengths) {
                for &value in values.by_ref().take(usize::from(count)) {
                    let codes = 1_usize << (16 - length);
                    table.resize((table.len() + codes).min(1 << 16), (length, value));
                }
            }
            table.resize(1 << 16, (0, 0));
            let tables = if which >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            *tables.get_mut(usize::from(which & 15))? = table;
            payload = rest;
        }
        Some(())
    }

    fn scan(&mut self, payload: &[u8]) -> Option<Scan> {
        let count = usize::from(*payload.first()?);
        let of_colours = payload.get(1..1 + count * 2)?;
        let &[start, end, bits] = payload.get(1 + count * 2..4 + count * 2)? else {
            return None;
        };
        let place = |colour: &[u8]| {
            let nth = self.colours.iter().position(|each| each.id == colour[0])?;
            Some((
                nth,
                usize::from(colour[1] >> 4 & 3),
                usize::from(colour[1] & 3),
            ))
        };
        let colours: Vec<_> = of_colours
            .chunks_exact(2)
            .map(place)
            .collect::<Option<_>>()?;
        let scan = match self.is_progressive {
            true => Scan {
                colours,
                start: usize::from(start.min(63)),
                end: usize::from(end.min(63)),
                is_first: bits >> 4 == 0,
                low: bits & 15,
            },
            // Whatever the parameters say.
            false => Scan {
                colours,
                start: 0,
                end: 63,
                is_first: true,
                low: 0,
            },
        };
        for &(nth, ..) in &scan.colours {
            let colour = &mut self.colours[nth];
            colour.is_seen |= scan.start == 0;
            colour.low[scan.start..=scan.end.max(scan.start)].fill(scan.low);
        }
        Some(scan)
    }

    /// The blocks of a scan.
    fn data(&mut self, scan: &Scan, data: &[u8]) -> Result<(), DecodeError> {
        let mut bits = Bits::new(data);
        let mut run = 0;
        let alone = <[_; 1]>::try_from(scan.colours.clone()).ok();
        let (wide, tall) = match alone {
            Some([(nth, ..)]) => self.colours[nth].blocks,
            None => self.mcus,
        };
        for mcu in 0..wide * tall {
            if self.interval > 0 && mcu > 0 && mcu % self.interval == 0 {
                bits.restart(mcu / self.interval - 1)?;
                run = 0;
            }
            let (x, y) = (mcu % wide, mcu / wide);
            for &(nth, dc, ac) in &scan.colours {
                let (of_wide, of_tall) = match alone {
                    Some(_) => (1, 1),
                    None => (self.colours[nth].wide, self.colours[nth].tall),
                };
                for inner in 0..of_wide * of_tall {
                    let (x, y) = (x * of_wide + inner % of_wide, y * of_tall + inner / of_wide);
                    let stride = self.mcus.0 * self.colours[nth].wide;
                    let mut unknown = 0;
                    let colour = &mut self.colours[nth];
                    let nonzero = colour
                        .nonzero
                        .get_mut(y * stride + x)
                        .unwrap_or(&mut unknown);
                    let tables = (&self.dc[dc], &self.ac[ac]);
                    let block = match (self.is_progressive, scan.is_first) {
                        (true, false) => bits.refine(scan, tables.1, nonzero, &mut run),
                        _ => bits.block(scan, tables, nonzero, &mut run),
                    };
                    block.ok_or_else(|| {
                        damaged("premature end of data, or a code that does not exist")
                    })?;
                }
            }
        }
        bits.check_rest()
    }
}

/// The bits of coded data up to its next marker.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            held: 0,
            count: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let (byte, length) = match self.data.get(self.at..).unwrap_or_default() {
                [0xFF, 0x00, ..] => (0xFF, 2),
                [0xFF, ..] | [] => return,
                [byte, ..] => (*byte, 1),
            };
            self.at += length;
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    fn take(&mut self, bits: u32) -> Option<usize> {
        if self.count < bits {
            self.fill();
        }
        self.count = self.count.checked_sub(bits)?;
        Some((self.held >> self.count) as usize & ((1 << bits) - 1))
    }

    fn code(&mut self, table: &Table) -> Option<u8> {
        self.fill();
        // Ones behind the last bit, which is how coded data is filled up.
        let next = match self.count {
            16.. => self.held >> (self.count - 16),
            few => self.held << (16 - few) | ((1 << (16 - few)) - 1),
        };
        let &(length, value) = table.get((next & 0xFFFF) as usize)?;
        self.count = self.count.checked_sub(u32::from(length))?;
        (length > 0).then_some(value)
    }

    /// A block of a sequential scan, or of the first scan of its coefficients.
    fn block(
        &mut self,
        scan: &Scan,
        (dc, ac): (&Table, &Table),
        nonzero: &mut u64,
        run: &mut usize,
    ) -> Option<()> {
        let mut k = scan.start;
        if k == 0 {
            let size = self.code(dc)?;
            self.take(u32::from(size.min(16)))?;
            k = 1;
        }
        if *run > 0 {
            *run -= 1;
            return Some(());
        }
        while k <= scan.end {
            let code = self.code(ac)?;
            let (zeros, size) = (usize::from(code >> 4), u32::from(code & 15));
            match (size, zeros) {
                (0, 15) => k += 16,
                (0, _) => {
                    // Zero in sequential files.
                    *run = (1 << zeros) - 1 + self.take(zeros as u32)?;
                    return Some(());
                }
                _ => {
                    k += zeros;
                    self.take(size)?;
                    *nonzero |= 1_u64.checked_shl(k as u32).filter(|_| k <= 63)?;
                    k += 1;
                }
            }
        }
        Some(())
    }

    /// A block of a scan that adds a bit to coefficients.
    fn refine(
        &mut self,
        scan: &Scan,
        ac: &Table,
        nonzero: &mut u64,
        run: &mut usize,
    ) -> Option<()> {
        if scan.start == 0 {
            return self.take(1).map(|_| ());
        }
        let mut k = scan.start;
        while *run == 0 && k <= scan.end {
            let code = self.code(ac)?;
            let (mut zeros, size) = (usize::from(code >> 4), code & 15);
            match (size, zeros) {
                (0, 15) => {}
                (0, _) => {
                    *run = (1 << zeros) + self.take(zeros as u32)?;
                    break;
                }
                _ => {
                    self.take(1)?;
                }
            }
            while k <= scan.end {
                if *nonzero >> k & 1 == 1 {
                    self.take(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            if size > 0 && k <= scan.end {
                *nonzero |= 1 << k;
            }
            k += 1;
        }
        if *run > 0 {
            for k in k..=scan.end {
                if *nonzero >> k & 1 == 1 {
                    self.take(1)?;
                }
            }
            *run -= 1;
        }
        Some(())
    }

    /// Goes behind the restart marker that is due.
    fn restart(&mut self, nth: usize) -> Result<(), DecodeError> {
        self.check_rest()?;
        let marker = 0xD0 + (nth % 8) as u8;
        let rest = self.data.get(self.at..).unwrap_or_default();
        let fill = rest.iter().take_while(|&&byte| byte == 0xFF).count();
        if fill == 0 || rest.get(fill) != Some(&marker) {
            return Err(damaged("a restart marker is missing"));
        }
        *self = Self {
            at: self.at + fill + 1,
            ..Self::new(self.data)
        };
        Ok(())
    }

    /// Goes to the next marker, over padding.
    fn check_rest(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        while let [first, second, ..] = self.data.get(self.at..).unwrap_or_default() {
            match (first, second) {
                (0xFF, 0x00) => self.at += 2,
                (0xFF, _) => break,
                _ => self.at += 1,
            }
        }
        let rest = &self.data[start..self.at];
        let count = rest.len() + self.count as usize / 8;
        let is_padding = rest.windows(2).all(|pair| pair[0] == pair[1]);
        if count > MOST_STRAY_BYTES && !is_padding {
            Err(damaged(&format!(
                "{count} bytes are left over after a scan's last block"
            )))
        } else {
            Ok(())
        }
    }
}
